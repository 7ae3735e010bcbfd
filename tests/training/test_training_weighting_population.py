"""Strategies while a population trains."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from test_training_weighting import STRATEGIES, each_strategy
from torch import Tensor
from training_data import SPECS, member

from pipeline.data.prepared import Prepared
from pipeline.study.catalogue import load
from pipeline.training.gradients import gramian_of
from pipeline.training.loop import train
from pipeline.training.members import EpochResult, Member
from pipeline.training.population import Population
from pipeline.training.weighting.balance import balance

DIFFERENT = [
    {"dropout": 0.3},
    {"lr": 3e-2, "dropout": 0.5, "weight_decay": 0.1},
    {"weights": (0.0, 2.0, 2.0, 0.0), "dropout": 0.1},
    {"weights": (0.0, 0.0, 1.0, 0.0), "dropout_head": 0.4},
    {"label_smoothing": 0.2, "dropout_input": 0.3},
    {"clip": 0.1, "l1": 1e-3, "temperature": 5.0, "mu": 0.1, "own_lr": 0.1},
    {"noise": 0.5, "drop": 0.2, "l2": 1e-2},
    {"mixup": 0.4, "dropout": 0.1, "warmup_epochs": 1.5},
]


def made(strategy: str, **shape: object) -> list[Member]:
    return [
        member(number, strategy=strategy, epochs=3, **{**shape, **values})
        for number, values in enumerate(DIFFERENT)
    ]


def trained(members: list[Member], prepared: Prepared) -> tuple[Population, Tensor, Tensor]:
    """Returns the population after its epochs, and the losses and weights of each of them."""
    population = Population(members, prepared, torch.float64)
    losses, weights = [], []
    for epoch in range(1, members[0].train.epochs + 1):
        losses.append(population.train_epoch(epoch))
        weights.append(population.mean_weights())
    found = [w if w is not None else population.own.weights for w in weights]
    return population, torch.stack(losses), torch.stack(found)


@each_strategy
def test_each_of_eight_members_equals_the_same_trial_alone_with_dropout(
    prepared: Prepared, name: str
) -> None:
    members = made(name, norm="batch")
    together, losses, weights = trained(members, prepared)
    snapshot = together.state.snapshot()
    for k, one in enumerate(members):
        alone, own, its_weights = trained([one], prepared)
        torch.testing.assert_close(snapshot[k], alone.state.snapshot()[0], rtol=0, atol=1e-8)
        torch.testing.assert_close(losses[:, k], own[:, 0], rtol=0, atol=1e-8)
        torch.testing.assert_close(
            weights[:, k], its_weights[:, 0], rtol=1e-9, atol=1e-9, equal_nan=True
        )


@each_strategy
def test_a_member_that_diverges_disturbs_no_other(prepared: Prepared, name: str) -> None:
    wild = {"lr": 1e200, "optimizer": "sgd"}
    sound = [member(k, strategy=name, optimizer="sgd", dropout=0.2, epochs=2) for k in (1, 2)]
    population = Population(
        [member(0, strategy=name, epochs=2, **wild), *sound], prepared, torch.float64
    )
    alone = Population(sound, prepared, torch.float64)
    for epoch in (1, 2):
        losses = population.train_epoch(epoch)
        expected = alone.train_epoch(epoch)
        torch.testing.assert_close(losses[1:], expected, rtol=0, atol=1e-9)
    snapshot = population.state.snapshot()
    assert not bool(torch.isfinite(snapshot[0]).all())
    torch.testing.assert_close(snapshot[1:], alone.state.snapshot(), rtol=0, atol=1e-9)
    ends = train([member(0, strategy=name, epochs=2, **wild), *sound], prepared)
    assert [end.state for end in ends] == ["diverged", "complete", "complete"]


@pytest.mark.parametrize("name", [name for name in STRATEGIES if load("strategy", name).moves])
def test_a_task_of_weight_0_keeps_its_head(prepared: Prepared, name: str) -> None:
    one = member(0, strategy=name, weights=(1.0, 0.0, 1.0, 0.0), weight_decay=0.1)
    population = Population([one], prepared)
    segments, owners = population.state.segments()
    before = population.state.parameters.clone()
    population.train_epoch(1)
    for segment, owner in enumerate(owners):
        same = torch.equal(before[:, segments == segment],
                           population.state.parameters[:, segments == segment])  # fmt: skip
        assert same is (owner in (1, 3))


def test_a_second_look_changes_nothing_but_the_weights(prepared: Prepared) -> None:
    """Dropout and running statistics of a strategy that looks again are those of one that does
    not, as long as their weights are the same: in the first step."""
    found = []
    for name in ("famo", "geometric"):
        one = member(0, strategy=name, dropout=0.5, norm="batch", epochs=1, weights=(0, 1, 0, 0))
        population = Population([one], prepared, torch.float64)
        steps = population.steps_of_epoch(1)
        losses = [next(steps)[0][0, 1] for _ in range(3)]
        found.append((torch.stack(losses), population.state.snapshot()))
    # One task alone has weight 1 under either strategy.
    torch.testing.assert_close(found[0], found[1], rtol=0, atol=1e-9)


def test_where_nothing_is_shared_balancing_is_the_sum(prepared: Prepared) -> None:
    found = []
    for name in ("balance:mgda", "equal"):
        members = [member(k, strategy=name, sharing="separate", dropout=0.2) for k in range(2)]
        found.append(trained(members, prepared)[0].state.parameters)
    torch.testing.assert_close(found[0], found[1], rtol=0, atol=1e-9)


@pytest.mark.parametrize("shape", [{}, {"head_layers": [5]}, {"sharing": "mmoe"}])
def test_balancing_moves_what_tasks_share_by_the_weighted_gradients(
    complete: Prepared, shape: dict[str, object]
) -> None:
    one = member(0, strategy="balance:mgda", optimizer="gd", lr=1.0, schedule="constant",
                 activation="tanh", **shape)  # fmt: skip
    population = Population([one], complete, torch.float64)
    segments, owners = population.state.segments()
    before, rows = population.state.parameters.clone(), []
    for task in range(len(SPECS)):
        plain = [0.0] * len(SPECS)
        plain[task] = 1.0
        alone = replace(one, weighting=replace(one.weighting, strategy="fixed"), weights=plain)
        other = Population([alone], complete, torch.float64)
        other.train_epoch(1)
        rows.append(before - other.state.parameters)  # a step of rate 1 down its gradient
    population.train_epoch(1)
    moved = (before - population.state.parameters)[0]
    shared = segments == owners.index(None)
    gradients = torch.stack(rows, dim=1)
    weights = balance("mgda", gramian_of(gradients[:, :, shared])[0], 0)
    torch.testing.assert_close(population.mean_weights(), weights.unsqueeze(0))
    torch.testing.assert_close(moved[shared], weights @ gradients[0][:, shared])
    torch.testing.assert_close(moved[~shared], gradients[0][:, ~shared].sum(0))


def test_mean_weights_are_told_with_each_epoch_where_they_move(prepared: Prepared) -> None:
    seen: list[EpochResult] = []
    members = [member(0, strategy="dwa"), member(1, strategy="dwa", weights=(1, 0, 1, 1))]
    train(members, prepared, lambda results: seen.extend(results) or {})
    early = [result for result in seen if result.epoch <= 2]
    for result in early:
        expected = [1.0, 1.0, 1.0, 1.0] if result.number == 0 else [1.0, np.nan, 1.0, 1.0]
        assert list(result.weights.values()) == pytest.approx(expected, nan_ok=True)
    late = [result for result in seen if result.epoch > 2 and result.number == 0]
    assert all(list(result.weights) == list(SPECS) for result in late)
    assert any(abs(result.weights["price"] - 1) > 1e-3 for result in late)
    train([member(0)], prepared, lambda results: seen.extend(results) or {})
    assert seen[-1].weights == {}
