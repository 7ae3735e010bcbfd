"""What sharing won for each task, against the same task trained alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.evaluation.evaluate import Evaluation
from pipeline.tasks.base import Kind

LEAST_ALONE = 0.05
"""Below this a relative change says more about the denominator than about the model."""


@dataclass(frozen=True)
class DeltaM:
    """Mean relative change against each task alone.

    Attributes:
        value: The mean, or None where it would mislead.
        reason: Why it is None; empty where it is not.
    """

    value: float | None
    reason: str = ""


def gain_unit(kind: Kind, constant: float) -> float | None:
    """Returns 1 - constant, what inputs can win and gains are shares of.

    None where the metric has no best value of 1, or the constant already reaches it.
    """
    return 1 - constant if kind.primary.bounded_by_one and constant < 1 else None


def mean_gain(gains: Mapping[str, float | None]) -> float | None:
    """Returns the mean over the tasks that have a gain; None where none has."""
    found = [gain for gain in gains.values() if gain is not None]
    return float(np.mean(found)) if found else None


def delta_m(kinds: Sequence[Kind], model: Evaluation, alone: Evaluation) -> DeltaM:
    """Returns the mean over tasks of (value - alone) / alone, better counted as positive.

    Values are primary metrics in their own direction (Maninis et al., 2019). Null, with the
    reason, where a task alone scores below 0.05, or where an error to be lowered is 0.
    """
    changes = []
    for kind in kinds:
        task, metric = kind.info.name, kind.primary
        value, reference = (side.tasks[task][metric.name] for side in (model, alone))
        least = LEAST_ALONE if metric.higher_is_better else np.finfo(np.float64).tiny
        if not reference >= least:
            return DeltaM(
                None,
                f"`{task}` alone has {metric.name} {reference:.3g}, too little to divide by",
            )
        change = (value - reference) / reference
        changes.append(change if metric.higher_is_better else -change)
    return DeltaM(float(np.mean(changes)))
