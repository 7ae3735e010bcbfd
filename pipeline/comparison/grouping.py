"""Which tasks should share a model: from the values of pairs to a partition.

As in Standley et al. (2020) and Fifty et al. (2021), a task is taken to gain in a group the mean of
its transfers from the others there, and the groups are those that maximise the sum of gains over
tasks. See `transfer` for what is believed of a pair.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import lcm

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

EXACT_TASKS = 13
"""Up to here every partition is considered; 3**(T - 1) steps take about a second."""

_GRAIN = 1e-9  # by default values are compared in this unit, so that no rounding error decides


def best_grouping(value: Array, grain: float = 0.0) -> list[tuple[int, ...]]:
    """Returns the partition of tasks that maximises the summed gains; see the module.

    A group of two or more must be worth more than its tasks alone; of equals, fewer models win.
    Exact up to `EXACT_TASKS`, by dynamic programming over subsets. Above, tasks are moved one by
    one, and groups merged, for as long as that gains, from two starts: all alone, all together.

    Args:
        value: (T, T) symmetric values of pairs.
        grain: Unit in which values are compared, such as what stays uncertain of them: the mean
            of a group never beats that of its best pair, so without it noise would cut large
            groups to pieces.

    Returns:
        Groups of task numbers, each in order, by their first task.
    """
    pairs = np.rint(np.where(np.eye(len(value), dtype=bool), 0, value) / max(grain, _GRAIN)).astype(
        int
    )
    whole = _Values([[int(v) for v in row] for row in pairs])
    groups = _exact(whole) if len(value) <= EXACT_TASKS else _search(whole)
    return sorted(tuple(sorted(group)) for group in groups)


def grouping_value(value: Array, groups: Sequence[Sequence[int]]) -> float:
    """Returns the mean over tasks of what each is predicted to gain in its group."""
    total = 0.0
    for group in groups:
        for i in group:
            others = [value[i, j] for j in group if j != i]
            total += float(np.mean(others)) if others else 0.0
    return total / len(value)


class _Values:
    """The worth of groups in whole numbers, so that equals are equal."""

    def __init__(self, pairs: Sequence[Sequence[int]]) -> None:
        self.pairs = pairs
        self.n_tasks = len(pairs)
        self._unit = lcm(*range(1, max(2, self.n_tasks)))

    def inside(self, group: Sequence[int]) -> int:
        """Sums the pairs of a group, each once."""
        return sum(self.pairs[i][j] for at, i in enumerate(group) for j in group[:at])

    def worth(self, inside: int, size: int) -> int:
        """Returns a group's summed gains: each pair counts for two tasks, over its others."""
        return 0 if size < 2 else 2 * inside * (self._unit // (size - 1))

    def of(self, groups: Sequence[Sequence[int]]) -> tuple[int, int]:
        """Returns what is maximised: summed gains, then fewer models."""
        return sum(self.worth(self.inside(g), len(g)) for g in groups), -len(groups)


def _exact(values: _Values) -> list[list[int]]:
    """Best partition of every subset, from small to large."""
    n_sets = 1 << values.n_tasks
    inside = [0] * n_sets
    size = [0] * n_sets
    for mask in range(1, n_sets):
        first = (mask & -mask).bit_length() - 1
        rest = mask & (mask - 1)
        size[mask] = size[rest] + 1
        inside[mask] = inside[rest] + sum(
            values.pairs[first][j] for j in range(values.n_tasks) if rest >> j & 1
        )
    worth = [values.worth(i, s) for i, s in zip(inside, size, strict=True)]
    best: list[tuple[int, int]] = [(0, 0)] * n_sets
    choice = [0] * n_sets
    for mask in range(1, n_sets):
        lowest = mask & -mask
        rest = mask ^ lowest
        alone = best[rest]
        top, chosen = (alone[0], alone[1] - 1), lowest
        part = rest
        while part:  # each group that holds the lowest task
            if worth[part | lowest] > 0:
                left = best[rest ^ part]
                found = (worth[part | lowest] + left[0], left[1] - 1)
                if found > top:
                    top, chosen = found, part | lowest
            part = (part - 1) & rest
        best[mask], choice[mask] = top, chosen
    groups = []
    mask = n_sets - 1
    while mask:
        groups.append([j for j in range(values.n_tasks) if choice[mask] >> j & 1])
        mask ^= choice[mask]
    return groups


def _search(values: _Values) -> list[list[int]]:
    tasks = range(values.n_tasks)
    starts = [[[task] for task in tasks], [list(tasks)]]
    found = [_split_worthless(values, _climb(values, start)) for start in starts]
    return max(found, key=values.of)


def _climb(values: _Values, groups: list[list[int]]) -> list[list[int]]:
    """Takes the best move of a task, or merger of two groups, until none gains."""
    while True:
        better = max(_neighbours(groups), key=values.of)
        if values.of(better) <= values.of(groups):
            return groups
        groups = better


def _neighbours(groups: list[list[int]]) -> list[list[list[int]]]:
    found = [groups]
    for at, group in enumerate(groups):
        others = groups[:at] + groups[at + 1 :]
        for task in group:
            left = [j for j in group if j != task]
            kept = [left] if left else []
            found.append([*kept, *others, [task]])
            found += [
                [*kept, *others[:to], [*other, task], *others[to + 1 :]]
                for to, other in enumerate(others)
            ]
        found += [
            [*others[:to], [*other, *group], *others[to + 1 :]] for to, other in enumerate(others)
        ]
    return found


def _split_worthless(values: _Values, groups: list[list[int]]) -> list[list[int]]:
    """Leaves alone the tasks of groups that gain nothing by sharing."""
    kept: list[list[int]] = []
    for group in groups:
        if len(group) > 1 and values.worth(values.inside(group), len(group)) <= 0:
            kept += [[task] for task in group]
        else:
            kept.append(group)
    return kept
