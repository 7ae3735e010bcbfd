"""From measured pairs to groups: against brute force, and on truths that are known."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import spearmanr

from pipeline.comparison import grouping
from pipeline.comparison.grouping import (
    best_grouping,
    grouping_value,
    measure_transfer,
    rank_correlation,
    shrink,
)

Array = NDArray[np.float64]


def partitions(items: list[int]) -> Iterator[list[list[int]]]:
    if not items:
        yield []
        return
    first, rest = items[0], items[1:]
    for smaller in partitions(rest):
        yield [[first], *smaller]
        for at, group in enumerate(smaller):
            yield [*smaller[:at], [first, *group], *smaller[at + 1 :]]


def symmetric(n_tasks: int, seed: int, shift: float = 0.0) -> Array:
    draw = np.random.default_rng(seed).normal(shift, 0.05, size=(n_tasks, n_tasks))
    return (draw + draw.T) / 2


def scores(truth: Array, noise: float, n_seeds: int, seed: int) -> tuple[Array, Array]:
    """Scores of pairs and of tasks alone where `truth[i, j]` is what i gains from j."""
    draw = np.random.default_rng(seed)
    n_tasks = len(truth)
    alone = 0.7 + noise * draw.normal(size=(n_seeds, n_tasks))
    together = 0.7 + truth + noise * draw.normal(size=(n_seeds, n_tasks, n_tasks))
    return together, alone


@given(st.integers(1, 6), st.integers(0, 10**6), st.floats(-0.1, 0.1))
def test_the_best_partition_is_that_of_brute_force(n_tasks: int, seed: int, shift: float) -> None:
    value = symmetric(n_tasks, seed, shift)
    found = best_grouping(value)
    assert sorted(task for group in found for task in group) == list(range(n_tasks))
    best = max(grouping_value(value, groups) for groups in partitions(list(range(n_tasks))))
    assert grouping_value(value, found) == pytest.approx(max(best, 0.0), abs=1e-8)


@given(st.integers(2, 7), st.integers(0, 10**6), st.randoms(use_true_random=False))
def test_the_names_of_tasks_change_nothing(n_tasks: int, seed: int, random: object) -> None:
    value = symmetric(n_tasks, seed)
    order = list(range(n_tasks))
    random.shuffle(order)  # type: ignore[attr-defined]
    renamed = best_grouping(value[np.ix_(order, order)])
    assert sorted(tuple(sorted(order[task] for task in group)) for group in renamed) == (
        best_grouping(value)
    )


@pytest.mark.parametrize("n_tasks", [4, 16])
def test_without_transfer_every_task_stays_alone(n_tasks: int) -> None:
    alone = [(task,) for task in range(n_tasks)]
    assert best_grouping(np.zeros((n_tasks, n_tasks))) == alone
    assert best_grouping(np.full((n_tasks, n_tasks), -0.01)) == alone


@pytest.mark.parametrize("n_tasks", [5, 13, 17])
def test_of_equals_one_model_serves_all(n_tasks: int) -> None:
    found = best_grouping(np.full((n_tasks, n_tasks), 0.01))
    assert found == [tuple(range(n_tasks))]


def test_more_tasks_than_can_be_tried_in_every_way() -> None:
    truth = np.array([index % 3 for index in range(18)])
    value = np.where(truth[:, None] == truth, 0.06, -0.03) + symmetric(18, 1) / 10
    assert best_grouping(value, grain=0.02) == [
        tuple(np.flatnonzero(truth == group)) for group in range(3)
    ]


@pytest.mark.parametrize("seed", range(6))
def test_the_heuristic_reaches_what_is_exact(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    value = symmetric(8, seed)
    exact = grouping_value(value, best_grouping(value))
    monkeypatch.setattr(grouping, "EXACT_TASKS", 0)
    found = grouping_value(value, best_grouping(value))
    assert 0.85 * exact <= found <= exact + 1e-9


def test_transfer_is_the_mean_difference_with_its_spread_over_seeds() -> None:
    together, alone = scores(symmetric(3, 0), 0.02, 3, seed=1)
    found = measure_transfer(together, alone)
    for i in range(3):
        for j in range(3):
            if i == j:
                assert np.isnan(found.mean[i, j])
                continue
            gains = [together[s, i, j] - alone[s, i] for s in range(3)]
            assert found.mean[i, j] == pytest.approx(np.mean(gains))
            assert found.spread[i, j] == pytest.approx(np.std(gains, ddof=1))


def test_errors_and_their_common_part_are_those_that_were_simulated() -> None:
    """Task alone and pair have the same noise, so half of a difference's variance is common."""
    together, alone = scores(np.zeros((8, 8)), 0.02, 400, seed=2)
    found = measure_transfer(together, alone)
    expected = 0.02 * np.sqrt(2 / 400)
    assert found.error[0, 1] == pytest.approx(expected, rel=0.1)
    assert found.common == pytest.approx(0.5, abs=0.05)


def recommended(truth: Array, noise: float, seed: int) -> list[tuple[int, ...]]:
    found = shrink(measure_transfer(*scores(truth, noise, 3, seed)), seed)
    return best_grouping(found.value, found.error)


@pytest.mark.parametrize("n_tasks", [4, 9])
def test_noise_rarely_recommends_a_group(n_tasks: int) -> None:
    truth = np.zeros((n_tasks, n_tasks))
    grouped = sum(len(recommended(truth, 0.02, seed)) < n_tasks for seed in range(60))
    assert grouped <= 9, "5 % for the mean, half of them positive, and 5 % for the spread"


def test_groups_that_are_there_are_found_through_noise() -> None:
    label = np.array([0, 0, 1, 1, 1, 2])
    truth = np.where(label[:, None] == label, 0.06, -0.04)
    found = [recommended(truth, 0.02, seed) for seed in range(30)]
    assert sum(one == [(0, 1), (2, 3, 4), (5,)] for one in found) >= 27


def test_a_common_gain_of_all_pairs_recommends_one_model() -> None:
    found = [recommended(np.full((6, 6), 0.04), 0.01, seed) for seed in range(20)]
    assert sum(one == [(0, 1, 2, 3, 4, 5)] for one in found) >= 16


def test_shrinking_moves_values_towards_the_common_mean_and_keeps_their_order() -> None:
    label = np.array([0, 0, 0, 1, 1])
    transfer = measure_transfer(
        *scores(np.where(label[:, None] == label, 0.06, -0.04), 0.02, 3, seed=3)
    )
    found = shrink(transfer)
    raw = (transfer.mean + transfer.mean.T) / 2
    pairs = np.triu_indices(5, 1)
    assert found.spread > 0
    assert np.all(
        np.abs(found.value[pairs] - found.mean) <= np.abs(raw[pairs] - found.mean) + 1e-12
    )
    np.testing.assert_array_equal(found.value, found.value.T)


def test_one_seed_tells_no_error_and_recommends_nothing() -> None:
    transfer = measure_transfer(*scores(np.full((4, 4), 0.1), 0.01, 1, seed=0))
    assert np.isnan(transfer.error).all()
    assert best_grouping(shrink(transfer).value) == [(0,), (1,), (2,), (3,)]


def test_rank_correlation_is_scipys_over_known_pairs() -> None:
    draw = np.random.default_rng(0)
    transfer, estimate = draw.normal(size=(2, 5, 5))
    estimate[2, 3] = np.nan
    known = ~np.eye(5, dtype=bool) & np.isfinite(estimate)
    expected = spearmanr(transfer[known], estimate[known]).statistic
    assert rank_correlation(transfer, estimate) == pytest.approx(expected)
    assert rank_correlation(transfer, np.full((5, 5), np.nan)) is None
    assert rank_correlation(transfer, np.ones((5, 5))) is None
