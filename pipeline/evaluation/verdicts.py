"""Did sharing help? Differences with the luck of training in them, and a verdict for each task.

Two things would have been otherwise: the seeds that networks were trained under, and the rows that
they are tested on. A score of seed s on row-sample b is

    score = mean + rows_b + seed_s + interaction_sb,

and the mean over S seeds varies by `rows + seed / S + interaction / S`. The bootstrap of the mean
over seeds measures `rows + interaction / S`; the spread of the seeds, all on the same rows,
measures `seed + interaction`. Their sum counts the interaction twice; the bootstrap of each
seed's distance to the mean measures it, and it is taken off once. With few seeds a spread is
itself uncertain: bounds are those of Student's t, its degrees of freedom by Welch and
Satterthwaite (1946), the seeds of two rows counted as independent. They have batches in common,
which if anything makes them alike: then the bounds are too wide rather than too narrow.

Nor are there ever more degrees of freedom than the seeds have together: where they happen to
spread little, Satterthwaite's estimate takes the rows for all there is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

Verdict = Literal["together", "alone", "neither", "unclear"]

LEVEL = 0.95


@dataclass(frozen=True)
class Scores:
    """One row's scores of one task, or their mean over tasks.

    Attributes:
        values: (S,) of each seed, on all rows.
        samples: (S, D) of each seed under the same D draws of rows.
        n_units: Rows that are drawn, or groups of rows.
    """

    values: NDArray[np.float64]
    samples: NDArray[np.float64]
    n_units: int

    @property
    def mean(self) -> float:
        """Mean over seeds."""
        return float(self.values.mean())


@dataclass(frozen=True)
class Difference:
    """How far one row is above another.

    Attributes:
        estimate: Difference of the means over seeds.
        error: Its standard error, over rows and seeds.
        freedom: Degrees of freedom of the error.
    """

    estimate: float
    error: float
    freedom: float

    @property
    def p(self) -> float:
        """Two-sided p-value of there being no difference."""
        if self.error == 0:
            return 1.0 if self.estimate == 0 else 0.0
        return float(2 * student.sf(abs(self.estimate) / self.error, self.freedom))

    def bounds(self, level: float = LEVEL) -> tuple[float, float]:
        """Returns the interval that holds the true difference with this chance."""
        half = self.error * float(student.ppf((1 + level) / 2, self.freedom))
        return self.estimate - half, self.estimate + half


@dataclass(frozen=True)
class Judged:
    """A difference with the bounds that Holm's procedure gives it.

    Attributes:
        difference: The difference.
        low: Lower bound.
        high: Upper bound; zero lies outside the bounds exactly where the procedure rejects.
        p: Adjusted p-value.
    """

    difference: Difference
    low: float
    high: float
    p: float


def difference(model: Scores, reference: Scores) -> Difference:
    """Returns how far a row is above another whose rows were drawn alike."""
    over_rows = model.samples.mean(0) - reference.samples.mean(0)
    arms = (model, reference)
    n_units = min(arm.n_units for arm in arms)
    rows = _variance(over_rows) * n_units / max(1, n_units - 1)
    seeds = [_of_mean(arm) for arm in arms]
    of_seeds = sum(seeds)
    shared = sum(_interaction(arm) / len(arm.values) for arm in arms)
    total = max(rows + of_seeds - shared, rows, of_seeds)
    parts = [(part, len(arm.values) - 1) for part, arm in zip(seeds, arms, strict=True)]
    parts.append((total - of_seeds, n_units - 1))
    unsure = sum(part**2 / max(1, freedom) for part, freedom in parts)
    freedom = total**2 / unsure if unsure > 0 else 1.0
    of_all_seeds = sum(len(arm.values) - 1 for arm in arms)
    if of_all_seeds:
        freedom = min(freedom, of_all_seeds)
    return Difference(model.mean - reference.mean, float(np.sqrt(total)), freedom)


def mean_bounds(scores: Scores, level: float = LEVEL) -> tuple[float, float]:
    """Returns the interval of a row's mean over seeds, lopsided where its scores are.

    The bootstrap's percentiles give the spread over rows, Student's t the spread over seeds that
    rows do not explain; each side is the root of the sum of both squares.
    """
    drawn = scores.samples.mean(0)
    drawn = drawn[~np.isnan(drawn)]
    if not len(drawn):
        return float("nan"), float("nan")
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    n_seeds, half = len(scores.values), 0.0
    if n_seeds > 1:
        own = max(0.0, _of_mean(scores) - _interaction(scores) / n_seeds)
        half = float(np.sqrt(own) * student.ppf((1 + level) / 2, n_seeds - 1))
    mean = scores.mean
    below, above = max(0.0, mean - low), max(0.0, high - mean)
    return mean - float(np.hypot(below, half)), mean + float(np.hypot(above, half))


def holm(differences: Mapping[str, Difference], level: float = LEVEL) -> dict[str, Judged]:
    """Returns bounds that all hold together with a chance of `level` (Holm, 1979).

    The smallest p-value is held against `1 - level` over the number of differences, the next
    against that over one less, and so on until one fails; it and the rest share the last level.
    """
    ranked = sorted(differences, key=lambda name: differences[name].p)
    judged: dict[str, Judged] = {}
    adjusted, alpha, failed = 0.0, 1 - level, False
    for rank, name in enumerate(ranked):
        found, n_left = differences[name], len(ranked) - rank
        adjusted = max(adjusted, min(1.0, n_left * found.p))
        alpha = alpha if failed else (1 - level) / n_left
        failed = failed or not found.p <= alpha
        judged[name] = Judged(found, *found.bounds(1 - alpha), p=adjusted)
    return {name: judged[name] for name in differences}


def verdict(judged: Judged | None, beats_constant: bool, several_seeds: bool) -> Verdict:
    """Returns the verdict on one task.

    Args:
        judged: The tuned row against the task alone; None where either is missing.
        beats_constant: Whether any row is above the constant.
        several_seeds: Whether both have several seeds: one cannot tell sharing from luck.
    """
    if not beats_constant:
        return "neither"
    if judged is None or not several_seeds:
        return "unclear"
    if judged.low > 0:
        return "together"
    return "alone" if judged.high < 0 else "unclear"


def beats(rows: Sequence[Scores], constant: Scores) -> bool:
    """Returns whether any row is above the constant, Holm's procedure over the rows."""
    found = {str(index): difference(row, constant) for index, row in enumerate(rows)}
    return any(judged.low > 0 for judged in holm(found).values())


def mean_scores(tasks: Sequence[Scores], units: Sequence[float] | None = None) -> Scores:
    """Returns the mean over tasks, seed by seed; of tasks with more seeds the first ones count.

    Args:
        tasks: Scores of each task.
        units: What each task's scores are divided by; 1 by default.
    """
    n_seeds = min(len(scores.values) for scores in tasks)
    shares = np.ones(len(tasks)) if units is None else 1 / np.asarray(units)
    values = np.stack([scores.values[:n_seeds] for scores in tasks])
    samples = np.stack([scores.samples[:n_seeds] for scores in tasks])
    return Scores(
        np.einsum("t,ts->s", shares, values) / len(tasks),
        np.einsum("t,tsd->sd", shares, samples) / len(tasks),
        max(scores.n_units for scores in tasks),
    )


def _of_mean(scores: Scores) -> float:
    """Variance of the mean over seeds on these rows; 0 where one seed tells nothing of it."""
    n_seeds = len(scores.values)
    return float(scores.values.var(ddof=1)) / n_seeds if n_seeds > 1 else 0.0


def _interaction(scores: Scores) -> float:
    """Variance of how differently rows suit the seeds: of each seed's distance to their mean."""
    n_seeds = len(scores.values)
    if n_seeds < 2:
        return 0.0
    apart = scores.samples - scores.samples.mean(0)
    return sum(_variance(row) for row in apart) / (n_seeds - 1)


def _variance(samples: NDArray[np.float64]) -> float:
    defined = samples[~np.isnan(samples)]
    return float(defined.var()) if len(defined) > 1 else 0.0
