"""Arrays that do not fit are trained in parts; members end as they would in one."""

import itertools
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from stand_in import DEVICE, watch
from training_data import make_prepared, member

from pipeline.data.prepared import Prepared
from pipeline.errors import TrainingError
from pipeline.training.halving import Halving, Start
from pipeline.training.loop import Answer, EpochEnd, Epochs, train, train_epochs
from pipeline.training.members import Member, Stop, Trained
from pipeline.training.placement import Placed


@pytest.fixture(scope="module")
def data() -> Prepared:
    return make_prepared({"train": 40, "valid": 20, "test": 10})


class Tight:
    """A device with room for so many members at once, from an epoch of the array on."""

    def __init__(self, data: Prepared, room: int, from_epoch: int = 1) -> None:
        self.data, self.room, self.from_epoch = data, room, from_epoch
        self.started: list[tuple[list[int], int]] = []

    def start(self, members: Sequence[Member], first_epoch: int) -> Epochs:
        self.started.append(([one.number for one in members], first_epoch))
        inner = train_epochs(members, self.data, first_epoch)
        answer = None
        for epoch in itertools.count(first_epoch):
            try:
                end = next(inner) if answer is None else inner.send(answer)
            except StopIteration as stop:
                return list(stop.value)
            if epoch >= self.from_epoch and len(end.results) > self.room:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
            answer = yield end
        raise AssertionError


def run(epochs: Epochs, answers: dict[int, Answer]) -> tuple[list[EpochEnd], dict[int, Trained]]:
    """Goes through an array's epochs, from 1, and returns what it told and how members ended."""
    told: list[EpochEnd] = []
    try:
        end = next(epochs)
        while True:
            told.append(end)
            end = epochs.send(answers.get(len(told), Answer()))
    except StopIteration as stop:
        ended = [one for end in told for one in end.trained] + list(stop.value)
    assert len({one.number for one in ended}) == len(ended)
    return told, {one.number: one for one in ended}


def assert_same(ours: dict[int, Trained], theirs: dict[int, Trained]) -> None:
    assert ours.keys() == theirs.keys()
    for number, one in ours.items():
        other = theirs[number]
        assert (one.state, one.reason, one.epochs, one.best_epoch, one.first_epoch) == (
            other.state, other.reason, other.epochs, other.best_epoch, other.first_epoch,
        )  # fmt: skip
        for name, array in one.parameters.items():
            np.testing.assert_allclose(other.parameters[name], array, rtol=1e-4, atol=2e-5)


def halving(start: Start, said: list[str]) -> Halving:
    return Halving(start, said.append, lambda: said.append("gave back"))


MEMBERS = [member(k, lr=0.002 * (k + 1), dropout=0.2, epochs=4) for k in range(7)]
ANSWERS = {
    1: Answer({0: Stop("pruned", "early")}),
    2: Answer({4: Stop("pruned", "late")}, MEMBERS[5:6]),
    3: Answer({}, MEMBERS[6:]),
}


@pytest.mark.parametrize("from_epoch", [1, 2, 3, 4])
@pytest.mark.parametrize("room", [1, 2, 3])
def test_members_end_as_in_one_array_and_every_epoch_is_told_once(
    data: Prepared, room: int, from_epoch: int
) -> None:
    whole, expected = run(train_epochs(MEMBERS[:5], data), ANSWERS)
    said: list[str] = []
    tight = Tight(data, room, from_epoch)
    told, found = run(halving(tight.start, said).train_epochs(MEMBERS[:5]), ANSWERS)
    assert_same(expected, found)
    assert len(tight.started) > 1
    assert len(said) == 2 * sum("trained again" in text for text in said) > 0
    for ours, theirs in zip(told, whole, strict=True):
        results = {result.number: result for result in ours.results}
        assert len(results) == len(ours.results)
        for result in theirs.results:
            assert results.pop(result.number).epoch == result.epoch
        assert not results
        assert sorted(one.number for one in ours.trained) == sorted(
            one.number for one in theirs.trained
        )


def test_later_arrays_of_the_structure_start_in_parts_that_fit(data: Prepared) -> None:
    said: list[str] = []
    tight = Tight(data, room=2)
    trains = halving(tight.start, said)
    run(trains.train_epochs(MEMBERS[:5]), {})
    assert said[::2] == ["gave back"] * 2  # freed first, then said
    assert said[1].startswith("5 members at once need more memory than the device has")
    assert said[3].startswith("3 members at once")
    tight.started.clear()
    run(trains.train_epochs(MEMBERS[:4]), {})
    assert tight.started == [([0, 1], 1), ([2, 3], 1)]
    assert len(said) == 4
    # Another structure may fit.
    tight.started.clear()
    tight.room = 9
    wide = [member(k, layers=[3]) for k in range(4)]
    run(trains.train_epochs(wide), {})
    assert tight.started == [([0, 1, 2, 3], 1)]


def test_a_member_that_does_not_fit_alone_is_an_error_with_the_remedy(data: Prepared) -> None:
    epochs = halving(Tight(data, room=0).start, []).train_epochs(MEMBERS[:2])
    with pytest.raises(TrainingError, match=r"One member alone.*`train\.batch_size`.*--device cpu"):
        next(epochs)


def test_other_errors_are_not_taken_for_a_lack_of_memory(data: Prepared) -> None:
    def start(members: Sequence[Member], first_epoch: int) -> Epochs:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")
        yield

    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        next(halving(start, []).train_epochs(MEMBERS[:2]))


def test_a_device_that_runs_out_of_memory_trains_in_parts(data: Prepared) -> None:
    """The real loop on a device whose memory has a limit: halves hold no more than they say."""
    members = [member(k, epochs=2, layers=[64]) for k in range(4)]
    with watch() as account:
        train(members[:2], data, placed=Placed(data, DEVICE))
        two = account.peak
    with watch() as account:
        train(members, data, placed=Placed(data, DEVICE))
        four = account.peak
    assert two < four
    said: list[str] = []
    with watch() as account:
        account.limit = four - 1
        placed = Placed(data, DEVICE)

        def start(members: Sequence[Member], first_epoch: int) -> Epochs:
            return train_epochs(members, data, first_epoch, placed)

        _, found = run(halving(start, said).train_epochs(members), {})
    assert len(said) == 2
    assert_same({one.number: one for one in train(members, data)}, found)
