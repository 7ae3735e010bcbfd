"""Labels as a table holds them, as text, and as codes.

A label's text is what a served model answers: "3" for 3 and 3.0, "true" and "false" for booleans,
and any text as it stands.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.errors import DataError, near_miss

if TYPE_CHECKING:
    from pipeline.study.task_spec import TaskSpec

Texts = NDArray[np.object_]

_N_SHOWN = 3


def label_text(value: object) -> str:
    """Returns a label as text, the same for a number whatever type a reader gave it."""
    if isinstance(value, bool | np.bool_):
        return "true" if value else "false"
    if isinstance(value, float | np.floating) and float(value).is_integer():
        return str(int(value))
    return str(value)


def label_texts(task: str, column: pd.Series) -> Texts:
    """Returns the labels of a column as (N,) texts, None where missing.

    Raises:
        DataError: A label is infinite, or a list or mapping.
    """
    missing = column.isna().to_numpy(dtype=bool)
    texts: Texts = np.full(len(column), None, dtype=object)
    present = column[~missing]
    if present.dtype == object:  # may mix 1 and True, which one table of distinct values merges
        texts[~missing] = [_text_of(task, column.name, label) for label in present]
    else:
        codes, distinct = pd.factorize(present)
        words = [_text_of(task, column.name, label) for label in distinct]
        texts[~missing] = np.array(words, dtype=object)[codes]
    return texts


def _text_of(task: str, column: object, label: object) -> str:
    if isinstance(label, float | np.floating) and not math.isfinite(label):
        raise DataError(
            f"Column `{column}` of task `{task}` must not hold an infinite label. Found {label}. "
            "Leave the cell empty where the label is missing."
        )
    if isinstance(label, list | tuple | dict | set | np.ndarray):
        raise DataError(
            f"Column `{column}` of task `{task}` must hold one value a cell. "
            f"Found {label!r}. Write several labels as one text with a separator."
        )
    return label_text(label)


def sort_labels(texts: Iterable[str]) -> tuple[str, ...]:
    """Sorts labels, numerically where all are finite numbers."""
    labels = sorted(texts)
    try:
        numbers = [float(label) for label in labels]
    except ValueError:
        return tuple(labels)
    if not all(math.isfinite(number) for number in numbers):
        return tuple(labels)
    return tuple(label for _, label in sorted(zip(numbers, labels, strict=True)))


def count_labels(texts: Texts) -> dict[str, int]:
    """Counts the rows of each label, in sorted order; missing labels are passed over."""
    labels, counts = np.unique(texts[texts != None].astype(str), return_counts=True)  # noqa: E711
    rows = {str(label): int(count) for label, count in zip(labels, counts, strict=True)}
    return {label: rows[label] for label in sort_labels(rows)}


def codes_of(task: str, column: str, texts: Texts, classes: Sequence[str]) -> NDArray[np.float32]:
    """Returns the (N,) position of each label among `classes`, NaN where missing.

    Raises:
        DataError: A label is not among the classes, which are those of the train rows.
    """
    present = np.array([text is not None for text in texts], dtype=bool)
    found = pd.Index(list(classes), dtype=object).get_indexer(
        pd.Index(texts[present], dtype=object)
    )
    unseen = texts[present][found < 0]
    if len(unseen):
        raise unseen_labels(task, column, unseen)
    codes = np.full(len(texts), np.nan, dtype=np.float32)
    codes[present] = found
    return codes


def unseen_labels(task: str, column: str, unseen: Texts) -> DataError:
    """Returns the error of labels that no train row has."""
    counts = count_labels(unseen)
    shown = ", ".join(
        f"`{label}` in {n} row{'s' if n > 1 else ''}"
        for label, n in sorted(counts.items(), key=lambda item: -item[1])[:_N_SHOWN]
    )
    more = f" and {len(counts) - _N_SHOWN} more" if len(counts) > _N_SHOWN else ""
    return DataError(
        f"Column `{column}` of task `{task}` must hold only labels that some train row has. "
        f"Found {shown}{more}. Stratify the split by the task, merge rare labels, empty them, or "
        "leave them out by `min_rows` where the kind has it."
    )


def one_column(name: str, spec: "TaskSpec") -> str:
    """Returns the target column of a kind that takes exactly one.

    Raises:
        DataError: The section lists several.
    """
    columns = target_columns(spec)
    if len(columns) != 1:
        raise DataError(
            f"Task `{name}`: `target` must be one column for the kind `{spec.kind}`. "
            f"Found {', '.join(columns)}. Several 0/1 columns make a `multilabel` task."
        )
    return columns[0]


def target_columns(spec: "TaskSpec") -> list[str]:
    """Returns the target columns of a task's section."""
    return [spec.target] if isinstance(spec.target, str) else list(spec.target)


def no_labels(task: str, columns: Sequence[str], n_rows: int) -> DataError:
    """Returns the error of a task without one labelled train row."""
    return DataError(
        f"Task `{task}` must have a labelled train row. Found none in {n_rows} train rows of "
        f"{', '.join(f'`{column}`' for column in columns)}. Check the split, or drop the task."
    )


def class_weights(
    task: str,
    given: Literal["balanced"] | Mapping[Any, float] | None,
    counts: Mapping[str, int],
) -> dict[str, float] | None:
    """Returns the weight of each label, or None where all count alike.

    `balanced` is n_rows / (n_classes * n_rows_of_class), as in scikit-learn; a label that a
    mapping does not name has weight 1.

    Raises:
        DataError: The mapping names a label that no train row has.
    """
    if given is None:
        return None
    if given == "balanced":
        n_rows = sum(counts.values())
        return {label: n_rows / (len(counts) * n) for label, n in counts.items()}
    named = {label_text(label): float(weight) for label, weight in given.items()}
    for label in named:
        if label not in counts:
            raise DataError(
                f"`class_weights` of task `{task}` must name labels that some train row has. "
                f"Found `{label}`. {near_miss(label, tuple(counts))}"
            )
    return {label: named.get(label, 1.0) for label in counts}
