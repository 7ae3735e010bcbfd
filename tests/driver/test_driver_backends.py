"""One contract for all backends: where members train changes nothing but the speed."""

import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
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


def run(
    backend: Backend,
    arrays: Mapping[int, Sequence[Member]],
    decide: Callable[[EpochDone], Answer] = lambda event: {},
) -> tuple[dict[int, Event], list[EpochDone]]:
    """Submits arrays, answers their epochs and returns each one's last event, and the epochs."""
    backend.submit(arrays)
    last: dict[int, Event] = {}
    epochs: list[EpochDone] = []
    while len(last) < len(arrays):
        event = next_event(backend)
        if isinstance(event, EpochDone):
            epochs.append(event)
            backend.answer(event.array, decide(event))
        else:
            last[event.array] = event
    return last, epochs


def same(found: Sequence[Trained], expected: Sequence[Trained]) -> None:
    """The very same numbers: one thread, one size of array."""
    assert [t.number for t in found] == [t.number for t in expected]
    for one, other in zip(found, expected, strict=True):
        assert replace(one, parameters={}, seconds=0) == replace(other, parameters={}, seconds=0)
        assert one.parameters.keys() == other.parameters.keys()
        for name, values in one.parameters.items():
            np.testing.assert_array_equal(values, other.parameters[name])


def test_arrays_end_as_in_plain_training(backend, arrays, alone) -> None:
    last, epochs = run(backend, arrays)
    for array in arrays:
        assert isinstance(last[array], ArrayDone)
        same(last[array].trained, alone[array])
        told = [event.results for event in epochs if event.array == array]
        assert [results[0].epoch for results in told] == [1, 2, 3]
        assert all([r.number for r in results] == [m.number for m in arrays[array]]
                   for results in told)  # fmt: skip


def test_arrays_reach_their_first_epoch_side_by_side(backend, arrays) -> None:
    backend.submit(arrays)
    first = [next_event(backend) for _ in arrays]  # no answer was given
    assert {event.array for event in first if isinstance(event, EpochDone)} == set(arrays)
    n_open = len(arrays)
    for event in first:
        backend.answer(event.array, {})
    while n_open:
        event = next_event(backend)
        if isinstance(event, EpochDone):
            backend.answer(event.array, {})
        else:
            n_open -= 1


def test_a_stop_ends_its_member_and_no_other(backend, arrays, alone) -> None:
    stop = Stop("pruned", "told so")

    def decide(event: EpochDone) -> Answer:
        return {0: stop} if event.array == 0 and event.results[0].epoch == 2 else {}

    last, _ = run(backend, {0: arrays[0]}, decide)
    stopped, other = last[0].trained
    assert (stopped.state, stopped.reason, stopped.epochs) == ("pruned", "told so", 2)
    assert (other.state, other.epochs) == ("complete", 3)
    assert other.score == pytest.approx(alone[0][1].score, abs=1e-5)


def test_an_array_that_cannot_train_fails_alone(backend, arrays, alone) -> None:
    odd = replace(arrays[1][1], model=replace(arrays[1][1].model, layers=[7]))
    last, _ = run(backend, {0: arrays[0], 1: [arrays[1][0], odd]})
    assert isinstance(last[1], ArrayFailed)
    assert "must share one structure" in last[1].traceback
    same(last[0].trained, alone[0])


def test_a_backend_serves_cohort_after_cohort(backend, arrays, alone) -> None:
    for number in (10, 20):
        last, _ = run(backend, {number: arrays[2]})
        same(last[number].trained, alone[2])


@pytest.mark.parametrize("epoch", [1, 2])
def test_a_killed_worker_is_replaced_and_its_array_told_lost(
    processes, arrays, alone, epoch
) -> None:
    before = set(processes.pids)
    processes.submit({0: arrays[0], 1: arrays[1]})
    events: dict[int, Event] = {}
    while len(events) < 2:
        event = next_event(processes)
        if isinstance(event, EpochDone):
            if event.array == 0 and event.results[0].epoch == epoch:
                # It waits for an answer: the kill comes first, the answer finds nobody.
                os.kill(processes._worker_of(0).process.pid, signal.SIGKILL)
            processes.answer(event.array, {})
        else:
            events[event.array] = event
    assert isinstance(events[0], ArrayLost)
    assert "-9" in events[0].reason
    same(events[1].trained, alone[1])
    assert len(processes.pids) == 2
    assert len(set(processes.pids) - before) == 1
    last, _ = run(processes, {7: arrays[0]})
    same(last[7].trained, alone[0])


def test_an_idle_worker_that_was_killed_costs_nothing(processes, arrays, alone) -> None:
    killed = processes.pids
    for pid in killed:
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not any(alive(pid) for pid in killed))
    done = run_again_when_lost(processes, arrays)
    for array in arrays:
        same(done[array].trained, alone[array])


def run_again_when_lost(
    backend: Backend, arrays: Mapping[int, Sequence[Member]]
) -> dict[int, ArrayDone]:
    """Submits what was lost under a new number until all arrays are done."""
    names = {array: array for array in arrays}
    fresh = count(100)
    done: dict[int, ArrayDone] = {}
    backend.submit(arrays)
    while len(done) < len(arrays):
        event = next_event(backend)
        if isinstance(event, EpochDone):
            backend.answer(event.array, {})
        elif isinstance(event, ArrayLost):
            again = next(fresh)
            names[again] = names.pop(event.array)
            backend.submit({again: arrays[names[again]]})
        else:
            assert isinstance(event, ArrayDone)
            done[names[event.array]] = event
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
