"""One of several labels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from pipeline.tasks import metrics, ranking
from pipeline.tasks.base import Decoded
from pipeline.tasks.losses import cross_entropy
from pipeline.tasks.metrics import Metric
from pipeline.tasks.probabilities import largest, softmax
from pipeline.tasks.single_label import SingleLabel

if TYPE_CHECKING:
    from torch import Tensor

    from pipeline.study.task_spec import TaskSpec


class Multiclass(SingleLabel):
    """A logit for each label, in sorted order (numbers numerically)."""

    name: ClassVar[str] = "multiclass"
    metrics: ClassVar[Mapping[str, Metric]] = metrics.by_name(
        Metric("macro_f1", metrics.macro_f1, metrics.values),
        Metric("accuracy", metrics.accuracy, metrics.values),
        # With one label a row each wrong answer is one false positive and one false negative, so
        # that F1 over all classes together is the accuracy.
        Metric("micro_f1", metrics.accuracy, metrics.values),
        Metric("roc_auc", ranking.roc_auc_of_classes, metrics.probabilities),
        Metric("log_loss", metrics.log_loss, metrics.probabilities, False, False),
    )

    @classmethod
    def order(cls, name: str, spec: TaskSpec, counts: Mapping[str, int]) -> tuple[str, ...]:
        """Returns the labels in sorted order."""
        return tuple(counts)

    @classmethod
    def prior(cls, shares: NDArray[np.float64]) -> NDArray[np.float64]:
        """Returns the log shares."""
        return np.log(shares)

    @property
    def width(self) -> int:
        """A logit for each class."""
        return len(self.info.classes)

    def row_loss(self, outputs: Tensor, target: Tensor, smoothing: Tensor | None) -> Tensor:
        """Returns the cross-entropy; see `Kind.row_loss` and `losses.cross_entropy`."""
        codes = target.nan_to_num().long()
        return cross_entropy(outputs, codes, smoothing, self.info.options["class_weights"])

    def decode(self, outputs: NDArray[Any]) -> Decoded:
        """Answers the most probable label; the first of several."""
        return Decoded(largest(outputs), lambda: softmax(outputs))
