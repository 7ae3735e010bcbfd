"""Any number of labels a row."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.errors import DataError
from pipeline.tasks import metrics, ranking
from pipeline.tasks.base import Decoded, Kind, TaskInfo, labelled
from pipeline.tasks.labels import (
    Texts,
    class_weights,
    label_texts,
    no_labels,
    sort_labels,
    target_columns,
    unseen_labels,
)
from pipeline.tasks.losses import logistic, smoothed
from pipeline.tasks.metrics import Metric
from pipeline.tasks.probabilities import logit, sigmoid

if TYPE_CHECKING:
    from torch import Tensor

    from pipeline.study.task_spec import TaskSpec

_YES_NO: Mapping[str, float] = {"0": 0.0, "1": 1.0, "false": 0.0, "true": 1.0}
_DEFAULT_THRESHOLD = 0.5
_DEFAULT_SEPARATOR = ";"


class Multilabel(Kind):
    """A logit for each label, from 0/1 columns or from one column of labels with a separator.

    With columns, a row is labelled where none of them is missing. With a separator, an empty cell
    of a file is a missing label, since readers cannot tell the two apart; a frame that holds the
    empty text says that the row has no label.

    `class_weights` count the rows that have a label that many times more than those that have
    not; `balanced` weighs both alike.
    """

    name: ClassVar[str] = "multilabel"
    metrics: ClassVar[Mapping[str, Metric]] = metrics.by_name(
        Metric("macro_f1", metrics.macro_f1_of_labels, metrics.values),
        Metric("micro_f1", metrics.micro_f1_of_labels, metrics.values),
        Metric("accuracy", metrics.accuracy, metrics.values),
        Metric("roc_auc", ranking.roc_auc_of_labels, metrics.probabilities),
        Metric("average_precision", ranking.average_precision_of_labels, metrics.probabilities),
        Metric("log_loss", metrics.log_loss_of_labels, metrics.probabilities, False, False),
    )

    @classmethod
    def fit(cls, name: str, declared: str, spec: TaskSpec, train: pd.DataFrame) -> TaskInfo:
        """Reads the labels of the train rows; see `Kind.fit`."""
        columns = target_columns(spec)
        classes, target = _read_train(name, spec, train)
        target = target[labelled(target)]
        if not len(target):
            raise no_labels(name, columns, len(train))
        counts = _counts(name, columns, classes, target)
        tuned = spec.threshold == "tuned"
        threshold = _DEFAULT_THRESHOLD if tuned or spec.threshold is None else spec.threshold
        return cls.describe(
            name,
            declared,
            spec,
            columns=columns,
            classes=classes,
            constant=logit(np.array([counts[label] for label in classes]) / len(target)).tolist(),
            options={
                "separator": spec.separator,
                "threshold": [threshold] * len(classes),
                "tuned": tuned,
                "class_weights": _label_weights(name, spec, counts, len(target)),
            },
        )

    def encode(self, labels: pd.DataFrame) -> NDArray[np.float32]:
        """Turns target columns into (N, L) of 0 and 1; see `Kind.encode`."""
        separator = self.info.options["separator"]
        if separator is None:
            return _read_columns(self.info.name, labels, self.info.columns)
        column = self.info.columns[0]
        rows = _split(label_texts(self.info.name, labels[column]), separator)
        known = set(self.info.classes)
        unseen = [label for row in rows if row for label in row if label not in known]
        if unseen:
            raise unseen_labels(self.info.name, column, np.array(unseen, dtype=object))
        return _mark(rows, self.info.classes)

    @property
    def width(self) -> int:
        """A logit for each label."""
        return len(self.info.classes)

    def loss_key(self) -> Hashable | None:
        """Returns the number of labels and their weights, which fix the loss."""
        weights = self.info.options["class_weights"]
        return type(self), self.width, None if weights is None else tuple(weights)

    def row_loss(self, outputs: Tensor, target: Tensor, smoothing: Tensor | None) -> Tensor:
        """Returns the binary cross-entropy, the mean over labels; see `Kind.row_loss`.

        Smoothing e moves a target y to (1 - e) y + e / 2.
        """
        share = None if smoothing is None else smoothing.unsqueeze(-1)
        toward = smoothed(target.nan_to_num(), share)  # (K, ..., B, L)
        weights = self.info.options["class_weights"]
        for_positive = toward if weights is None else toward * target.new_tensor(weights)
        return logistic(outputs, for_positive, 1 - toward).mean(dim=-1)

    def decode(self, outputs: NDArray[Any]) -> Decoded:
        """Gives each label whose probability reaches its threshold."""
        predicted = sigmoid(outputs)
        thresholds = np.array(self.info.options["threshold"])
        return Decoded((predicted >= thresholds).astype(np.int64), lambda: predicted)

    def tune(self, outputs: NDArray[Any], target: NDArray[Any]) -> TaskInfo:
        """Chooses thresholds by F1, if the study file says `tuned`.

        Where micro F1 is the primary metric, all labels get the one threshold with the best micro
        F1: it counts all decisions alike, and a threshold for each rare label would fit valid
        rather than the task. Otherwise each label gets its own best F1.
        """
        if not self.info.options["tuned"]:
            return self.info
        rows = labelled(target)
        predicted, truth = sigmoid(outputs[rows]), target[rows]
        if self.info.metric == "micro_f1":
            thresholds = [best_threshold(truth.ravel(), predicted.ravel())] * self.width
        else:
            thresholds = [best_threshold(truth[:, i], predicted[:, i]) for i in range(self.width)]
        return replace(self.info, options={**self.info.options, "threshold": thresholds})

    def answer(self, outputs: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """Returns the labels as one text, and the probability of each; see `Kind.answer`."""
        decoded = self.decode(outputs)
        assert decoded.probabilities is not None
        separator = self.info.options["separator"] or _DEFAULT_SEPARATOR
        classes = np.array(self.info.classes, dtype=object)
        joined = [separator.join(classes[row > 0]) for row in decoded.values]
        columns = {self.info.name: np.array(joined, dtype=object)}
        for position, label in enumerate(self.info.classes):
            columns[f"{self.info.name}_proba_{label}"] = decoded.probabilities[..., position]
        return columns


def best_threshold(target: NDArray[Any], predicted: NDArray[Any]) -> float:
    """Returns the threshold with the best F1, halfway between two probabilities.

    Of several equally good ones it is that nearest to 1/2, and 1/2 itself where no row has the
    label.

    Args:
        target: (N,) of 0 and 1.
        predicted: (N,) probabilities.
    """
    n_having = float(target.sum())
    if n_having == 0:
        return _DEFAULT_THRESHOLD
    order = np.argsort(-predicted)
    ranked = np.append(predicted[order], -1.0)
    ends = np.flatnonzero(ranked[1:] != ranked[:-1])  # a threshold cannot part equal rows
    f1 = 2 * np.cumsum(target[order])[ends] / (ends + 1 + n_having)
    thresholds = (ranked[ends] + np.maximum(ranked[ends + 1], 0.0)) / 2
    best = thresholds[f1 == f1.max()]
    return float(best[np.argmin(np.abs(best - _DEFAULT_THRESHOLD))])


def _read_train(
    task: str, spec: TaskSpec, train: pd.DataFrame
) -> tuple[tuple[str, ...], NDArray[np.float32]]:
    """Returns the labels and the (N, L) targets of the train rows."""
    columns = target_columns(spec)
    if (spec.separator is not None) != isinstance(spec.target, str):
        raise DataError(
            f"Task `{task}`: `target` must be a list of 0/1 columns, or one column together "
            f"with `separator`. Found {spec.target!r} and separator {spec.separator!r}."
        )
    if spec.separator is None:
        return tuple(columns), _read_columns(task, train, columns)
    rows = _split(label_texts(task, train[columns[0]]), spec.separator)
    classes = sort_labels({label for row in rows if row for label in row})
    return classes, _mark(rows, classes)


def _read_columns(task: str, labels: pd.DataFrame, columns: Sequence[str]) -> NDArray[np.float32]:
    """Reads 0/1 columns; a row with one missing is missing in all."""
    target = np.full((len(labels), len(columns)), np.nan, dtype=np.float32)
    for position, column in enumerate(columns):
        texts = label_texts(task, labels[column])
        present = np.array([text is not None for text in texts], dtype=bool)
        wrong = [text for text in texts[present] if text.lower() not in _YES_NO]
        if wrong:
            raise DataError(
                f"Column `{column}` of task `{task}` must hold 0 or 1. Found `{wrong[0]}`, and "
                f"{len(wrong)} such rows. One column of several labels needs `separator`."
            )
        target[present, position] = [_YES_NO[text.lower()] for text in texts[present]]
    target[~labelled(target)] = np.nan
    return target


def _split(texts: Texts, separator: str) -> list[set[str] | None]:
    return [
        None if text is None else {part.strip() for part in text.split(separator)} - {""}
        for text in texts
    ]


def _mark(rows: Sequence[set[str] | None], classes: Sequence[str]) -> NDArray[np.float32]:
    target = np.zeros((len(rows), len(classes)), dtype=np.float32)
    position = {label: i for i, label in enumerate(classes)}
    for number, row in enumerate(rows):
        if row is None:
            target[number] = np.nan
        else:
            target[number, [position[label] for label in row]] = 1.0
    return target


def _counts(
    task: str, columns: Sequence[str], classes: Sequence[str], target: NDArray[np.float32]
) -> dict[str, int]:
    """Counts the labelled train rows that have each label."""
    counts = {label: int(target[:, i].sum()) for i, label in enumerate(classes)}
    for label, n_rows in counts.items():
        if n_rows in (0, len(target)):
            raise DataError(
                f"Label `{label}` of task `{task}` must stand on some train rows and not on "
                f"others. Found it on {n_rows} of {len(target)}. Leave the label out, or check "
                "the split."
            )
    if not counts:
        raise no_labels(task, columns, len(target))
    return counts


def _label_weights(
    task: str, spec: TaskSpec, counts: Mapping[str, int], n_rows: int
) -> list[float] | None:
    if spec.class_weights == "balanced":
        return [(n_rows - n_having) / n_having for n_having in counts.values()]
    weights = class_weights(task, spec.class_weights, counts)
    return None if weights is None else list(weights.values())
