"""One contract for all backends: where members train changes nothing but the speed."""

import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count

import numpy as np
import pytest
from driver_cases import members_of

from pipeline.data.prepared import Prepared
from pipeline.driver.backend import (
    ArrayDone,
    ArrayFailed,
    ArrayLost,
    Backend,
    EpochDone,
    Event,
    InProcess,
    one_thread,
)
from pipeline.driver.processes import LocalProcesses
from pipeline.study.loading import Study
from pipeline.training.loop import Answer, train
from pipeline.training.members import Member, Stop, Trained

PATIENCE_SECONDS = 60


@pytest.fixture(scope="module")
def arrays(study: Study, prepared: Prepared) -> dict[int, list[Member]]:
    members = members_of(study, prepared, 5)
    return {0: members[:2], 1: members[2:4], 2: members[4:]}


@pytest.fixture(scope="module")
def alone(arrays: dict[int, list[Member]], prepared: Prepared) -> dict[int, list[Trained]]:
    """What plain training gives for each array."""
    with one_thread():
        return {array: train(members, prepared) for array, members in arrays.items()}


@pytest.fixture(scope="module")
def processes(prepared: Prepared) -> Iterator[LocalProcesses]:
    assert prepared.folder is not None
    backend = LocalProcesses(prepared.folder, n_workers=2)
    yield backend
    backend.close()


@pytest.fixture(params=["in process", "local processes"])
def backend(request: pytest.FixtureRequest, prepared: Prepared) -> Backend:
    if request.param == "in process":
        return InProcess(prepared)
    return request.getfixturevalue("processes")


def next_event(backend: Backend) -> Event:
    end = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < end:
        event = backend.receive()
        if event is not None:
            return event
    raise AssertionError("no event came")


@dataclass
class Seen:
    """What came of arrays: each one's last event, its epochs, and the ends of its members."""

    last: dict[int, Event] = field(default_factory=dict)
    epochs: list[EpochDone] = field(default_factory=list)
    trained: dict[int, list[Trained]] = field(default_factory=dict)

    def take(self, event: Event) -> None:
        if isinstance(event, EpochDone):
            self.epochs.append(event)
        else:
            self.last[event.array] = event
        if isinstance(event, EpochDone | ArrayDone):
            self.trained.setdefault(event.array, []).extend(event.trained)

    def ends(self, array: int) -> list[Trained]:
        """In number order."""
        assert isinstance(self.last[array], ArrayDone)
        return sorted(self.trained[array], key=lambda trained: trained.number)


def run(
    backend: Backend,
    arrays: Mapping[int, Sequence[Member]],
    decide: Callable[[EpochDone], Answer] = lambda event: Answer(),
) -> Seen:
    """Submits arrays and answers their epochs until each has ended."""
    backend.submit(arrays)
    seen = Seen()
    while len(seen.last) < len(arrays):
        event = next_event(backend)
        seen.take(event)
        if isinstance(event, EpochDone):
            backend.answer(event.array, decide(event))
    return seen


def same(found: Sequence[Trained], expected: Sequence[Trained]) -> None:
    """The very same numbers: one thread, one size of array."""
    assert [t.number for t in found] == [t.number for t in expected]
    for one, other in zip(found, expected, strict=True):
        assert replace(one, parameters={}, seconds=0) == replace(other, parameters={}, seconds=0)
        assert one.parameters.keys() == other.parameters.keys()
        for name, values in one.parameters.items():
            np.testing.assert_array_equal(values, other.parameters[name])


def test_arrays_end_as_in_plain_training(backend, arrays, alone) -> None:
    seen = run(backend, arrays)
    for array in arrays:
        same(seen.ends(array), alone[array])
        told = [event.results for event in seen.epochs if event.array == array]
        assert [results[0].epoch for results in told] == [1, 2, 3]
        assert all([r.number for r in results] == [m.number for m in arrays[array]]
                   for results in told)  # fmt: skip


def test_arrays_reach_their_first_epoch_side_by_side(backend, arrays) -> None:
    backend.submit(arrays)
    first = [next_event(backend) for _ in arrays]  # no answer was given
    assert {event.array for event in first if isinstance(event, EpochDone)} == set(arrays)
    n_open = len(arrays)
    for event in first:
        backend.answer(event.array, Answer())
    while n_open:
        event = next_event(backend)
        if isinstance(event, EpochDone):
            backend.answer(event.array, Answer())
        else:
            n_open -= 1


def test_an_array_waits_for_answers_only_where_it_pauses(backend, arrays, alone) -> None:
    backend.submit(arrays, pauses={2})
    seen = Seen()
    while len(seen.last) < len(arrays):
        event = next_event(backend)
        seen.take(event)
        if isinstance(event, EpochDone):
            assert event.waits == (event.results[0].epoch == 2)
            if event.waits:
                backend.answer(event.array, Answer())
    for array in arrays:
        same(seen.ends(array), alone[array])
        told = [event.results[0].epoch for event in seen.epochs if event.array == array]
        assert told == [1, 2, 3]


def test_a_stop_ends_its_member_and_no_other(backend, arrays, alone) -> None:
    stop = Stop("pruned", "told so")

    def decide(event: EpochDone) -> Answer:
        return Answer({0: stop} if event.array == 0 and event.results[0].epoch == 2 else {})

    seen = run(backend, {0: arrays[0]}, decide)
    (early,) = (event for event in seen.epochs if event.results[0].epoch == 3)
    assert [trained.number for trained in early.trained] == [0, 1]  # told with the next epoch
    stopped, other = seen.ends(0)
    assert (stopped.state, stopped.reason, stopped.epochs) == ("pruned", "told so", 2)
    assert (other.state, other.epochs) == ("complete", 3)
    assert other.score == pytest.approx(alone[0][1].score, abs=1e-5)


def test_an_array_that_cannot_train_fails_alone(backend, arrays, alone) -> None:
    odd = replace(arrays[1][1], model=replace(arrays[1][1].model, layers=[7]))
    seen = run(backend, {0: arrays[0], 1: [arrays[1][0], odd]})
    assert isinstance(seen.last[1], ArrayFailed)
    assert "must share one structure" in seen.last[1].traceback
    same(seen.ends(0), alone[0])


def test_a_backend_serves_cohort_after_cohort(backend, arrays, alone) -> None:
    for number in (10, 20):
        same(run(backend, {number: arrays[2]}).ends(number), alone[2])


def test_members_join_and_each_equals_itself_alone(backend, study, prepared) -> None:
    """A member's own epochs count; batch order and noise are those of the array's epochs."""
    a, b, c, d = members_of(study, prepared, 4)
    answers = {1: Answer({a.number: Stop("pruned", "at once")}, [c]), 3: Answer(joining=[d])}
    epochs = count(1)
    seen = run(backend, {0: [a, b]}, lambda event: answers.get(next(epochs), Answer()))
    told = [[(r.number, r.epoch) for r in event.results] for event in seen.epochs]
    assert told == [
        [(0, 1), (1, 1)], [(1, 2), (2, 1)], [(1, 3), (2, 2)], [(2, 3), (3, 1)], [(3, 2)], [(3, 3)],
    ]  # fmt: skip
    ended = [[trained.number for trained in event.trained] for event in seen.epochs]
    assert ended == [[], [0], [1], [2], [], [3]]
    for member, trained, first in zip((b, c, d), seen.ends(0)[1:], (1, 2, 4), strict=True):
        (alone,) = train([member], prepared, first_epoch=first)
        assert trained.first_epoch == alone.first_epoch == first
        assert (trained.best_epoch, trained.epochs) == (alone.best_epoch, alone.epochs)
        for name, values in alone.parameters.items():
            np.testing.assert_allclose(trained.parameters[name], values, rtol=1e-4, atol=2e-5)
    (other,) = train([d], prepared)  # in its own first epoch the batches come in another order
    assert other.score != pytest.approx(seen.ends(0)[3].score, abs=1e-6)


@pytest.mark.parametrize("epoch", [1, 2])
def test_a_killed_worker_is_replaced_and_its_array_told_lost(
    processes, arrays, alone, epoch
) -> None:
    before = set(processes.pids)
    processes.submit({0: arrays[0], 1: arrays[1]})
    seen = Seen()
    while len(seen.last) < 2:
        event = next_event(processes)
        seen.take(event)
        if isinstance(event, EpochDone):
            if event.array == 0 and event.results[0].epoch == epoch:
                # It waits for an answer: the kill comes first, the answer finds nobody.
                os.kill(processes._worker_of(0).process.pid, signal.SIGKILL)
            processes.answer(event.array, Answer())
    assert isinstance(seen.last[0], ArrayLost)
    assert "-9" in seen.last[0].reason
    same(seen.ends(1), alone[1])
    assert len(processes.pids) == 2
    assert len(set(processes.pids) - before) == 1
    same(run(processes, {7: arrays[0]}).ends(7), alone[0])


def test_an_idle_worker_that_was_killed_costs_nothing(processes, arrays, alone) -> None:
    killed = processes.pids
    for pid in killed:
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not any(alive(pid) for pid in killed))
    done = run_again_when_lost(processes, arrays)
    for array in arrays:
        same(done[array], alone[array])


def run_again_when_lost(
    backend: Backend, arrays: Mapping[int, Sequence[Member]]
) -> dict[int, list[Trained]]:
    """Submits what was lost under a new number until all arrays are done."""
    names = {array: array for array in arrays}
    fresh = count(100)
    done: dict[int, list[Trained]] = {}
    seen = Seen()
    backend.submit(arrays)
    while len(done) < len(arrays):
        event = next_event(backend)
        seen.take(event)
        if isinstance(event, EpochDone):
            backend.answer(event.array, Answer())
        elif isinstance(event, ArrayLost):
            again = next(fresh)
            names[again] = names.pop(event.array)
            backend.submit({again: arrays[names[again]]})
        else:
            done[names[event.array]] = seen.ends(event.array)
    return done


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def wait_until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        assert time.monotonic() < end, "it never came to hold"
        time.sleep(0.02)


def test_close_leaves_no_process(prepared, arrays) -> None:
    backend = LocalProcesses(prepared.folder, n_workers=2)
    backend.submit(arrays)
    next_event(backend)
    pids = backend.pids
    assert all(alive(pid) for pid in pids)
    backend.close()
    wait_until(lambda: not any(alive(pid) for pid in pids))


def test_a_worker_ends_when_its_driver_is_gone(prepared) -> None:
    backend = LocalProcesses(prepared.folder, n_workers=1)
    (pid,) = backend.pids
    backend._workers[0].pipe.close()  # as the death of the driver does
    wait_until(lambda: not alive(pid))
    backend.close()
