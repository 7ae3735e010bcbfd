"""Metrics: what they read of an answer, their direction, and the formulas that count rows.

Every formula takes members first: target (N,) or (N, L) without missing labels, predictions
(K, N, ...), and gives (K,). It may also weight rows: with one member (K = 1) and weights (D, N),
such as the row counts of D bootstrap draws, it gives (D,). Where a formula is undefined it gives
the value that its docstring names; over no rows (or a total weight of 0) a mean is NaN.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.tasks.base import Decoded

Array = NDArray[Any]
Values = NDArray[np.float64]

SMALLEST_PROBABILITY = float(np.finfo(np.float64).eps)  # scikit-learn's, so that losses agree


def values(decoded: Decoded) -> Array:
    """Reads the answers: (K, N) codes or numbers, (K, N, L) for multilabel."""
    return decoded.values


def probabilities(decoded: Decoded) -> Array:
    """Reads the probability of every class: (K, N, C)."""
    assert decoded.probabilities is not None, "a regression has no probabilities"
    return decoded.probabilities


def positive(decoded: Decoded) -> Array:
    """Reads the probability of a binary task's positive label: (K, N)."""
    return probabilities(decoded)[..., 1]


@dataclass(frozen=True)
class Metric:
    """One metric of a kind of task.

    Attributes:
        name: Key in tables and in MLflow.
        function: (target, predictions, weights or None) -> (K,).
        reads: What the function takes of a decoded answer.
        higher_is_better: Direction; `score` turns the value so that higher is better.
        bounded_by_one: Whether 1 is the best possible value, so that gains can be measured
            against what is left to win.
    """

    name: str
    function: Callable[[Array, Array, Array | None], Values]
    reads: Callable[[Decoded], Array]
    higher_is_better: bool = True
    bounded_by_one: bool = True

    def __call__(self, target: Array, decoded: Decoded, weight: Array | None = None) -> Values:
        """Returns the metric of each member (K,), or of each weighting (D,) of one member."""
        return self.function(target, self.reads(decoded), weight)

    def score(self, value: Values) -> Values:
        """Orients values so that higher is better."""
        return value if self.higher_is_better else -value


def by_name(*metrics: Metric) -> dict[str, Metric]:
    """Returns metrics by their names, in the order given."""
    return {metric.name: metric for metric in metrics}


def total(rows: Array, weight: Array | None) -> Values:
    """Sums rows: (K, N, ...) to (K, ...), or (1, N, ...) under weights (D, N) to (D, ...)."""
    if weight is None:
        return np.asarray(rows.sum(axis=1, dtype=np.float64))
    return np.asarray(weight @ rows[0].astype(np.float64), dtype=np.float64)


def ratio(above: Array, below: Array, undefined: float) -> Values:
    """Divides, giving `undefined` where the denominator is 0."""
    above, below = np.broadcast_arrays(above, below)
    return np.divide(
        above, below, out=np.full(above.shape, undefined, dtype=np.float64), where=below != 0
    )


def n_rows(n: int, weight: Array | None) -> Values:
    """Returns how many rows count: n, or the (D,) sums of weights (D, n)."""
    return np.asarray(n if weight is None else weight.sum(axis=1), dtype=np.float64)


def mean(rows: Array, weight: Array | None) -> Values:
    """Averages over rows, (K, N) to (K,) or (D,); NaN over no rows."""
    return ratio(total(rows, weight), n_rows(rows.shape[1], weight), np.nan)


def accuracy(target: Array, answers: Array, weight: Array | None = None) -> Values:
    """Returns the share of rows whose answer is right; for multilabel, wholly right."""
    right = answers == target
    return mean(right if right.ndim == 2 else right.all(axis=2), weight)


def binary_f1(target: Array, answers: Array, weight: Array | None = None) -> Values:
    """Returns the F1 of code 1; 0 where it neither occurs nor is answered."""
    return micro_f1_of_labels(target[:, None], answers[..., None], weight)


def macro_f1(target: Array, answers: Array, weight: Array | None = None) -> Values:
    """Returns the mean F1 over the classes that occur in the target or in the answers."""
    n_classes = int(max(target.max(initial=0), answers.max(initial=0))) + 1
    codes = np.broadcast_to(target, answers.shape)
    hits = _class_totals(codes, answers == target, n_classes, weight)  # (K, C)
    actual = _class_totals(codes, None, n_classes, weight)
    answered = _class_totals(answers, None, n_classes, weight)
    present = actual + answered > 0
    scores = ratio(2 * hits, actual + answered, 0.0)
    return ratio(scores.sum(axis=1), present.sum(axis=1), np.nan)


def macro_f1_of_labels(target: Array, answers: Array, weight: Array | None = None) -> Values:
    """Returns the mean F1 over labels; 0 for one that neither occurs nor is answered."""
    hits, sizes = _label_totals(target, answers, weight)
    return np.asarray(ratio(2 * hits, sizes, 0.0).mean(axis=1))


def micro_f1_of_labels(target: Array, answers: Array, weight: Array | None = None) -> Values:
    """Returns the F1 of all labels counted together; 0 where there are none."""
    hits, sizes = _label_totals(target, answers, weight)
    return ratio(2 * hits.sum(axis=1), sizes.sum(axis=1), 0.0)


def log_loss(target: Array, predicted: Array, weight: Array | None = None) -> Values:
    """Returns the mean negative log probability of the label, from probabilities (K, N, C)."""
    codes = np.broadcast_to(target.astype(np.intp)[:, None], (*predicted.shape[:2], 1))
    return mean(_surprise(np.take_along_axis(predicted, codes, axis=2)[..., 0]), weight)


def log_loss_of_labels(target: Array, predicted: Array, weight: Array | None = None) -> Values:
    """Returns the mean binary log loss over rows and labels, from probabilities (K, N, L)."""
    given = np.where(target > 0, predicted, 1 - predicted)
    return mean(_surprise(given).mean(axis=2), weight)


def r2(target: Array, answers: Array, weight: Array | None = None) -> Values:
    """Returns the share of variance explained; for a constant target 1 if exact, else 0."""
    truth = target.astype(np.float64)
    centred = (truth - truth.mean())[None]  # (1, N), so that squares of offsets cancel nothing
    residual = total((answers - truth) ** 2, weight)
    squares = total(centred**2, weight)
    offset = ratio(total(centred, weight) ** 2, n_rows(len(truth), weight), np.nan)
    spread = squares - offset
    spread = np.where(spread <= 1e-12 * squares, 0.0, spread)  # rounding of a constant target
    explained = 1 - ratio(residual, spread, 1.0)
    return np.where((spread == 0) & (residual == 0), 1.0, explained)


def rmse(target: Array, answers: Array, weight: Array | None = None) -> Values:
    """Returns the root mean squared error, in units of the target."""
    return np.sqrt(mean((answers - target.astype(np.float64)) ** 2, weight))


def mae(target: Array, answers: Array, weight: Array | None = None) -> Values:
    """Returns the mean absolute error, in units of the target."""
    return mean(np.abs(answers - target.astype(np.float64)), weight)


def _surprise(given: Array) -> Array:
    return np.asarray(-np.log(np.clip(given, SMALLEST_PROBABILITY, 1.0)))


def _class_totals(
    codes: Array, counted: Array | None, n_classes: int, weight: Array | None
) -> Values:
    """Counts the rows of each class, (K, N) to (K, C); only those that are `counted`."""
    if weight is not None:
        one_hot = codes[0][:, None] == np.arange(n_classes)  # (N, C)
        return total((one_hot if counted is None else one_hot & counted[0][:, None])[None], weight)
    n_members = codes.shape[0]
    cells = codes.astype(np.intp) + n_classes * np.arange(n_members)[:, None]
    chosen = cells.ravel() if counted is None else cells[counted]
    counts = np.bincount(chosen, minlength=n_members * n_classes)
    return counts.reshape(n_members, n_classes).astype(np.float64)


def _label_totals(target: Array, answers: Array, weight: Array | None) -> tuple[Values, Values]:
    """Counts per label (K, L): rows that have it and are given it; the sum of both sizes."""
    has, given = target[None] > 0, answers > 0
    return total(has & given, weight), total(has, weight) + total(given, weight)
