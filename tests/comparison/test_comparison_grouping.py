"""From measured pairs to groups: against brute force, and on truths that are known."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from transfer_cases import Array, scores, symmetric

from pipeline.comparison import grouping
from pipeline.comparison.grouping import best_grouping, grouping_value
from pipeline.comparison.transfer import measure_transfer, shrink


def partitions(items: list[int]) -> Iterator[list[list[int]]]:
    if not items:
        yield []
        return
    first, rest = items[0], items[1:]
    for smaller in partitions(rest):
        yield [[first], *smaller]
        for at, group in enumerate(smaller):
            yield [*smaller[:at], [first, *group], *smaller[at + 1 :]]


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


def test_one_seed_tells_no_error_and_recommends_nothing() -> None:
    transfer = measure_transfer(*scores(np.full((4, 4), 0.1), 0.01, 1, seed=0))
    assert np.isnan(transfer.error).all()
    assert best_grouping(shrink(transfer).value) == [(0,), (1,), (2,), (3,)]
