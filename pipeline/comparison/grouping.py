"""Which tasks should share a model: from measured pairs to a partition.

The transfer of task j on task i is the score of i trained with j, less the score of i alone, at
the same settings and seeds. As in Standley et al. (2020) and Fifty et al. (2021), a task is
taken to gain in a group the mean of its transfers from the others there, and the groups are those
that maximise the sum of gains over tasks.

Few seeds measure a transfer badly, and the best of many partitions of noise looks good. So
transfers are shrunk first, as in a random-effects meta-analysis: towards their common mean as far
as their spread is explained by that of seeds (DerSimonian & Laird, 1986), and the mean and the
spread themselves count only where seeds alone would rarely give as much.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import lcm

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

EXACT_TASKS = 13
"""Up to here every partition is considered; 3**(T - 1) steps take about a second."""

LEVEL = 0.05
"""How rarely seeds alone may give a mean or a spread of transfers that is believed."""

_N_DRAWS = 1000
_GRAIN = 1e-9  # by default values are compared in this unit, so that no rounding error decides


@dataclass(frozen=True)
class Transfer:
    """Measured transfers.

    Attributes:
        mean: (T, T) mean over seeds of what task i gains from j; NaN on the diagonal.
        spread: (T, T) standard deviation over seeds; NaN likewise, and everywhere for one seed.
        error: (T, T) standard error of `mean`, pooled over the pairs of task i, since three seeds
            say little of one pair's.
        common: Share of the error's variance that all transfers on a task have in common, which
            is that of the task alone.
        n_seeds: Seeds behind each.
    """

    mean: Array
    spread: Array
    error: Array
    common: float
    n_seeds: int


@dataclass(frozen=True)
class Shrunk:
    """What is believed of the value of pairs.

    Attributes:
        value: (T, T) symmetric: mean of the two transfers of a pair, shrunk; 0 on the diagonal.
        mean: Believed common mean; 0 where seeds alone may have given it.
        spread: Believed standard deviation of pairs' true values; 0 likewise.
        error: What stays uncertain of a pair's value: a standard deviation, the median of pairs.
    """

    value: Array
    mean: float
    spread: float
    error: float


def measure_transfer(together: Array, alone: Array) -> Transfer:
    """Returns the transfers with what seeds tell of their error.

    Args:
        together: (S, T, T) score of task i when trained with j, under each seed; the diagonal is
            not looked at.
        alone: (S, T) score of each task alone under the same seeds.
    """
    n_seeds, n_tasks = alone.shape
    off = ~np.eye(n_tasks, dtype=bool)
    gains = np.where(off, together - alone[:, :, None], np.nan)  # (S, T, T)
    mean = np.where(off, gains.sum(0), np.nan) / n_seeds
    if n_seeds == 1:
        unknown = np.full_like(mean, np.nan)
        return Transfer(mean, unknown, unknown, 0.0, 1)
    spread = np.where(off, gains.std(0, ddof=1), np.nan)
    n_others = max(1, n_tasks - 1)
    total = np.where(off, spread**2, 0).sum(1) / n_others  # (T,) variance of one seed's transfer
    per_task = np.where(off, gains, 0).sum(2) / n_others  # (S, T)
    of_mean = per_task.var(0, ddof=1).sum()  # common part, and a share of each pair's own
    common = 0.0
    if n_others > 1 and total.sum() > 0:
        share = of_mean / total.sum()
        common = float(np.clip((share - 1 / n_others) / (1 - 1 / n_others), 0, 1))
    error = np.where(off, np.sqrt(total / n_seeds)[:, None], np.nan)
    return Transfer(mean, spread, error, common, n_seeds)


def shrink(transfer: Transfer, seed: int = 0) -> Shrunk:
    """Returns what to believe of each pair's value.

    How large a mean or a spread seeds alone would give is simulated: as many seeds, errors as
    measured, no transfer at all. One seed tells no error: nothing is believed.

    Args:
        transfer: As measured.
        seed: Of the simulation.
    """
    n_tasks = len(transfer.mean)
    off = ~np.eye(n_tasks, dtype=bool)
    variance = np.where(off, transfer.error**2, 0).max(1)  # (T,) alike over j
    if n_tasks < 2 or not np.all(variance > 0):
        return Shrunk(np.zeros((n_tasks, n_tasks)), 0.0, 0.0, 0.0)
    observed = _of_pairs((transfer.mean + transfer.mean.T) / 2)  # (P,)
    of_pair = _of_pairs(_pair_variance(variance))
    mean, z, q = _summary(observed, of_pair)
    null_z, null_q = _null(variance, transfer.common, transfer.n_seeds, seed)
    believed_mean = float(mean) if _is_rare(abs(float(z)), np.abs(null_z)) else 0.0
    between = 0.0
    if _is_rare(float(q), null_q):
        weight = 1 / of_pair
        scale = weight.sum() - (weight**2).sum() / weight.sum()
        between = max(0.0, float((q - np.median(null_q)) / scale))
    trust = between / (between + of_pair)  # (P,)
    shrunk = believed_mean + trust * (observed - believed_mean)
    value = np.zeros((n_tasks, n_tasks))
    value[np.triu_indices(n_tasks, 1)] = shrunk
    error = float(np.median(np.sqrt(trust * of_pair)))
    return Shrunk(value + value.T, believed_mean, between**0.5, error)


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


def rank_correlation(transfer: Array, estimate: Array) -> float | None:
    """Returns Spearman's correlation over the ordered pairs that both know.

    None where fewer than 3 pairs are known, or one of the two is the same for all.
    """
    from scipy.stats import rankdata

    known = np.isfinite(transfer) & np.isfinite(estimate)
    np.fill_diagonal(known, val=False)
    if known.sum() < 3:
        return None
    ranks = [rankdata(found[known]) for found in (transfer, estimate)]
    if any(np.ptp(found) == 0 for found in ranks):
        return None
    return float(np.corrcoef(*ranks)[0, 1])


def _of_pairs(square: Array) -> Array:
    """Returns (..., P) values of the pairs i < j of (..., T, T)."""
    rows, columns = np.triu_indices(square.shape[-1], 1)
    return np.asarray(square[..., rows, columns])


def _pair_variance(variance: Array) -> Array:
    """Returns (..., T, T) variances of the means of a pair's two transfers."""
    return np.asarray((variance[..., :, None] + variance[..., None, :]) / 4)


def _summary(values: Array, variance: Array) -> tuple[Array, Array, Array]:
    """Returns the weighted mean of (..., P) values, it over its error, and Cochran's Q."""
    weight = 1 / variance
    total = weight.sum(-1)
    mean = (weight * values).sum(-1) / total
    return mean, mean * np.sqrt(total), (weight * (values - mean[..., None]) ** 2).sum(-1)


def _null(variance: Array, common: float, n_seeds: int, seed: int) -> tuple[Array, Array]:
    """Returns means over their errors, and Cochran's Q, where no task helps another: (D,) each.

    The errors are estimated anew in each draw: with three seeds, that is most of the luck.
    """
    random = np.random.default_rng(seed)
    n_tasks = len(variance)
    scale = np.sqrt(variance * n_seeds)  # of one seed
    off = ~np.eye(n_tasks, dtype=bool)
    z, q = [], []
    for _ in range(_N_DRAWS):
        alone = random.normal(size=(n_seeds, n_tasks, 1)) * np.sqrt(common)
        pairs = random.normal(size=(n_seeds, n_tasks, n_tasks)) * np.sqrt(1 - common)
        gains = (alone + pairs) * scale[:, None]
        mean = gains.mean(0)
        drawn = np.where(off, gains.var(0, ddof=1), 0).sum(1) / (n_tasks - 1) / n_seeds
        of_pairs = _of_pairs((mean + mean.T) / 2)
        _, one_z, one_q = _summary(of_pairs, _of_pairs(_pair_variance(drawn)))
        z.append(float(one_z))
        q.append(float(one_q))
    return np.array(z), np.array(q)


def _is_rare(found: float, null: Array) -> bool:
    return float(np.mean(null >= found)) < LEVEL


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
