"""Tasks: which rows each one has, its labels fitted on train and encoded everywhere."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.data.prepared import PARTS
from pipeline.data.references import target_columns
from pipeline.data.values import as_text
from pipeline.errors import DataError
from pipeline.study.catalogue import load
from pipeline.study.spec import StudySpec
from pipeline.tasks.base import TaskInfo, labelled
from pipeline.tasks.labels import sort_labels
from pipeline.tasks.registry import kind_of

_MOST_SHOWN = 5  # rare labels named in a sentence


@dataclass(frozen=True)
class TaskRows:
    """A task and its rows.

    Attributes:
        name: Name of the task, `NAME:VALUE` for one made by `per`.
        declared: Name in the study file.
        source: Its source.
        rows: (rows of the source,) whether a row belongs to the task.
    """

    name: str
    declared: str
    source: str
    rows: NDArray[np.bool_]


def expand_tasks(
    spec: StudySpec,
    frames: Mapping[str, pd.DataFrame],
    parts: Mapping[str, NDArray[np.str_]],
) -> list[TaskRows]:
    """Makes one task of each, and of one with `per` one task per value in the train rows.

    Args:
        spec: The study.
        frames: All rows of each source.
        parts: Part of each row of each source.

    Raises:
        DataError: Two values of a `per` column give one name, or it has no values.
    """
    tasks = []
    for name, task in spec.tasks.items():
        source = spec.source_of(name)
        frame = frames[source]
        if task.per is None:
            tasks.append(TaskRows(name, name, source, np.ones(len(frame), dtype=np.bool_)))
        else:
            values = as_text(frame[task.per])
            tasks += _per_value(name, source, task.per, values, parts[source] == "train")
    return tasks


def _per_value(
    name: str, source: str, per: str, values: NDArray[np.object_], train: NDArray[np.bool_]
) -> list[TaskRows]:
    found = sort_labels(str(value) for value in set(values[train]) - {None})
    if not found:
        raise DataError(f"Task `{name}`: the column `{per}` has no value in any train row.")
    named: dict[str, str] = {}
    for value in found:
        task = f"{name}:{re.sub(r'[^A-Za-z0-9_.-]', '_', value)}"
        if task in named:
            raise DataError(
                f"Task `{name}`: values of `{per}` must differ in letters, digits, `_`, `-` or "
                f"`.`. Found {named[task]!r} and {value!r}. Rename one of them."
            )
        named[task] = value
    return [TaskRows(task, name, source, values == value) for task, value in named.items()]


def rare_labels(labels: pd.DataFrame, train: NDArray[np.bool_], least: int) -> dict[str, int]:
    """Returns the labels that fewer than `least` train rows have, each with all its rows.

    Args:
        labels: The one column of labels.
        train: (N,) whether a row is of train.
        least: Fewest train rows.
    """
    texts = pd.Series(as_text(labels.iloc[:, 0]))
    in_train, everywhere = texts[train].value_counts(), texts.value_counts()
    return {str(label): int(n) for label, n in everywhere.items()
            if in_train.get(label, 0) < least}  # fmt: skip


def _rare_note(task: str, least: int, rare: Mapping[str, int]) -> str:
    shown = ", ".join(f"`{label}` ({n})" for label, n in list(rare.items())[:_MOST_SHOWN])
    more = f" and {len(rare) - _MOST_SHOWN} more" if len(rare) > _MOST_SHOWN else ""
    have = "no train row has" if least == 1 else f"fewer than {least} train rows have"
    n_rows = sum(rare.values())
    rows = "1 row has" if n_rows == 1 else f"{n_rows:,} rows have"
    return f"Task `{task}`: {rows} no label, since {have} theirs: {shown}{more}."


def fit_tasks(
    spec: StudySpec,
    tasks: Sequence[TaskRows],
    frames: Mapping[str, pd.DataFrame],
    parts: Mapping[str, NDArray[np.str_]],
) -> tuple[tuple[TaskInfo, ...], dict[str, NDArray[np.float32]], list[str]]:
    """Fits each task's labels on its train rows and encodes all of them.

    Returns:
        The tasks; task name to targets of all sources' rows, one source after the other, (N,) or
        (N, L), NaN where the task has no label; and a sentence for each task that leaves rare
        labels out.

    Raises:
        DataError: Labels break a rule of their kind, or a part has none.
    """
    whole = np.concatenate([parts[source] for source in frames])
    infos = []
    targets = {}
    notes: list[str] = []
    for task in tasks:
        declared = spec.tasks[task.declared]
        labels = frames[task.source].loc[task.rows, target_columns(spec, task.declared)]
        train = parts[task.source][task.rows] == "train"
        if declared.min_rows is not None:
            rare = rare_labels(labels, train, declared.min_rows)
            if rare:
                notes.append(_rare_note(task.name, declared.min_rows, rare))
                has_rare = np.isin(as_text(labels.iloc[:, 0]).astype(str), list(rare))
                labels = labels.mask(has_rare[:, None])
        info: TaskInfo = load("kind", declared.kind).fit(
            task.name, task.declared, declared, labels[train]
        )
        own = kind_of(info).encode(labels)
        target = np.full((len(whole), *own.shape[1:]), np.nan, dtype=np.float32)
        target[_placed(task, frames)] = own
        n_labelled = _count(task.name, target, whole)
        infos.append(replace(info, n_labelled=n_labelled, inputs=tuple(declared.inputs or ())))
        targets[task.name] = target
    return tuple(infos), targets, notes


def _placed(task: TaskRows, frames: Mapping[str, pd.DataFrame]) -> NDArray[np.bool_]:
    """Returns the task's rows among those of all sources."""
    return np.concatenate(
        [
            task.rows if source == task.source else np.zeros(len(frame), dtype=np.bool_)
            for source, frame in frames.items()
        ]
    )


def _count(task: str, target: NDArray[np.float32], parts: NDArray[np.str_]) -> dict[str, int]:
    present = labelled(target)
    counts = {part: int((present & (parts == part)).sum()) for part in PARTS}
    for part, n_labelled in counts.items():
        if not n_labelled:
            raise DataError(
                f"Task `{task}` must have a labelled row in every part of the split. "
                f"Found none in {part}. Give more labels, or a split with `stratify: {task}`."
            )
    return counts
