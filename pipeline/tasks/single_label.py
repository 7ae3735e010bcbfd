"""What binary and multiclass share: one label a row, out of those that train rows have."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Hashable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.errors import DataError
from pipeline.tasks.base import Kind, TaskInfo
from pipeline.tasks.labels import (
    class_weights,
    codes_of,
    count_labels,
    label_texts,
    no_labels,
    one_column,
)

if TYPE_CHECKING:
    from torch import Tensor

    from pipeline.study.task_spec import TaskSpec


class SingleLabel(Kind):
    """One label a row; a target is the label's code, its position among the classes."""

    @classmethod
    @abstractmethod
    def order(cls, name: str, spec: TaskSpec, counts: Mapping[str, int]) -> tuple[str, ...]:
        """Returns the labels in the order of their codes.

        Args:
            name: Name of the task.
            spec: Its section of the study file.
            counts: Train rows of each label, in sorted order; at least two labels.

        Raises:
            DataError: The kind cannot learn these labels.
        """

    @classmethod
    @abstractmethod
    def prior(cls, shares: NDArray[np.float64]) -> NDArray[np.float64]:
        """Returns the head outputs whose probabilities are the (C,) shares of the classes."""

    @classmethod
    def fit(cls, name: str, declared: str, spec: TaskSpec, train: pd.DataFrame) -> TaskInfo:
        """Reads the labels of the train rows; see `Kind.fit`."""
        column = one_column(name, spec)
        counts = count_labels(label_texts(name, train[column]))
        if not counts:
            raise no_labels(name, [column], len(train))
        if len(counts) == 1:
            label, n_rows = next(iter(counts.items()))
            raise DataError(
                f"Column `{column}` of task `{name}` must have at least two labels in train. "
                f"Found only `{label}`, in {n_rows} rows. Check the split, or drop the task."
            )
        classes = cls.order(name, spec, counts)
        weights = class_weights(name, spec.class_weights, counts)
        n_rows_of = np.array([counts[label] for label in classes], dtype=np.float64)
        return cls.describe(
            name,
            declared,
            spec,
            columns=[column],
            classes=classes,
            constant=cls.prior(n_rows_of / n_rows_of.sum()).tolist(),
            options={"class_weights": None if weights is None else [weights[c] for c in classes]},
        )

    def encode(self, labels: pd.DataFrame) -> NDArray[np.float32]:
        """Turns the target column into (N,) codes; see `Kind.encode`."""
        column = self.info.columns[0]
        texts = label_texts(self.info.name, labels[column])
        return codes_of(self.info.name, column, texts, self.info.classes)

    def loss_key(self) -> Hashable | None:
        """Returns the number of outputs and the class weights, which fix the loss."""
        weights = self.info.options["class_weights"]
        return type(self), self.width, None if weights is None else tuple(weights)

    def row_weight(self, target: Tensor) -> Tensor | None:
        """Returns the weight of each row's label; None where all labels count alike."""
        weights = self.info.options["class_weights"]
        if weights is None:
            return None
        return target.new_tensor(weights)[target.nan_to_num().long()]

    def answer(self, outputs: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """Returns the label as text, and the probability of each; see `Kind.answer`."""
        name, classes = self.info.name, self.info.classes
        decoded = self.decode(outputs)
        assert decoded.probabilities is not None
        columns = {name: np.array(classes, dtype=object)[decoded.values]}
        for code, label in enumerate(classes):
            columns[f"{name}_proba_{label}"] = decoded.probabilities[..., code]
        return columns
