"""What `mtl check` says of a study's data, from its head or from all of it; writes nothing."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.data.columns import input_columns, listed_types, type_columns
from pipeline.data.encoder_path import check_encoder, locate_encoder
from pipeline.data.encoding import parse_numbers, read_numbers
from pipeline.data.prepared import PARTS
from pipeline.data.references import reference_faults
from pipeline.data.sources import read_source
from pipeline.data.values import as_text
from pipeline.errors import DataError, Fault, StudyError
from pipeline.study.spec import StudySpec

Tables = Mapping[str, pd.DataFrame]


def check_data(
    spec: StudySpec,
    folder: Path,
    data_dir: Path | None = None,
    rows: int | None = 1000,
    tables: Tables | None = None,
) -> tuple[list[Fault], list[str]]:
    """Looks for faults in the data of a study.

    Args:
        spec: The study.
        folder: Folder of the study file.
        data_dir: Folder given by `--data` or `MTL_DATA`.
        rows: Rows of the head to look at, in which only those faults are told that no other row
            can mend; None reads all rows and prepares them in memory.
        tables: Tables passed from Python in place of files, by source.

    Returns:
        Faults, with the key of the study file; and sentences about what was found.
    """
    frames, faults = _read(spec, folder, data_dir, rows, tables or {})
    more, encoder_notes = check_encoder(spec, folder, data_dir)
    faults += more
    columns = {name: [str(column) for column in frame] for name, frame in frames.items()}
    faults += reference_faults(spec, columns)
    if faults:
        return faults, _sizes(frames, rows)
    sizes = _sizes(frames, rows) + encoder_notes
    if rows is None:
        more, notes = _check_whole(locate_encoder(spec, folder, data_dir), frames)
        return more, sizes + notes
    return list(_head_faults(spec, frames)), sizes + _inputs(spec, frames)


def _read(
    spec: StudySpec, folder: Path, data_dir: Path | None, rows: int | None, tables: Tables
) -> tuple[dict[str, pd.DataFrame], list[Fault]]:
    frames, faults = {}, []
    for name, source in spec.sources.items():
        # A bundled table is known to be sound: its columns are enough, and cost no import.
        n_rows = 0 if source.builtin is not None and rows is not None else rows
        try:
            frames[name] = read_source(name, source, folder, data_dir, tables.get(name), n_rows)
        except DataError as error:
            faults.append(_as_fault(f"sources.{name}", error))
    return frames, faults


def _as_fault(key: str, error: DataError) -> Fault:
    rule = str(error).removesuffix(".")
    return Fault(key, f"cannot be used: {rule}")


def _sizes(frames: Tables, rows: int | None) -> list[str]:
    read = "rows" if rows is None else "rows of the head"
    return [
        f"Source `{name}`: {len(frame.columns)} columns, {len(frame):,} {read}."
        for name, frame in frames.items()
        if len(frame)
    ]


def _check_whole(spec: StudySpec, frames: Tables) -> tuple[list[Fault], list[str]]:
    from pipeline.data.assembling import build_prepared  # the head needs none of it

    try:
        prepared = build_prepared(spec, frames, {})
    except StudyError as error:
        return list(error.faults), []
    except DataError as error:
        return [_as_fault("sources", error)], []
    doubled = [f"{n:,} in {pair}" for pair, n in prepared.report.duplicates.items() if n]
    notes = [f"Split: {prepared.sizes()}."]
    if doubled:
        notes.append(f"Rows whose inputs also stand in an earlier part: {', '.join(doubled)}.")
    return [], notes + list(prepared.report.warnings)


def _inputs(spec: StudySpec, frames: Tables) -> list[str]:
    read = {name: frame for name, frame in frames.items() if len(frame)}
    notes = []
    for name, frame in read.items():
        inputs = [column for column in input_columns(spec, frames) if column in frame]
        types, _ = type_columns(frame, inputs, listed_types(spec))
        counts = pd.Series(list(types.values()), dtype="str").value_counts()
        n_texts = len(spec.sources[name].text_columns)
        found = {**counts, **({"text": n_texts} if n_texts else {})}
        shown = ", ".join(f"{n} {kind}" for kind, n in found.items())
        notes.append(f"Inputs of `{name}`, as far as its head shows: {shown or 'none'}.")
    return notes


def _head_faults(spec: StudySpec, frames: Tables) -> Iterator[Fault]:
    for name, source in spec.sources.items():
        frame = frames[name]
        for column in source.numeric:
            yield from _number_faults(f"sources.{name}.numeric", frame[column])
        for column in source.boolean:
            yield from _number_faults(f"sources.{name}.boolean", frame[column], boolean=True)
        split = spec.split_of(name)
        if split.column is not None:
            key = "split.column" if source.split is None else f"sources.{name}.split.column"
            yield from _part_names(key, split.column, frame)
    for task_name, task in spec.tasks.items():
        if isinstance(task.target, str):
            values = frames[spec.source_of(task_name)][task.target]
            yield from _target_faults(f"tasks.{task_name}.target", task.kind, values)


def _number_faults(key: str, values: "pd.Series[Any]", boolean: bool = False) -> Iterator[Fault]:
    try:
        read_numbers(values, boolean)
    except DataError as error:
        yield _as_fault(key, error)


def _part_names(key: str, column: str, frame: pd.DataFrame) -> Iterator[Fault]:
    odd = [value for value in pd.unique(as_text(frame[column])) if value not in PARTS]
    if odd:
        found = "an empty cell" if odd[0] is None else repr(odd[0])
        yield Fault(key, "must hold train, valid or test in every row", found)


def _target_faults(key: str, kind: str, values: "pd.Series[Any]") -> Iterator[Fault]:
    if kind == "regression":
        bad = parse_numbers(values)[1]
        if bad.any():
            rule = f"must hold finite numbers in `{values.name}`"
            hint = "Empty the cell where the label is missing, or give another kind."
            yield Fault(key, rule, repr(values[bad].iloc[0]), hint)
    if kind == "binary":
        labels = sorted(set(as_text(values)) - {None})
        if len(labels) > 2:
            shown = ", ".join(str(label) for label in labels[:5])
            hint = "Give `kind: multiclass`, or `regression` for numbers."
            yield Fault(key, f"must hold two labels in `{values.name}`", shown, hint)
