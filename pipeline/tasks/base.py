"""A kind of task: how labels become numbers, what a head's outputs mean, and the metrics."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.errors import DataError, near_miss
from pipeline.study.own import is_own

if TYPE_CHECKING:
    # Kinds use methods of tensors only, so that labels can be checked without importing torch.
    from torch import Tensor

    from pipeline.study.task_spec import TaskSpec
    from pipeline.tasks.documents import Documents
    from pipeline.tasks.metrics import Metric


_TUPLES = ("columns", "classes", "constant", "inputs")


@dataclass(frozen=True)
class TaskInfo:
    """What training, evaluation and serving know of a task; fitted on its labelled train rows.

    Plain values only: it is stored as JSON in the prepared cache and in a served model.

    Attributes:
        name: Name of the task; `NAME:VALUE` for one made by `per`.
        declared: Name in the study file; differs from `name` for tasks made by `per`.
        kind: Name of the kind in the study file.
        metric: Primary metric.
        columns: Target columns.
        classes: Labels in the order of the head's outputs, as text; empty for regression.
        options: What the kind read from the study file and fitted (plain JSON values).
        constant: The best answer without inputs, as head outputs: the constant baseline.
        n_labelled: Labelled rows in each part.
        inputs: Columns that it reads; empty where it reads all inputs.
    """

    name: str
    declared: str
    kind: str
    metric: str
    columns: tuple[str, ...]
    classes: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    constant: tuple[float, ...] = ()
    n_labelled: Mapping[str, int] = field(default_factory=dict)
    inputs: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Returns plain JSON values."""
        return asdict(self)

    def with_models_in(self, folder: str) -> TaskInfo:
        """Returns it with the pretrained model, where it writes by one, in another folder."""
        if "path" not in self.options:
            return self
        return replace(self, options={**self.options, "path": folder})

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> TaskInfo:
        """Reads what `to_json` gave, also after a way through a JSON file."""
        tuples = {key: tuple(stored[key]) for key in _TUPLES if key in stored}
        return cls(**{**stored, **tuples})


@dataclass(frozen=True)
class Decoded:
    """Head outputs as answers; leading axes (members, or none) are kept.

    Attributes:
        values: (..., N) label codes or numbers; (..., N, L) 0/1 for multilabel.
        weigh: Computes `probabilities`: most epochs only ask for values. None for regression.
    """

    values: NDArray[Any]
    weigh: Callable[[], NDArray[Any]] | None = None

    @cached_property
    def probabilities(self) -> NDArray[Any] | None:
        """(..., N, C) for classes; None for regression."""
        return self.weigh() if self.weigh else None


def labelled(target: NDArray[Any]) -> NDArray[np.bool_]:
    """Tells which rows have a label: (N,) for targets (N,) or (N, L)."""
    present = ~np.isnan(target)
    return present if target.ndim == 1 else np.asarray(present.all(axis=1))


class Kind(ABC):
    """One kind of task, bound to a fitted `TaskInfo`. Tensors are member-first.

    Targets are float32 arrays, (N,) or (N, L) for multilabel, with NaN where a label is missing.
    """

    name: ClassVar[str]
    metrics: ClassVar[Mapping[str, Metric]]  # the default primary one first, as in the catalogue
    has_estimators: ClassVar[bool] = True  # whether linear models and boosting can learn it

    def __init__(self, info: TaskInfo) -> None:
        self.info = info

    @property
    def primary(self) -> Metric:
        """The metric whose oriented value is the task's score."""
        return self.measured[self.info.metric]

    @cached_property
    def measured(self) -> Mapping[str, Metric]:
        """All that is measured: the kind's metrics, and the user's own where it is the primary."""
        name = self.info.metric
        if name in self.metrics:
            return self.metrics
        from pipeline.tasks.contract import own_metric  # which needs this module

        return {name: own_metric(name), **self.metrics}

    def with_info(self, info: TaskInfo) -> Self:
        """Returns the kind with what was fitted anew, such as thresholds tuned on valid."""
        return type(self)(info)

    def with_documents(self, documents: Documents | None) -> Self:
        """Returns the kind with the documents that its rows are pieces of; most have none."""
        return self

    def n_examples(self, target: NDArray[Any]) -> int:
        """Counts what a metric averages over: labelled rows, or the documents they belong to."""
        return len(target)

    def generator(self) -> Mapping[str, Any] | None:
        """Returns the shape of the task's decoder, for kinds whose answers are written."""
        return None

    def number(self, target: NDArray[Any]) -> NDArray[Any] | None:
        """Returns the (n,) number that a baseline learns in place of classes; None for classes."""
        return None

    def with_spec(self, spec: TaskSpec) -> Self:
        """Returns the kind with the options that a trial may change; by default there are none."""
        return self

    @classmethod
    def describe(
        cls,
        name: str,
        declared: str,
        spec: TaskSpec,
        columns: Sequence[str],
        classes: Sequence[str],
        constant: Sequence[float],
        options: Mapping[str, Any],
    ) -> TaskInfo:
        """Returns what `fit` found, with the primary metric.

        Raises:
            DataError: The section names a metric that the kind does not have.
        """
        metric = spec.metric or next(iter(cls.metrics))
        if metric not in cls.metrics and not is_own(metric):
            raise DataError(
                f"`tasks.{declared}.metric` must be a metric of the kind `{cls.name}`. "
                f"Found {metric}. {near_miss(metric, tuple(cls.metrics))}"
            )
        return TaskInfo(
            name=name,
            declared=declared,
            kind=spec.kind,
            metric=metric,
            columns=tuple(columns),
            classes=tuple(classes),
            options=dict(options),
            constant=tuple(float(output) for output in constant),
        )

    @classmethod
    @abstractmethod
    def fit(cls, name: str, declared: str, spec: TaskSpec, train: pd.DataFrame) -> TaskInfo:
        """Reads the labels of the train rows.

        Args:
            name: Name of the task.
            declared: Its name in the study file.
            spec: Its section of the study file.
            train: Target columns of the source's train rows; missing labels are NaN or None.

        Raises:
            DataError: No labelled row, one class only, an infinite or non-numeric target, a
                `positive` that does not occur, a class weight for an unknown label, ...
        """

    @abstractmethod
    def encode(self, labels: pd.DataFrame) -> NDArray[np.float32]:
        """Turns target columns into targets.

        Raises:
            DataError: A label that no train row has; it names the label and how many rows.
        """

    @property
    @abstractmethod
    def width(self) -> int:
        """Outputs of the head."""

    def loss_key(self) -> Hashable | None:
        """Returns what tasks must have in common to have their losses computed at once.

        Tasks of equal keys get one call of `row_loss`, stacked along the axis "...". None, the
        default, stands for a task whose loss is computed by itself.
        """
        return None

    @abstractmethod
    def row_loss(self, outputs: Tensor, target: Tensor, smoothing: Tensor | None) -> Tensor:
        """Returns the loss of each row.

        Args:
            outputs: (K, ..., B, width) head outputs; "..." is the number of tasks where several
                with one `loss_key` are computed at once, and empty else.
            target: (..., B) or (..., B, L); NaN where missing: the loss there is meaningless but
                finite.
            smoothing: Label smoothing of each member, (K, 1) or (K, 1, 1) to be broadcast against
                the rows; None where no member smooths. Ignored by regression.

        Returns:
            (K, ..., B), each row already multiplied by its class weight.
        """

    def row_weight(self, target: Tensor) -> Tensor | None:
        """Returns the (..., B) weight of each row in the mean over rows; None where all are 1."""
        return None

    @abstractmethod
    def decode(self, outputs: NDArray[Any]) -> Decoded:
        """Turns (..., N, width) head outputs into answers in the units of the target."""

    def tune(self, outputs: NDArray[Any], target: NDArray[Any]) -> TaskInfo:
        """Fits what is chosen on valid, such as thresholds; by default nothing.

        Args:
            outputs: (N, width) head outputs of one member on valid.
            target: (N,) or (N, L); rows without a label are passed over.
        """
        return self.info

    @abstractmethod
    def answer(self, outputs: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """Returns a served model's columns: `TASK` and `TASK_proba_CLASS`, (N,) each."""
