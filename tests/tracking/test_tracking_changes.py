import threading

import numpy as np

from pipeline.tracking.changes import Change, Changes, cut_tag


def test_an_end_is_taken_at_once_and_epochs_when_they_are_old() -> None:
    changes = Changes()
    changes.metrics("running", {"loss": 1.0}, 0, 1000)
    changes.params("ended", {"a": 1})
    changes.metrics("ended", {"loss": 2.0}, 0, 1000)
    changes.end("ended", "FINISHED", 2000, {"state": "complete"}, {"a.txt": "text"})
    (ended,) = changes.take(min_seconds=1e6)
    assert (ended.run_id, ended.status, ended.ended_ms) == ("ended", "FINISHED", 2000)
    assert ended.params == {"a": 1}
    assert ended.metrics == [("loss", 2.0, 1000, 0)]
    assert (ended.tags, ended.files) == ({"state": "complete"}, {"a.txt": "text"})
    changes.metrics("running", {"loss": 0.5}, 1, 1001)
    (running,) = changes.take()
    assert running.metrics == [("loss", 1.0, 1000, 0), ("loss", 0.5, 1001, 1)]
    assert running.status is None
    assert changes.take() == []


def test_what_is_dropped_is_not_taken() -> None:
    changes = Changes()
    changes.params("a", {"x": 1})
    changes.params("b", {"x": 1})
    changes.drop("a")
    changes.drop("never seen")
    assert [change.run_id for change in changes.take()] == ["b"]


def test_nothing_is_lost_or_doubled_between_two_threads() -> None:
    changes = Changes()
    taken: list[Change] = []
    done = threading.Event()

    def take() -> None:
        while not done.is_set():
            taken.extend(changes.take())

    thread = threading.Thread(target=take)
    thread.start()
    for step in range(20_000):
        changes.metrics("ab"[step % 2], {"loss": 1.0}, step, step)
    done.set()
    thread.join()
    taken += changes.take()
    steps = sorted(point[3] for change in taken for point in change.metrics)
    assert steps == list(range(20_000))


def test_values_become_what_a_database_takes() -> None:
    change = Change("a")
    change.add({"loss": np.float32(0.5), "n": 3}, np.int64(7), np.int64(1000))  # type: ignore[arg-type, dict-item]
    assert [[type(part) for part in point] for point in change.metrics] == [
        [str, float, int, int]
    ] * 2


def test_the_action_says_whether_the_run_ends() -> None:
    change = Change("a")
    assert change.action == "Writing epochs of the run a"
    change.end("FINISHED", 1, {}, {})
    assert change.action == "Ending the run a"


def test_a_tag_is_cut_with_a_digest_of_the_whole() -> None:
    assert cut_tag("x" * 8000) == "x" * 8000
    one, other = cut_tag("x" * 8001), cut_tag("x" * 8002)
    assert (len(one), len(other)) == (8000, 8000)
    assert one != other
