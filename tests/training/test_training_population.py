from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from stock_torch import stock_loss
from torch import Tensor
from training_data import SPECS, make_prepared, member, only, with_train

from pipeline.data.prepared import Part, Prepared
from pipeline.errors import TrainingError
from pipeline.training.members import Member
from pipeline.training.population import Population
from pipeline.training.streams import Streams

N_EPOCHS = 4


def train_float64(members: list[Member], prepared: Prepared) -> tuple[Population, Tensor]:
    population = Population(members, prepared, torch.float64)
    losses = [population.train_epoch(epoch) for epoch in range(1, members[0].train.epochs + 1)]
    return population, torch.stack(losses)


# --- a member in an array equals the same member alone -------------------------------------------

DIFFERENT = [
    {},
    {"lr": 3e-2, "dropout": 0.5},
    {"weights": (4.0, 0.0, 0.0, 0.0), "dropout": 0.2},
    {"weights": (0.0, 2.0, 2.0, 0.0), "weight_decay": 0.1},
    {"label_smoothing": 0.2, "dropout_input": 0.3},
    {"clip": 0.1, "dropout_head": 0.4, "l1": 1e-3},
    {"noise": 0.5, "drop": 0.2, "l2": 1e-2},
    {"mixup": 0.4, "dropout": 0.1, "warmup_epochs": 1.5},
]


@pytest.mark.parametrize(
    "shape", [{}, {"norm": "batch", "head_layers": [5]}, {"optimizer": "sgd", "norm": "layer"}]
)
def test_each_member_equals_the_same_member_alone(
    prepared: Prepared, shape: dict[str, object]
) -> None:
    members = [member(number, **{**shape, **values}) for number, values in enumerate(DIFFERENT)]
    together, losses = train_float64(members, prepared)
    for k, one in enumerate(members):
        alone, own = train_float64([one], prepared)
        torch.testing.assert_close(
            together.state.snapshot()[k], alone.state.snapshot()[0], rtol=0, atol=1e-9
        )
        torch.testing.assert_close(losses[:, k], own[:, 0], rtol=0, atol=1e-9)


def test_members_go_on_as_before_when_others_leave(prepared: Prepared) -> None:
    members = [member(number, norm="batch", **values) for number, values in enumerate(DIFFERENT)]
    kept = [1, 4, 6, 7]
    population = Population(members, prepared, torch.float64)
    for epoch in range(1, N_EPOCHS + 1):
        population.train_epoch(epoch)
        if epoch == 2:
            population.keep(torch.tensor(kept))
    assert [one.number for one in population.members] == kept
    for k, number in enumerate(kept):
        alone, _ = train_float64([members[number]], prepared)
        torch.testing.assert_close(
            population.state.snapshot()[k], alone.state.snapshot()[0], rtol=0, atol=1e-9
        )


def test_members_of_two_structures_are_refused(prepared: Prepared) -> None:
    with pytest.raises(TrainingError, match="share one structure"):
        Population([member(0), member(1, layers=[3])], prepared)


# --- what rests ----------------------------------------------------------------------------------


def heads_of(population: Population, k: int, tensor: Tensor) -> list[Tensor]:
    """Returns what of a (K, P) tensor belongs to the head of each task."""
    segments, owners = population.state.segments()
    return [
        tensor[k, segments == segment] for segment, owner in enumerate(owners) if owner is not None
    ]


def test_a_task_of_weight_0_leaves_its_head_and_its_state_untouched(prepared: Prepared) -> None:
    # Decay and momentum would move even a head without gradient.
    members = [member(0, weights=(1.0, 0.0, 3.0, 0.0), weight_decay=0.1, l2=0.1), member(1)]
    population = Population(members, prepared, torch.float64)
    before = heads_of(population, 0, population.state.parameters.clone())
    population.train_epoch(1)
    after = heads_of(population, 0, population.state.parameters)
    adam = population.optimizer
    for task, moved in enumerate([True, False, True, False]):
        assert torch.equal(before[task], after[task]) is not moved
        for state in (adam.mean, adam.square):  # type: ignore[attr-defined]
            assert bool(heads_of(population, 0, state)[task].any()) is moved
            assert bool(heads_of(population, 1, state)[task].any())


def test_a_batch_without_labels_of_a_task_leaves_that_head_untouched(complete: Prepared) -> None:
    part = complete.parts["train"]
    order = Streams(7)
    order.start(1)
    second = order.permutation("order", len(part)).split(32)[1].numpy()
    colour = part.targets["colour"].copy()
    colour[second] = np.nan
    data = with_train(complete, targets={**part.targets, "colour": colour})
    population = Population([member(0, weight_decay=0.1)], data, torch.float64)
    seen: list[Tensor] = []
    step = population.optimizer.step

    def watched(*args: object) -> None:
        step(*args)  # type: ignore[arg-type]
        seen.append(heads_of(population, 0, population.state.parameters)[1].clone())

    population.optimizer.step = watched  # type: ignore[method-assign, assignment]
    population.train_epoch(1)
    moved = [not torch.equal(a, b) for a, b in pairwise(seen)]
    assert moved == [False, True, True, True]
    assert population.optimizer.steps.tolist() == [[5, 5, 4, 5, 5]]


def test_a_missing_label_does_not_count(complete: Prepared) -> None:
    """The loss is the mean over labelled rows: as if the other rows were not there."""
    part = complete.parts["train"]
    random = np.random.default_rng(3)
    present = random.random(len(part)) < 0.3
    colour = np.where(present, part.targets["colour"], np.nan).astype(np.float32)
    alone = only(complete, "colour")
    few = Part(
        part.numeric[present], part.codes[present],
        {"colour": part.targets["colour"][present]}, part.ids[present],
    )  # fmt: skip
    one = member(0, optimizer="gd", lr=0.5, weights=(1.0,))
    masked, losses = train_float64([one], with_train(alone, targets={"colour": colour}))
    cut, own = train_float64([one], replace(alone, parts={**alone.parts, "train": few}))
    torch.testing.assert_close(losses, own, rtol=0, atol=1e-12)
    torch.testing.assert_close(masked.state.parameters, cut.state.parameters, rtol=0, atol=1e-12)


# --- rows and batches ----------------------------------------------------------------------------


def gathered(population: Population, n_epochs: int) -> list[list[Tensor]]:
    """Returns the rows of each batch of each epoch, found again by their first number."""
    epochs: list[list[Tensor]] = []
    everything, *_ = next(population.rows.batches(torch.arange(150), 150))
    batches = population.rows.batches

    def watched(order: Tensor, batch_size: int) -> Iterator[tuple[object, ...]]:
        for batch in batches(order, batch_size):
            epochs[-1].append((batch[0][:, :1] == everything[:, 0]).nonzero()[:, 1])
            yield batch

    population.rows.batches = watched  # type: ignore[method-assign]
    for epoch in range(1, n_epochs + 1):
        epochs.append([])
        population.train_epoch(epoch)
    return epochs


def test_every_row_is_seen_once_an_epoch_in_a_new_order(prepared: Prepared) -> None:
    epochs = gathered(Population([member(0)], prepared), 2)
    for batches in epochs:
        assert [len(batch) for batch in batches] == [32, 32, 32, 32, 22]
        assert torch.equal(torch.cat(batches).sort().values, torch.arange(150))
    assert not torch.equal(epochs[0][0], epochs[1][0])


def test_a_batch_holds_what_belongs_to_its_rows_whatever_the_block(
    prepared: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    population = Population([member(0)], prepared)
    order = torch.randperm(150, generator=torch.Generator().manual_seed(0))
    at_once = list(population.rows.batches(order, 32))
    monkeypatch.setattr("pipeline.training.rows.BLOCK_BYTES", 1)
    for batch, other, rows in zip(
        at_once, population.rows.batches(order, 32), order.split(32), strict=True
    ):
        assert torch.equal(batch[0], other[0])
        assert torch.equal(batch[1], other[1])
        part = prepared.parts["train"]
        assert np.array_equal(batch[0].numpy(), part.numeric[rows])
        assert np.array_equal(batch[1].numpy(), part.codes[rows])
        for task, target, again in zip(SPECS, batch[2], other[2], strict=True):
            assert torch.equal(target.nan_to_num(), again.nan_to_num())
            expected = part.targets[task][rows]
            assert np.array_equal(target[:, 0].numpy(), expected, equal_nan=True)


def test_members_that_join_start_from_their_own_first_epoch(prepared: Prepared) -> None:
    # With a clock of its own the newcomer equals a member that starts in the array's epoch 3.
    old, new = member(0, warmup_epochs=1.0), member(1, dropout=0.3, schedule="constant", lr=1e-2)
    old = replace(old, train=replace(old.train, schedule="constant"))
    population = Population([old], prepared, torch.float64)
    for epoch in (1, 2):
        population.train_epoch(epoch)
    population.add([new])
    alone = Population([new], prepared, torch.float64)
    undisturbed, _ = train_float64([old], prepared)
    for epoch in (3, 4):
        losses = population.train_epoch(epoch)
        own = alone.train_epoch(epoch)
    torch.testing.assert_close(losses[1], own[0], rtol=0, atol=1e-12)
    torch.testing.assert_close(population.first_losses[1], alone.first_losses[0])
    snapshot = population.state.snapshot()
    torch.testing.assert_close(snapshot[1], alone.state.snapshot()[0], rtol=0, atol=1e-9)
    torch.testing.assert_close(snapshot[0], undisturbed.state.snapshot()[0], rtol=0, atol=1e-9)
    assert population.epochs.tolist() == [4, 2]


def test_a_member_that_joins_must_have_the_structure(prepared: Prepared) -> None:
    population = Population([member(0)], prepared)
    with pytest.raises(TrainingError, match="share one structure"):
        population.add([member(1, layers=[3])])
    assert len(population.members) == 1


def test_gradient_descent_takes_all_rows_in_one_step(prepared: Prepared) -> None:
    ((batch,),) = gathered(Population([member(0, optimizer="gd")], prepared), 1)
    assert torch.equal(batch, torch.arange(150))


def test_the_train_loss_of_an_epoch_is_the_mean_over_its_labelled_rows(prepared: Prepared) -> None:
    # At a rate of (almost) nothing the model does not move: the epoch's loss is the data's.
    one = member(0, lr=1e-300)
    population, losses = train_float64([replace(one, train=replace(one.train, epochs=1))], prepared)
    part = prepared.parts["train"]
    outputs = population.model(
        torch.from_numpy(part.numeric).double(), torch.from_numpy(part.codes)
    )
    fitted = {task.name: task.options for task in prepared.tasks}["price"]
    for t, task in enumerate(SPECS):
        target = torch.from_numpy(part.targets[task])
        expected = stock_loss(task, outputs[task][0], target, (fitted["mean"], fitted["std"]))
        torch.testing.assert_close(losses[0, 0, t], expected.detach(), rtol=0, atol=1e-9)


@pytest.mark.parametrize("mode", ["c", "r+"])
def test_mapped_rows_train_like_rows_in_memory(
    prepared: Prepared, tmp_path: Path, mode: str
) -> None:
    part = prepared.parts["train"]

    def mapped(name: str, array: np.ndarray) -> np.ndarray:
        np.save(tmp_path / f"{name}.npy", array, allow_pickle=False)
        found: np.ndarray = np.load(tmp_path / f"{name}.npy", mmap_mode=mode, allow_pickle=False)
        return found

    data = with_train(
        prepared,
        numeric=mapped("numeric", part.numeric),
        codes=mapped("codes", part.codes),
        targets={task: mapped(task, target) for task, target in part.targets.items()},
    )
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    found, losses = train_float64([member(0, noise=0.1, drop=0.1)], data)
    expected, own = train_float64([member(0, noise=0.1, drop=0.1)], prepared)
    assert torch.equal(found.state.parameters, expected.state.parameters)
    assert torch.equal(losses, own)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_last_batch_of_one_row_trains_with_batch_norm() -> None:
    data = make_prepared({"train": 65, "valid": 20, "test": 20}, missing=0.0)
    population, losses = train_float64([member(0, norm="batch", epochs=2)], data)
    assert bool(torch.isfinite(losses).all())
    assert bool(torch.isfinite(population.state.snapshot()).all())


def test_each_of_64_members_equals_the_same_trial_alone_with_dropout(prepared: Prepared) -> None:
    members = [
        member(
            number, dropout=0.05 + 0.007 * number, dropout_input=0.1, lr=10 ** (-4 + number / 32),
            weight_decay=number / 640, weights=(1.0, 0.1 + number / 16, 1.0, 2.0),
        )
        for number in range(64)
    ]  # fmt: skip
    together, losses = train_float64(members, prepared)
    snapshot = together.state.snapshot()
    for k in range(0, 64, 7):
        alone, own = train_float64([members[k]], prepared)
        torch.testing.assert_close(snapshot[k], alone.state.snapshot()[0], rtol=0, atol=1e-9)
        torch.testing.assert_close(losses[:, k], own[:, 0], rtol=0, atol=1e-9)
