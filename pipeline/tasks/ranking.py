"""Metrics of a ranking: the areas under the ROC and the precision-recall curve.

Formulas as in `metrics`: members first, (K, N, ...) to (K,), or one member under weights (D, N)
to (D,). Members are sorted one by one, since each has ties of its own.
"""

from collections.abc import Callable

import numpy as np

from pipeline.tasks.metrics import Array, Values, ratio

Area = Callable[[Array, Array, Array | None], Values]


def roc_auc(target: Array, scores: Array, weight: Array | None = None) -> Values:
    """Returns the chance that a positive row is ranked above a negative one, ties half.

    0.5 where the target has one class only: such rows cannot tell a ranking from chance.
    """
    return np.nan_to_num(_members(_roc_area, target, scores, weight), nan=0.5)


def average_precision(target: Array, scores: Array, weight: Array | None = None) -> Values:
    """Returns the mean precision at the rank of each positive row; 0 where there is none."""
    return np.nan_to_num(_members(_precision_area, target, scores, weight), nan=0.0)


def roc_auc_of_classes(target: Array, predicted: Array, weight: Array | None = None) -> Values:
    """Returns the mean ROC AUC of each class against the rest, over the classes that occur."""
    codes = np.arange(predicted.shape[2])
    return roc_auc_of_labels(target[:, None] == codes, predicted, weight)


def roc_auc_of_labels(target: Array, predicted: Array, weight: Array | None = None) -> Values:
    """Returns the mean ROC AUC over the labels that some rows have and some have not."""
    return np.nan_to_num(_labels(_roc_area, target, predicted, weight), nan=0.5)


def average_precision_of_labels(
    target: Array, predicted: Array, weight: Array | None = None
) -> Values:
    """Returns the mean average precision over the labels that occur."""
    return np.nan_to_num(_labels(_precision_area, target, predicted, weight), nan=0.0)


def _labels(area: Area, target: Array, scores: Array, weight: Array | None) -> Values:
    areas = np.stack(
        [
            _members(area, target[:, label], scores[..., label], weight)
            for label in range(target.shape[1])
        ],
        axis=1,
    )  # (K, L), NaN where a label has no area
    defined = ~np.isnan(areas)
    return ratio(np.nan_to_num(areas).sum(axis=1), defined.sum(axis=1), np.nan)


def _members(area: Area, target: Array, scores: Array, weight: Array | None) -> Values:
    truth = target.astype(np.float64)
    return np.concatenate([area(truth, member, weight) for member in scores])


def _roc_area(target: Array, scores: Array, weight: Array | None) -> Values:
    """Area under the ROC curve of one ranking: (D,), NaN where one class is missing."""
    if weight is None:
        return _roc_area_of_rows(target, scores)
    positives, negatives = _tied_groups(target, scores, weight)
    above = np.cumsum(negatives, axis=1) - negatives / 2  # negatives at or before a tied group
    n_positives, n_negatives = positives.sum(axis=1), negatives.sum(axis=1)
    lost = (positives * above).sum(axis=1)
    return 1 - ratio(lost, n_positives * n_negatives, np.nan)


def _roc_area_of_rows(target: Array, scores: Array) -> Values:
    """Does the same where every row counts once: (1,), in a third of the time."""
    positives, negatives = np.sort(scores[target > 0]), np.sort(scores[target <= 0])
    below, tied = (np.searchsorted(negatives, positives, side) for side in ("left", "right"))
    pairs = 2.0 * len(positives) * len(negatives)
    return ratio(np.array([below.sum() + tied.sum()]), np.array([pairs]), np.nan)


def _precision_area(target: Array, scores: Array, weight: Array | None) -> Values:
    """Area under the precision-recall steps of one ranking: (D,), NaN without a positive."""
    positives, negatives = _tied_groups(target, scores, weight)
    found = np.cumsum(positives, axis=1)
    precision = ratio(found, found + np.cumsum(negatives, axis=1), 0.0)
    return ratio((positives * precision).sum(axis=1), positives.sum(axis=1), np.nan)


def _tied_groups(target: Array, scores: Array, weight: Array | None) -> tuple[Array, Array]:
    """Sums the weights of positive and negative rows with one score, best first: (D, G) each."""
    weight = np.ones((1, len(target))) if weight is None else weight
    order = np.argsort(-scores)
    ranked = scores[order]
    starts = np.flatnonzero(np.concatenate([[True], ranked[1:] != ranked[:-1]]))
    ordered = weight[:, order]
    everyone = np.add.reduceat(ordered, starts, axis=1)
    positives = np.add.reduceat(ordered * target[order], starts, axis=1)
    return positives, everyone - positives
