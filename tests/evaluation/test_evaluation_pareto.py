"""The front against brute force, volumes against inclusion and exclusion, and properties."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.evaluation.pareto import front, hypervolume, order

Array = NDArray[np.float64]


@st.composite
def points(draw: st.DrawFn, most: int = 7) -> Array:
    """Small whole numbers, so that ties and equal points are common."""
    n_points, n_tasks = draw(st.integers(1, most)), draw(st.integers(1, 4))
    rows = st.lists(st.integers(0, 4), min_size=n_tasks, max_size=n_tasks)
    return np.array(draw(st.lists(rows, min_size=n_points, max_size=n_points)), float)


def dominates(first: Array, second: Array) -> bool:
    pairs = list(zip(first, second, strict=True))
    return all(a >= b for a, b in pairs) and any(a > b for a, b in pairs)


@given(points())
def test_the_front_is_what_none_dominates(found: Array) -> None:
    brute = [i for i, one in enumerate(found) if not any(dominates(two, one) for two in found)]
    assert front(found) == brute
    assert brute, "a finite set has a front"


@given(points())
def test_a_dominating_point_comes_first(found: Array) -> None:
    ranked = order(found)
    assert sorted(ranked) == list(range(len(found)))
    assert {*ranked[: len(front(found))]} == {*front(found)}
    for i in range(len(found)):
        for j in range(len(found)):
            if dominates(found[i], found[j]):
                assert ranked.index(i) < ranked.index(j)


@given(points(), st.lists(st.floats(0.1, 10), min_size=4, max_size=4))
def test_the_order_does_not_depend_on_units(found: Array, scale: list[float]) -> None:
    n_tasks = found.shape[1]
    scaled = np.round(found * scale[:n_tasks], 9)
    if len(front(found)) == len({tuple(row) for row in found[front(found)]}):
        assert {*order(scaled)[: len(front(found))]} == {*front(found)}


def test_the_knee_is_nearest_to_the_best_of_each_task() -> None:
    assert order(np.array([[0.0, 1.0], [0.8, 0.8], [1.0, 0.0], [0.1, 0.1]])) == [1, 0, 2, 3]
    # In units of its own range, not of the score: a task whose scores differ little counts too.
    assert order(np.array([[0.5, 0.70], [0.9, 0.69], [1.0, 0.60]]))[0] == 1


@given(points(most=6))
def test_the_volume_is_that_of_inclusion_and_exclusion(found: Array) -> None:
    total = 0.0
    for size in range(1, len(found) + 1):
        for chosen in combinations(range(len(found)), size):
            total += (-1) ** (size + 1) * float(np.prod(found[list(chosen)].min(0)))
    assert hypervolume(found, [0.0] * found.shape[1]) == pytest.approx(total)


@given(points(), points())
def test_another_point_never_makes_the_volume_smaller(found: Array, more: Array) -> None:
    n_tasks = min(found.shape[1], more.shape[1])
    both = np.concatenate([found[:, :n_tasks], more[:, :n_tasks]])
    reference = [1.0] * n_tasks
    volume = hypervolume(both, reference)
    assert volume >= hypervolume(found[:, :n_tasks], reference) - 1e-12
    assert volume == pytest.approx(hypervolume(both[front(both)], reference))


def test_points_below_the_reference_span_nothing() -> None:
    assert hypervolume(np.array([[0.4, 0.9]]), [0.5, 0.5]) == 0.0
    assert hypervolume(np.array([[0.7, 0.6], [0.6, 0.9]]), [0.5, 0.5]) == pytest.approx(0.05)
    assert hypervolume(np.empty((0, 2)), [0.0, 0.0]) == 0.0
