"""What linear models and boosted trees learn of a task: one problem for each, in their terms."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.tasks.base import Kind

Array = NDArray[Any]


@dataclass(frozen=True)
class Problem:
    """What one estimator learns.

    Attributes:
        target: (n,) class codes, or standardised numbers.
        weight: (n,) weights of the rows.
        is_number: Whether the target is a number.
    """

    target: Array
    weight: Array
    is_number: bool


def problems_of(kind: Kind, target: Array) -> list[Problem]:
    """Splits a task into what estimators learn: a multilabel task into its labels.

    Args:
        kind: One that `has_estimators`.
        target: Of labelled rows.
    """
    number = kind.number(target)
    if number is not None:
        return [Problem(number, np.ones(len(target)), is_number=True)]
    weights = kind.info.options.get("class_weights")
    codes = target.astype(np.int64)
    if codes.ndim == 1:
        weight = np.ones(len(codes)) if weights is None else np.array(weights)[codes]
        return [Problem(codes, weight, is_number=False)]
    of_having = np.ones(codes.shape[1]) if weights is None else np.array(weights)
    weight = np.where(codes == 1, of_having, 1.0)  # (n, L)
    return [Problem(codes[:, i], weight[:, i], is_number=False) for i in range(codes.shape[1])]
