"""The pass that is written out against autograd, its reference."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from training_data import member, with_train

from pipeline.data.prepared import Prepared
from pipeline.models.layers import ACTIVATIONS
from pipeline.training.members import Member
from pipeline.training.plain import SLOPES, is_plain
from pipeline.training.population import Population

DROPS = [
    {"dropout": 0.5, "lr": 3e-2},
    {"dropout_input": 0.3, "weights": (4.0, 0.0, 0.0, 0.0)},
    {"dropout": 0.1, "dropout_head": 0.4, "clip": 0.1, "label_smoothing": 0.2},
    {"noise": 0.3, "weights": (0.0, 2.0, 1.0, 1.0), "l2": 1e-2},
]
NO_DROPS = [{"weights": (1.0, 2.0, 0.5, 0.5)}, {"lr": 3e-2, "weight_decay": 0.1}]


def train_both(
    members: list[Member], prepared: Prepared, n_epochs: int = 3
) -> list[tuple[Tensor, Tensor]]:
    """Trains with the pass and with autograd; returns the losses and parameters of each."""
    found = []
    for plain in (True, False):
        population = Population(members, prepared, torch.float64)
        assert population.is_plain
        population.is_plain = plain
        losses = [population.train_epoch(epoch) for epoch in range(1, n_epochs + 1)]
        found.append((torch.stack(losses), population.state.parameters))
    return found


def assert_alike(found: list[tuple[Tensor, Tensor]]) -> None:
    for ours, reference in zip(*found, strict=True):
        torch.testing.assert_close(ours, reference, rtol=0, atol=1e-9)


@pytest.mark.parametrize("drops", [DROPS, NO_DROPS])
@pytest.mark.parametrize("activation", sorted(SLOPES))
def test_it_trains_as_autograd_does(
    prepared: Prepared, activation: str, drops: list[dict[str, Any]]
) -> None:
    members = [member(k, activation=activation, **values) for k, values in enumerate(drops)]
    assert_alike(train_both(members, prepared))


@pytest.mark.parametrize("optimizer", ["sgd", "gd", "subgradient"])
def test_it_serves_every_optimizer(complete: Prepared, optimizer: str) -> None:
    members = [member(k, optimizer=optimizer, **values) for k, values in enumerate(NO_DROPS)]
    assert_alike(train_both(members, complete))


@pytest.mark.parametrize("strategy", ["uncertainty", "dwa", "random", "famo"])
def test_it_serves_strategies_that_weigh_losses(prepared: Prepared, strategy: str) -> None:
    members = [member(k, strategy=strategy, **values) for k, values in enumerate(DROPS)]
    assert_alike(train_both(members, prepared))


def test_each_member_equals_the_same_member_alone(prepared: Prepared) -> None:
    members = [member(k, activation="gelu", **values) for k, values in enumerate(DROPS)]
    together = Population(members, prepared, torch.float64)
    alone = [Population([one], prepared, torch.float64) for one in members]
    for epoch in (1, 2):
        losses = together.train_epoch(epoch)
        for k, one in enumerate(alone):
            torch.testing.assert_close(losses[k], one.train_epoch(epoch)[0], rtol=0, atol=1e-9)
    for k, one in enumerate(alone):
        found = together.state.parameters[k]
        torch.testing.assert_close(found, one.state.parameters[0], rtol=0, atol=1e-9)


def test_members_come_and_go(prepared: Prepared) -> None:
    found = []
    for plain in (True, False):
        members = [member(k, **values) for k, values in enumerate(DROPS)]
        population = Population(members, prepared, torch.float64)
        population.is_plain = plain
        population.train_epoch(1)
        population.keep(torch.tensor([0, 2]))
        population.train_epoch(2)
        population.add([member(9, dropout=0.3)])
        found.append((population.train_epoch(3), population.state.parameters))
    assert_alike(found)


def test_one_wide_step_has_the_gradient_of_autograd(complete: Prepared) -> None:
    """By finite differences too, so that both are not wrong alike."""
    one = member(0, optimizer="gd", lr=1.0, epochs=1, layers=[4], activation="silu")
    population = Population([one], complete, torch.float64)
    before = population.state.parameters.clone()
    population.train_epoch(1)
    slope = before - population.state.parameters  # lr is 1, and the schedule begins with all of it
    random = torch.Generator().manual_seed(0)
    direction = torch.randn(before.shape, generator=random, dtype=torch.float64)
    ends = []
    for sign in (1, -1):
        moved = Population([one], complete, torch.float64)
        moved.state.parameters += sign * 1e-5 * direction
        ends.append(float((moved.own.weights * moved.train_epoch(1)).sum()))
    assert (ends[0] - ends[1]) / 2e-5 == pytest.approx(float((slope * direction).sum()), rel=1e-6)


@pytest.mark.parametrize(
    "shape", [{"norm": "layer"}, {"norm": "batch"}, {"head_layers": [4]}, {"sharing": "mmoe"},
              {"sharing": "separate"}],
)  # fmt: skip
def test_what_is_not_plain_is_left_to_autograd(prepared: Prepared, shape: dict[str, Any]) -> None:
    population = Population([member(0, **shape)], prepared)
    assert not is_plain(population.model)
    assert not population.is_plain


def test_balanced_gradients_are_left_to_autograd(prepared: Prepared) -> None:
    assert not Population([member(0, strategy="balance:pcgrad")], prepared).is_plain


def test_every_activation_has_a_slope() -> None:
    assert set(SLOPES) == set(ACTIVATIONS)


def test_a_batch_without_labels_of_a_task_gives_its_head_no_gradient(complete: Prepared) -> None:
    part = complete.parts["train"]
    targets = {**part.targets, "colour": np.full_like(part.targets["colour"], np.nan)}
    targets["colour"][:3] = 0
    assert_alike(train_both([member(0)], with_train(complete, targets=targets)))
