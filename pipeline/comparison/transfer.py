"""What tasks gain from each other: as measured under a few seeds, and what to believe of it.

The transfer of task j on task i is the score of i trained with j, less the score of i alone, at
the same settings and seeds.

Few seeds measure a transfer badly, and the best of many partitions of noise looks good. So
transfers are shrunk, as in a random-effects meta-analysis: towards their common mean as far as
their spread is explained by that of seeds (DerSimonian & Laird, 1986), and the mean and the spread
themselves count only where seeds alone would rarely give as much.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

LEVEL = 0.05
"""How rarely seeds alone may give a mean or a spread of transfers that is believed."""

_N_DRAWS = 1000
_NUMBERS = 2**16  # drawn at once: they stay in the cache


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
    # Side by side in memory, so that one draw and many are summed in the same order.
    return np.ascontiguousarray(square[..., rows, columns])


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
    scale = np.sqrt(variance * n_seeds)[:, None]  # of one seed
    off = ~np.eye(n_tasks, dtype=bool)
    n_numbers = n_seeds * n_tasks * (1 + n_tasks)  # of a draw
    at_once = max(1, _NUMBERS // n_numbers)
    z, q = [], []
    for low in range(0, _N_DRAWS, at_once):
        n_draws = min(at_once, _N_DRAWS - low)
        drawn = random.normal(size=(n_draws, n_numbers))
        alone, pairs = np.split(drawn, [n_seeds * n_tasks], axis=1)
        gains = alone.reshape(n_draws, n_seeds, n_tasks, 1) * np.sqrt(common)
        gains = gains + pairs.reshape(n_draws, n_seeds, n_tasks, n_tasks) * np.sqrt(1 - common)
        gains *= scale  # (D, S, T, T)
        mean = gains.mean(1)
        errors = np.where(off, gains.var(1, ddof=1), 0).sum(2) / (n_tasks - 1) / n_seeds  # (D, T)
        of_pairs = _of_pairs((mean + mean.mT) / 2)
        _, one_z, one_q = _summary(of_pairs, _of_pairs(_pair_variance(errors)))
        z.append(one_z)
        q.append(one_q)
    return np.concatenate(z), np.concatenate(q)


def _is_rare(found: float, null: Array) -> bool:
    return float(np.mean(null >= found)) < LEVEL
