"""Looking for traps among the columns: ids, and copies of a target."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.data.encoding import parse_numbers
from pipeline.data.hashing import Hashes, value_hashes
from pipeline.data.pieces import SUMMARIES
from pipeline.data.references import target_columns
from pipeline.data.rows import SourceRows
from pipeline.data.values import as_text
from pipeline.study.spec import StudySpec

_FEWEST_ROWS = 20  # on fewer, two columns match by chance


def counting_columns(frame: pd.DataFrame, names: Sequence[str]) -> list[str]:
    """Returns the columns that count the rows, as an id does: consecutive distinct integers."""
    return [name for name in names if len(frame) >= _FEWEST_ROWS and _counts_rows(frame[name])]


def _counts_rows(values: "pd.Series[Any]") -> bool:
    if values.dtype.kind not in "iu" or values.isna().any():
        return False
    return bool(values.is_unique and values.max() - values.min() == len(values) - 1)


def copy_warnings(
    train: pd.DataFrame, names: Sequence[str], targets: Mapping[str, Sequence[str]]
) -> list[str]:
    """Names input columns that repeat a target, as it is or one to one, in the train rows.

    Args:
        train: Train rows of one source.
        names: Input columns.
        targets: Task to its target columns.
    """
    inputs = {name: value_hashes(train[name]) for name in names}
    warnings = []
    for task, columns in targets.items():
        for target in columns:
            labelled, labels = labels_of(train, target)
            warnings += [
                f"Column `{name}` looks like a copy of `{target}`, the target of task `{task}`: "
                "each value of one stands for one value of the other. Name it under `drop` unless "
                "it is known when predicting."
                for name in names
                if _one_to_one(inputs[name][labelled], labels)
                and _repeats(train[name][labelled], train[target][labelled])
            ]
    return warnings


def labels_of(train: pd.DataFrame, target: str) -> tuple[NDArray[np.bool_], Hashes]:
    """Returns the rows that have a label, and the hashes of their labels."""
    labelled = ~np.asarray(pd.isna(as_text(train[target])))
    return labelled, value_hashes(train[target])[labelled]


def _one_to_one(inputs: Hashes, labels: Hashes) -> bool:
    if len(inputs) < _FEWEST_ROWS:
        return False
    first, first_values = pd.factorize(inputs)
    second, second_values = pd.factorize(labels)
    n_values = len(first_values)
    if n_values != len(second_values) or n_values < 2:
        return False
    return len(np.unique(first.astype(np.int64) * n_values + second)) == n_values


def _repeats(inputs: "pd.Series[Any]", labels: "pd.Series[Any]") -> bool:
    """Tells a copy from two columns that map one to one because almost all values are distinct."""
    if labels.nunique() <= len(labels) / 2:
        return True
    if np.array_equal(value_hashes(inputs), value_hashes(labels)):
        return True
    return _same_order(parse_numbers(inputs)[0], parse_numbers(labels)[0])


def _same_order(inputs: NDArray[np.float64], labels: NDArray[np.float64]) -> bool:
    if np.isnan(inputs).any() or np.isnan(labels).any():
        return False
    steps = np.diff(labels[np.argsort(inputs, kind="stable")])
    return bool((steps >= 0).all() or (steps <= 0).all())


def column_warnings(
    spec: StudySpec, rows: Mapping[str, SourceRows], inputs: Sequence[str]
) -> list[str]:
    """Returns a sentence for each input that looks like an id, or like a copy of a target.

    Args:
        spec: The study.
        rows: The rows of each source.
        inputs: Columns that are no texts.
    """
    warnings = []
    for name, found in rows.items():
        own = [column for column in inputs if column in found.frame]
        warnings += [
            f"Column `{column}` looks like an id: it counts the rows. Name it under `id` or `drop` "
            "unless its value is known when predicting."
            for column in counting_columns(found.frame, own)
        ]
        targets = {
            task: target_columns(spec, task)
            for task, declared in spec.tasks.items()
            if spec.source_of(task) == name and declared.kind not in SUMMARIES
        }
        warnings += copy_warnings(found.frame[found.parts == "train"], own, targets)
    return warnings
