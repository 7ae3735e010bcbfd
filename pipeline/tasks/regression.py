"""A number."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.errors import DataError
from pipeline.tasks import metrics
from pipeline.tasks.base import Decoded, Kind, TaskInfo
from pipeline.tasks.labels import no_labels, one_column
from pipeline.tasks.metrics import Metric

if TYPE_CHECKING:
    from torch import Tensor

    from pipeline.study.task_spec import TaskSpec

_LARGEST = float(np.finfo(np.float32).max)


class Regression(Kind):
    """One output: the target in standard deviations of the train rows from their mean.

    Losses are in those units too, so that tasks weigh alike whatever their units.
    """

    name: ClassVar[str] = "regression"
    metrics: ClassVar[Mapping[str, Metric]] = metrics.by_name(
        Metric("r2", metrics.r2, metrics.values),
        Metric("rmse", metrics.rmse, metrics.values, False, False),
        Metric("mae", metrics.mae, metrics.values, False, False),
    )

    @classmethod
    def fit(cls, name: str, declared: str, spec: TaskSpec, train: pd.DataFrame) -> TaskInfo:
        """Reads the numbers of the train rows; see `Kind.fit`.

        The constant is the mean, which no other constant beats in `r2` and `rmse`; the median
        where the primary metric is `mae`.
        """
        column = one_column(name, spec)
        numbers = _read(name, train[column])
        numbers = numbers[~np.isnan(numbers)]
        if not len(numbers):
            raise no_labels(name, [column], len(train))
        mean, std = float(numbers.mean()), float(numbers.std())
        if numbers.min() == numbers.max():
            raise DataError(
                f"Column `{column}` of task `{name}` must have at least two values in train. "
                f"Found only {numbers[0]:g}, in {len(numbers)} rows. Check the split, or drop the "
                "task."
            )
        constant = (float(np.median(numbers)) - mean) / std if spec.metric == "mae" else 0.0
        return cls.describe(
            name,
            declared,
            spec,
            columns=[column],
            classes=[],
            constant=[constant],
            options={"mean": mean, "std": std, "loss": spec.loss, "delta": spec.delta},
        )

    def with_spec(self, spec: TaskSpec) -> Self:
        """Returns the kind with the loss and delta of a trial."""
        options = {**self.info.options, "loss": spec.loss, "delta": spec.delta}
        return type(self)(replace(self.info, options=options))

    def encode(self, labels: pd.DataFrame) -> NDArray[np.float32]:
        """Turns the target column into (N,) numbers in its own units; see `Kind.encode`."""
        return _read(self.info.name, labels[self.info.columns[0]]).astype(np.float32)

    def number(self, target: NDArray[Any]) -> NDArray[Any] | None:
        """Returns the target in standard deviations from its mean."""
        return np.asarray((target - self.info.options["mean"]) / self.info.options["std"])

    @property
    def width(self) -> int:
        """One number."""
        return 1

    def row_loss(self, outputs: Tensor, target: Tensor, smoothing: Tensor | None) -> Tensor:
        """Returns the loss of the error e, in standard deviations of the target.

        `squared` is e^2, `absolute` is |e|, and `huber` with delta d is e^2 / 2 up to |e| = d and
        d (|e| - d / 2) beyond, as in torch.
        """
        options = self.info.options
        standard: Tensor = ((target - options["mean"]) / options["std"]).nan_to_num()
        error: Tensor = outputs.squeeze(-1) - standard
        if options["loss"] == "squared":
            return error.square()
        if options["loss"] == "absolute":
            return error.abs()
        size = error.abs()
        delta = float(options["delta"])
        near = size.clamp(max=delta)
        return near.square() / 2 + delta * (size - near)

    def decode(self, outputs: NDArray[Any]) -> Decoded:
        """Answers in units of the target."""
        standard = outputs[..., 0].astype(np.float64)
        return Decoded(standard * self.info.options["std"] + self.info.options["mean"])

    def answer(self, outputs: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """Returns the number; see `Kind.answer`."""
        return {self.info.name: self.decode(outputs).values}


def _read(task: str, column: pd.Series) -> NDArray[np.float64]:
    """Reads numbers, NaN where missing; numbers written as text count as numbers."""
    missing = column.isna().to_numpy(dtype=bool)
    numbers = pd.to_numeric(column, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    for wrong, rule in (
        (np.isnan(numbers) & ~missing, "must hold numbers"),
        (np.abs(numbers) > _LARGEST, "must hold finite numbers"),
    ):
        if wrong.any():
            raise DataError(
                f"Column `{column.name}` of task `{task}` {rule}. Found "
                f"`{column[wrong].iloc[0]}`, and {int(wrong.sum())} such rows. Leave the cell "
                "empty where the label is missing."
            )
    return numbers
