"""One of two labels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import DataError, near_miss
from pipeline.tasks import metrics, ranking
from pipeline.tasks.base import Decoded
from pipeline.tasks.labels import label_text
from pipeline.tasks.losses import logistic, smoothed
from pipeline.tasks.metrics import Metric
from pipeline.tasks.probabilities import logit, sigmoid
from pipeline.tasks.single_label import SingleLabel

if TYPE_CHECKING:
    from torch import Tensor

    from pipeline.study.task_spec import TaskSpec


class Binary(SingleLabel):
    """One logit, of the positive label; code 1 is the positive label.

    Without `positive` the rarer label of the train rows is positive; of two that are equally
    frequent, the later in sorted order.
    """

    name: ClassVar[str] = "binary"
    metrics: ClassVar[Mapping[str, Metric]] = metrics.by_name(
        Metric("roc_auc", ranking.roc_auc, metrics.positive),
        Metric("average_precision", ranking.average_precision, metrics.positive),
        Metric("accuracy", metrics.accuracy, metrics.values),
        Metric("f1", metrics.binary_f1, metrics.values),
        Metric("log_loss", metrics.log_loss, metrics.probabilities, False, False),
    )

    @classmethod
    def order(cls, name: str, spec: TaskSpec, counts: Mapping[str, int]) -> tuple[str, ...]:
        """Returns the negative and the positive label; see `SingleLabel.order`."""
        labels = tuple(counts)
        if len(labels) > 2:
            raise DataError(
                f"Task `{name}` of kind `binary` must have two labels. Found {len(labels)}: "
                f"{', '.join(labels[:5])}{', ...' if len(labels) > 5 else ''}. "
                "The kind `multiclass` takes more."
            )
        if spec.positive is None:
            first, second = labels
            return (first, second) if counts[second] <= counts[first] else (second, first)
        positive = label_text(spec.positive)
        if positive not in labels:
            raise DataError(
                f"`positive` of task `{name}` must be one of its labels. Found `{positive}`. "
                f"{near_miss(positive, labels)}"
            )
        return (labels[0] if labels[1] == positive else labels[1], positive)

    @classmethod
    def prior(cls, shares: NDArray[np.float64]) -> NDArray[np.float64]:
        """Returns the logit of the positive label's share."""
        return logit(shares[1:])

    @property
    def width(self) -> int:
        """One logit."""
        return 1

    def row_loss(self, outputs: Tensor, target: Tensor, smoothing: Tensor | None) -> Tensor:
        """Returns the binary cross-entropy; see `Kind.row_loss`.

        Smoothing e moves a target y to (1 - e) y + e / 2, so that the loss is the cross-entropy
        of the two classes with logits 0 and x.
        """
        toward = smoothed(target.nan_to_num(), smoothing)
        for_negative, for_positive = self.info.options["class_weights"] or (1.0, 1.0)
        return logistic(outputs.squeeze(-1), for_positive * toward, for_negative * (1 - toward))

    def decode(self, outputs: NDArray[Any]) -> Decoded:
        """Answers the more probable label; the negative one at exactly 1/2."""
        logits = outputs[..., 0].astype(np.float64)
        return Decoded(
            (logits > 0).astype(np.int64),
            lambda: np.stack([sigmoid(-logits), sigmoid(logits)], axis=-1),
        )
