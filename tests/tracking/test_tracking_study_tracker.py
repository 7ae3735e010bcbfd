import inspect
import json
import math
import time
from collections.abc import Callable, Iterator

import pandas as pd
import pytest

from pipeline.data.prepared import Prepared
from pipeline.errors import StoreError
from pipeline.tracking.datasets import part_digest
from pipeline.tracking.records import STATUS, TrialEnd, TrialStart
from pipeline.tracking.store import Store
from pipeline.tracking.study_tracker import StudyTracker
from pipeline.tracking.tracker import NullTracker, Tracker

FILE = "name: any\n"


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """A study of its own for each test, since the store is shared."""
    return request.node.name.translate(str.maketrans("[]", "--"))[:60]


@pytest.fixture(params=[True, False], ids=["bulk", "client"])
def tracker(
    store: Store, small_prepared: Prepared, name: str, request: pytest.FixtureRequest
) -> Iterator[StudyTracker]:
    """Both ways of writing: many runs at once, and each by MLflow's client."""
    with StudyTracker(store, bulk=request.param) as tracker:
        tracker.start_study(name, FILE, small_prepared, params={"train.lr": "0.1 to 1 (log)"})
        yield tracker


def start(tracker: StudyTracker, number: int = 0, **changes: object) -> str:
    trial = TrialStart(number, f"#{number}", {"train.lr": 0.5}, seed=7, **changes)  # type: ignore[arg-type]
    return tracker.start_trials([trial])[number]


def read_text(tracker: StudyTracker, run_id: str, file: str) -> str:
    (path,) = (path for path in tracker.store.artifacts.rglob(file) if run_id in path.parts)
    return path.read_text()


def test_the_parent_run_says_what_the_study_is(
    tracker: StudyTracker, small_prepared: Prepared, name: str
) -> None:
    tracker.flush()
    run = tracker.store.client().get_run(tracker.run_id)
    assert run.info.run_name == name
    assert run.data.params == {"train.lr": "0.1 to 1 (log)"}
    assert run.data.tags["kind"] == "study"
    assert run.data.tags["data"] == small_prepared.data_digest
    assert read_text(tracker, tracker.run_id, "study.yaml") == FILE
    assert "python" in json.loads(read_text(tracker, tracker.run_id, "environment.json"))
    report = json.loads(read_text(tracker, tracker.run_id, "prepared.json"))
    assert report["report"]["duplicates"] == {"train/test": 1}


def test_each_part_of_the_data_is_an_input_with_its_own_digest(tracker: StudyTracker) -> None:
    tracker.flush()
    inputs = tracker.store.client().get_run(tracker.run_id).inputs.dataset_inputs
    rows = {
        tag.value: json.loads(found.dataset.profile)["num_rows"]
        for found in inputs
        for tag in found.tags
        if tag.key == "mlflow.data.context"
    }
    assert rows == {"train": 60, "valid": 20, "test": 30}
    assert len({found.dataset.digest for found in inputs}) == 3


@pytest.mark.parametrize("state", list(STATUS))
def test_each_state_has_its_status(tracker: StudyTracker, state: str) -> None:
    run_id = start(tracker, 3)
    traceback = "Traceback: ..." if state == "failed" else None
    tracker.finish(run_id, TrialEnd(state, reason="why", traceback=traceback))  # type: ignore[arg-type]
    tracker.flush()
    run = tracker.store.client().get_run(run_id)
    assert run.info.status == STATUS[state]
    assert (run.data.tags["state"], run.data.tags["reason"]) == (state, "why")
    if state == "failed":
        assert read_text(tracker, run_id, "traceback.txt") == traceback


def test_a_trial_is_a_child_that_flat_filters_find(tracker: StudyTracker, name: str) -> None:
    run_id = start(tracker, 17, tags={"n_parameters": "99"})
    client = tracker.store.client()
    run = client.get_run(run_id)
    assert (run.info.run_name, run.info.status) == ("#17", "RUNNING")
    expected = {"mlflow.parentRunId": tracker.run_id, "study": name, "trial": "17", "seed": "7"}
    assert expected.items() <= run.data.tags.items()
    assert {"state": "running", "kind": "trial", "n_parameters": "99"}.items() <= (
        run.data.tags.items()
    )
    assert "row" not in run.data.tags
    tracker.finish(run_id, TrialEnd("complete", metrics={"score": 0.75}))
    tracker.flush()
    (found,) = client.search_runs(
        [tracker.experiment_id], "tags.state = 'complete' and metrics.score > 0.7"
    )
    assert found.data.tags["score"] == "0.75"
    assert found.data.params == {"train.lr": "0.5"}


def test_epochs_come_back_with_their_steps_and_times(tracker: StudyTracker) -> None:
    run_id = start(tracker)
    for epoch in range(3):
        tracker.log_epoch(run_id, epoch, {"valid/a:1/r2": epoch / 10}, timestamp_ms=1000 + epoch)
    tracker.finish(run_id, TrialEnd("complete"))
    tracker.flush()
    history = tracker.store.client().get_metric_history(run_id, "valid/a:1/r2")
    points = [(point.step, point.timestamp, point.value) for point in history]
    assert points == [(0, 1000, 0.0), (1, 1001, 0.1), (2, 1002, 0.2)]


def test_telling_everything_twice_changes_nothing(tracker: StudyTracker) -> None:
    run_id = start(tracker)
    end = TrialEnd("complete", metrics={"score": 0.5}, step=1, seconds={"train": 3.0})
    seen = []
    for _ in range(2):
        for epoch in range(2):
            tracker.log_epoch(run_id, epoch, {"score": epoch, "loss": math.nan}, timestamp_ms=epoch)
        tracker.finish(run_id, end)
        tracker.flush()
        client = tracker.store.client()
        run = client.get_run(run_id)
        histories = {
            key: sorted((p.step, p.timestamp) for p in client.get_metric_history(run_id, key))
            for key in ("score", "loss", "seconds/train")
        }
        seen.append((run.info.end_time, run.info.status, histories, run.data.metrics["score"]))
    assert seen[0] == seen[1]
    assert seen[0][0] == end.timestamp_ms
    assert len(seen[0][2]["score"]) == 3
    assert seen[0][3] == 0.5


def test_an_infinite_value_becomes_no_number(tracker: StudyTracker) -> None:
    run_id = start(tracker)
    tracker.log_epoch(run_id, 0, {"loss": math.inf})
    tracker.flush()
    assert math.isnan(tracker.store.client().get_run(run_id).data.metrics["loss"])


@pytest.mark.parametrize("bulk", [True, False])
def test_a_running_trial_is_seen_when_its_epochs_are_old(
    store: Store, small_prepared: Prepared, name: str, bulk: bool
) -> None:
    with StudyTracker(store, flush_seconds=0.01, bulk=bulk) as tracker:
        tracker.start_study(name, FILE, small_prepared, params={})
        run_id = start(tracker)
        tracker.log_epoch(run_id, 0, {"loss": 1.0})
        client = store.client()
        until = time.monotonic() + 60
        while not (run := client.get_run(run_id)).data.metrics and time.monotonic() < until:
            pass
        assert (run.data.metrics, run.info.status) == ({"loss": 1.0}, "RUNNING")
        assert client.get_run(run_id).data.params == {"train.lr": "0.5"}


def test_a_long_parameter_is_kept_whole_as_a_file(tracker: StudyTracker) -> None:
    layers = list(range(3000))
    (run_id,) = tracker.start_trials(
        [TrialStart(0, "#0", {"model.layers": layers, "train.lr": 0.1})]
    ).values()
    tracker.finish(run_id, TrialEnd("complete"))
    tracker.flush()
    shown = tracker.store.client().get_run(run_id).data.params["model.layers"]
    assert len(shown) == 6000
    assert "cut, sha256" in shown
    whole = json.loads(read_text(tracker, run_id, "params.json"))
    assert json.loads(whole["model.layers"]) == layers


def test_discarded_runs_are_gone_and_may_be_discarded_again(tracker: StudyTracker) -> None:
    kept, lost = start(tracker, 1), start(tracker, 2)
    tracker.log_epoch(lost, 0, {"loss": 1.0})
    for _ in range(2):
        tracker.discard([lost, "0" * 32])
    client = tracker.store.client()
    assert [run.run_id for run in tracker.runs_of_study(tracker.run_id)] == [kept]
    run = client.get_run(lost)
    assert (run.info.status, run.info.lifecycle_stage) == ("KILLED", "deleted")
    assert run.data.tags["state"] == "interrupted"


def test_children_come_in_the_order_of_their_numbers(tracker: StudyTracker) -> None:
    tracker.start_trials([TrialStart(n, f"#{n}", {}) for n in (10, 2)])
    start(tracker, 0, row="linear")
    found = tracker.runs_of_study(tracker.run_id)
    assert [(run.number, run.row) for run in found] == [(0, "linear"), (2, None), (10, None)]
    assert {run.state for run in found} == {"running"}
    assert tracker.runs_of_study(found[0].run_id) == []


def test_two_trials_of_one_number_are_refused(tracker: StudyTracker) -> None:
    with pytest.raises(ValueError, match="have the number 4"):
        tracker.start_trials([TrialStart(4, "#4", {}), TrialStart(4, "#4", {})])


def test_a_study_goes_on_in_its_run(store: Store, small_prepared: Prepared, name: str) -> None:
    table = pd.DataFrame({"trial": [0], "score": [0.1]})
    with StudyTracker(store) as first:
        run_id = first.start_study(name, FILE, small_prepared, params={"a": 1})
        first.study_progress(0, {"best/score": 0.1})
        first.finish_study("interrupted", table, "**0.1**")
    client = store.client()
    run = client.get_run(run_id)
    assert (run.info.status, run.data.tags["state"]) == ("KILLED", "interrupted")
    assert run.data.metrics == {"best/score": 0.1}
    assert pd.read_csv(next(store.artifacts.rglob(f"{run_id}/**/trials.csv"))).equals(table)
    with StudyTracker(store) as second:
        params = {"a": 2, "b": 3}  # a parameter is written once
        again = second.start_study(name, FILE, small_prepared, params=params, resume_run_id=run_id)
        assert again == run_id
        assert client.get_run(run_id).info.status == "RUNNING"
        second.finish_study("complete", table, "**0.1**")
    run = client.get_run(run_id)
    assert (run.info.status, run.data.params) == ("FINISHED", {"a": "1", "b": "3"})
    assert run.data.tags["mlflow.note.content"] == "**0.1**"


def test_a_deleted_parent_is_made_anew(store: Store, small_prepared: Prepared, name: str) -> None:
    with StudyTracker(store) as first:
        gone = first.start_study(name, FILE, small_prepared, params={})
        first.flush()
        store.client().delete_run(gone)
    with StudyTracker(store) as second:
        made = second.start_study(name, FILE, small_prepared, params={}, resume_run_id=gone)
        assert made != gone
        assert second.experiment_id == first.experiment_id


def test_a_deleted_experiment_comes_back_without_what_was_discarded(
    store: Store, small_prepared: Prepared, name: str
) -> None:
    with StudyTracker(store) as first:
        parent = first.start_study(name, FILE, small_prepared, params={})
        kept, lost = start(first, 1), start(first, 2)
        first.discard([lost])
    store.client().delete_experiment(first.experiment_id)
    with StudyTracker(store) as second:
        again = second.start_study(name, FILE, small_prepared, params={}, resume_run_id=parent)
        assert again == parent
        assert [run.run_id for run in second.runs_of_study(parent)] == [kept]


def test_a_model_is_listed_with_its_metrics_and_dropped_with_its_files(
    tracker: StudyTracker,
    make_predictor: Callable,
    raw_rows: pd.DataFrame,
    small_prepared: Prepared,
    name: str,
) -> None:
    run_id = start(tracker)
    end = TrialEnd("complete", metrics={"score": 0.5, "weight/income": 1.0}, step=4)
    tracker.finish(run_id, end)
    tracker.flush()
    model_id = tracker.log_model(run_id, make_predictor(), end=end, example=raw_rows)
    client = tracker.store.client()
    model = client.get_logged_model(model_id)
    assert str(model.status) == "READY"
    tracker.log_epoch(run_id, 4, {"test/score": 0.4}, 99)
    tracker.log_model_metrics(model_id, run_id, 4, {"test/score": 0.4}, 99)
    tracker.flush()
    parts = {part: part_digest(rows) for part, rows in small_prepared.parts.items()}
    listed = client.get_logged_model(model_id).metrics
    assert {one.key: (one.value, one.dataset_name, one.dataset_digest) for one in listed} == {
        "score": (0.5, name, parts["valid"]),
        "test/score": (0.4, name, parts["test"]),
        "weight/income": (1.0, None, None),
    }
    for metric in ("score", "test/score"):
        assert len(client.get_metric_history(run_id, metric)) == 1
    (weights,) = (p for p in tracker.store.artifacts.rglob("weights.npz") if model_id in str(p))
    assert tracker.drop_model(model_id)
    assert not weights.exists()
    assert client.search_logged_models([tracker.experiment_id]) == []


def test_a_registered_model_is_not_dropped(
    tracker: StudyTracker, make_predictor: Callable, name: str
) -> None:
    run_id = start(tracker)
    model_id = tracker.log_model(run_id, make_predictor())
    client = tracker.store.client()
    client.create_registered_model(name)
    location = client.get_logged_model(model_id).artifact_location
    client.create_model_version(name, location, run_id=run_id)
    assert not tracker.drop_model(model_id)
    assert client.get_logged_model(model_id).model_id == model_id


def test_a_failed_write_is_told_when_one_waits(tracker: StudyTracker) -> None:
    tracker.finish("f" * 32, TrialEnd("complete"))
    with pytest.raises(StoreError, match=f"Ending the run {'f' * 32} failed"):
        tracker.flush()
    tracker.flush()


def test_both_trackers_have_the_methods_of_the_protocol() -> None:
    methods = [
        name
        for name, _ in inspect.getmembers(Tracker, inspect.isfunction)
        if not name.startswith("_") or name in ("__enter__", "__exit__")
    ]
    assert len(methods) > 10
    for method in methods:
        expected = inspect.signature(getattr(Tracker, method))
        for tracker in (StudyTracker, NullTracker):
            assert inspect.signature(getattr(tracker, method)) == expected, method


def test_the_null_tracker_gives_an_id_for_each_trial(small_prepared: Prepared) -> None:
    with NullTracker() as tracker:
        tracker.start_study("any", FILE, small_prepared, params={})
        started = tracker.start_trials([TrialStart(n, f"#{n}", {}) for n in range(3)])
        tracker.log_epoch(started[0], 0, {"loss": 1.0})
        tracker.finish(started[0], TrialEnd("complete"))
        assert tracker.runs_of_study("any") == []
    assert len(set(started.values())) == 3
