"""A first study file for a table: the text that `mtl init` writes."""

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline.data.columns import FREE_TEXT, type_columns
from pipeline.data.draft_texts import (
    document_of,
    is_short_text,
    looks_like_summary,
    named_row,
    summary_settings,
    text_settings,
)
from pipeline.data.encoding import parse_numbers
from pipeline.data.pieces import SUMMARIES
from pipeline.data.prepared import PARTS
from pipeline.data.screening import counting_columns
from pipeline.data.sources import read_source
from pipeline.data.values import as_text
from pipeline.errors import Fault, StudyError, near_miss
from pipeline.study.catalogue import names
from pipeline.study.source_spec import SourceSpec

_MOST_CLASSES = 20  # integers with more values are numbers rather than labels
_RARE = 10  # rows of a label, from which on a tenth of them may be all that is not in train
_SEPARATORS = (";", "|", ",", " ")

_SETTINGS = """\
# A range may stand wherever a value may: {low, high, log, step} or {choices: [...]}.
model: {sharing: shared_bottom, layers: [64, 64], activation: relu, dropout: {low: 0.0, high: 0.5}}
weights: {strategy: fixed, low: 0.1, high: 10}   # each task's weight to the first one's
train:
  optimizer: adamw
  lr: {low: 1.0e-4, high: 1.0e-2, log: true}
  weight_decay: {low: 1.0e-6, high: 1.0e-1, log: true}
  epochs: 30
  batch_size: 256
  patience: 5                # epochs without a better valid score before a trial stops
search: {trials: 64, keep: 3}"""


@dataclass(frozen=True)
class _Target:
    column: str
    kind: str
    separator: str | None = None
    text: str | None = None  # of a summary: the column of its documents


def draft_study(
    table: Path, targets: Sequence[str], name: str | None = None, folder: Path | None = None
) -> str:
    """Looks at a table and writes a commented study file that passes `mtl check`.

    Args:
        table: A CSV, TSV, JSON Lines or Parquet file.
        targets: `COLUMN` or `COLUMN:KIND`, one a task.
        name: Name of the study; the file's where it is not given.
        folder: Where the study file will stand, which the table's path is written from; the
            working directory where it is not given.

    Returns:
        The text of the study file.

    Raises:
        DataError: The table cannot be read.
        StudyError: A target is no column, or its kind is unknown or cannot be guessed.
    """
    frame = read_source("table", SourceSpec(path=str(table.resolve())), Path(), None)
    found = _targets(frame, targets)
    split = _ready_made(frame, {target.column for target in found})
    tasks = _task_names(found)
    study = _identifier(name or table.name.split(".")[0], "study", "A-Za-z0-9_-")
    path = os.path.relpath(table.resolve(), (folder or Path()).resolve())
    id_column = named_row(frame, [target.column for target in found])
    named = [*(target.column for target in found),
             *(column for column in (split, id_column) if column)]  # fmt: skip
    inputs, has_texts = _input_lines(frame, named, found)
    lines = [
        f"name: {json.dumps(study)}",
        "seed: 0",
        "sources:",
        "  table:",
        f"    path: {_quoted(path)}",
        '    about: ""                # where the table comes from: told when it is missing',
        *([f"    id: {_quoted(id_column)}"] if id_column else []),
        *inputs,
        "tasks:",
        *(_task_line(task, target, frame, split) for task, target in tasks.items()),
        _split_line(frame, split, tasks),
        text_settings(len(frame)) if has_texts else _SETTINGS,
        f"promote: {{model: {json.dumps(study)}, alias: champion}}",
    ]
    return "\n".join(lines) + "\n"


def _targets(frame: pd.DataFrame, texts: Sequence[str]) -> list[_Target]:
    known = [str(column) for column in frame]
    if not texts:
        hint = f"Columns: {', '.join(known)}."
        raise StudyError([Fault("--target", "must name a column", hint=hint)], "The command")
    found: list[_Target] = []
    faults = []
    for text in texts:
        target = _target(frame, text)
        if isinstance(target, Fault):
            faults.append(target)
        elif target.column in {other.column for other in found}:
            faults.append(Fault("--target", "must not repeat a column", target.column))
        else:
            found.append(target)
    for index, target in enumerate(found):
        if target.kind in SUMMARIES:
            read = document_of(frame, target.column, [other.column for other in found])
            if read is None:
                rule = "needs a column of longer texts that are no target, to be made from"
                faults.append(Fault("--target", rule, target.column))
            found[index] = replace(target, text=read)
    if faults:
        raise StudyError(faults, "The command")
    return found


def _target(frame: pd.DataFrame, text: str) -> _Target | Fault:
    known = [str(column) for column in frame]
    column, kind = text, ""
    if column not in known and ":" in text:
        column, _, kind = text.rpartition(":")
    if column not in known:
        return Fault("--target", "is no column of the table", column, near_miss(column, known))
    if kind and kind not in names("kind"):
        return Fault("--target", "names an unknown kind", kind, near_miss(kind, names("kind")))
    kind = kind or _guess_kind(frame[column])
    if not kind and looks_like_summary(frame, column):
        kind = "summarisation"
    if not kind:
        rule = "must name a column of at least two labels, or of numbers"
        return Fault("--target", rule, column, "Give the kind: `--target COLUMN:KIND`.")
    if kind != "multilabel":
        return _Target(column, kind)
    cells = "".join(str(value) for value in set(as_text(frame[column])) - {None})
    separator = next((mark for mark in _SEPARATORS if mark in cells), None)
    if separator is None:
        return Fault("--target", "must hold several labels a cell for `multilabel`", column,
                     "List 0/1 columns under `target` in the study file.")  # fmt: skip
    return _Target(column, kind, separator)


def _guess_kind(values: "pd.Series[Any]") -> str:
    text = pd.Series(as_text(values)).dropna()
    n_labels = text.nunique()
    if n_labels < 2:
        return ""
    if n_labels == 2:
        return "binary"
    numbers, bad = parse_numbers(values)
    if bad.any():
        return "multiclass" if n_labels <= len(text) / 2 else ""
    whole = bool((pd.Series(numbers).dropna() % 1 == 0).all())
    return "multiclass" if whole and n_labels <= min(_MOST_CLASSES, len(text) / 5) else "regression"


def _ready_made(frame: pd.DataFrame, targets: set[str]) -> str | None:
    """Returns a column named split that holds the parts, train and test among them."""
    for column in frame.columns:
        if str(column).lower() == "split" and column not in targets:
            found = set(as_text(frame[column]))
            if {"train", "test"} <= found <= set(PARTS):
                return str(column)
    return None


def _input_lines(
    frame: pd.DataFrame, others: Sequence[str], targets: Sequence[_Target]
) -> tuple[list[str], bool]:
    """Returns the lines about inputs, and whether texts are among them.

    Args:
        frame: The table.
        others: Columns that are no inputs: targets, split and id.
        targets: The tasks; the documents of summaries are texts.
    """
    inputs = [str(column) for column in frame if column not in others]
    types, left_out = type_columns(frame, inputs, {})
    short = [name for name in inputs if is_short_text(frame, name)]
    passed = {*short, *counting_columns(frame, list(types))}
    beside = {name: found for name, found in types.items() if name not in passed}
    read = [target.text for target in targets if target.text is not None]
    if read:  # a summary's document is read by all tasks, and nothing beside it
        return _text_lines(list(dict.fromkeys(read)), short, beside), True
    texts = [column for column, reason in left_out.items() if reason == FREE_TEXT]
    if texts:
        return _text_lines(texts, short, beside), True
    return _drop_lines(frame, types, left_out), False


def _drop_lines(
    frame: pd.DataFrame, types: Mapping[str, str], left_out: Mapping[str, str]
) -> list[str]:
    reasons = {**dict.fromkeys(counting_columns(frame, list(types)), "it counts the rows."),
               **left_out}  # fmt: skip
    if not reasons:
        return ["    drop: []                 # columns that are no inputs"]
    lines = ["    drop:"]
    for column, reason in reasons.items():
        # A value of the table may stand in the reason: keep the comment on its line.
        comment = " ".join(reason.split(". ")[0].rstrip(".").split())
        lines.append(f"      - {_quoted(column)}   # {comment}")
    return lines


def _text_lines(texts: Sequence[str], short: Sequence[str], types: Mapping[str, str]) -> list[str]:
    """Returns the text columns, and as a comment the columns that could stand beside them."""
    named = ", ".join(map(_quoted, texts))
    lines = [
        f"    text: [{named}]   # read one after the other; keep what is known when predicting"
    ]
    if more := [name for name in short if name not in texts]:
        both = ", ".join(map(_quoted, [*more, *texts]))
        lines.append(f"    # text: [{both}]   # read more; a short text says much")
    for kind in ("numeric", "categorical", "boolean"):
        beside = ", ".join(_quoted(name) for name, found in types.items() if found == kind)
        lines += [f"    # {kind}: [{beside}]   # beside a text only what is listed is read"] * bool(
            beside
        )
    return lines


def _task_names(targets: Sequence[_Target]) -> dict[str, _Target]:
    named: dict[str, _Target] = {}
    for number, target in enumerate(targets, start=1):
        base = _identifier(target.column, "task", "A-Za-z0-9_")
        if base == "task" and target.column != base:  # no letter that a name may have
            base = f"task{number}"
        taken = sum(1 for other in named if other == base or other.startswith(f"{base}_again"))
        named[base if not taken else f"{base}_again{taken}"] = target
    return named


def _task_line(task: str, target: _Target, frame: pd.DataFrame, split: str | None) -> str:
    settings = [f"kind: {target.kind}", f"target: {_quoted(target.column)}"]
    if target.separator is not None:
        settings.append(f"separator: {_quoted(target.separator)}")
    if target.text is not None:
        more = summary_settings(frame, target.column, target.text, target.kind)
        settings += [f"{key}: {_quoted(value) if key == 'text' else value}"
                     for key, value in more.items()]  # fmt: skip
    if target.kind == "multiclass" and _has_rare_labels(frame, target.column, split):
        settings.append("min_rows: 1")  # else a label that no train row has is refused
    n_labelled = int((~pd.isna(as_text(frame[target.column]))).sum())
    comment = f"{n_labelled:,} of {len(frame):,} rows labelled"
    if "unit: clause" in settings:
        comment += "; `mode: abstractive` in place of unit and budget writes it"
    return f"  {_quoted(task)}: {{{', '.join(settings)}}}   # {comment}"


def _has_rare_labels(frame: pd.DataFrame, column: str, split: str | None) -> bool:
    """Tells whether some label may stand in no train row."""
    labels = pd.Series(as_text(frame[column]))
    if split is None:
        return bool(labels.value_counts().min() < _RARE)
    inside = np.asarray(as_text(frame[split]) == "train")
    return bool(labels[inside].value_counts().reindex(labels.dropna().unique()).fillna(0).min() < 2)


def _split_line(frame: pd.DataFrame, split: str | None, tasks: dict[str, _Target]) -> str:
    labels = {name: frame[target.column].nunique() for name, target in tasks.items()
              if target.kind in ("binary", "multiclass")}  # fmt: skip
    # The most labels: each of them must stand in train.
    strata = f", stratify: {_quoted(max(labels, key=lambda name: labels[name]))}" if labels else ""
    if split is not None:
        return f"split: {{column: {_quoted(split)}, valid: 0.1{strata}}}"
    return (
        "# Rows of one person or place belong together: then write `group: COLUMN` instead.\n"
        f"split: {{train: 0.8, valid: 0.1, test: 0.1{strata}}}"
    )


def _identifier(text: str, fallback: str, allowed: str) -> str:
    cleaned = re.sub(f"[^{allowed}]+", "_", text).strip("_-")
    if not re.match("[A-Za-z]", cleaned):
        cleaned = f"{fallback}_{cleaned}".rstrip("_")
    return cleaned[:60]


def _quoted(text: str) -> str:
    plain = re.fullmatch(r"[A-Za-z][A-Za-z0-9_./-]*", text)
    words = {"true", "false", "yes", "no", "on", "off", "null", "y", "n"}
    return text if plain and text.lower() not in words else json.dumps(text, ensure_ascii=False)
