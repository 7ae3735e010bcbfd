"""The rows of the sources: what names them, their part of the split, their groups."""

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.data.hashing import (
    Hashes,
    digest,
    id_hashes,
    mix,
    row_hashes,
    text_hash,
    value_hashes,
)
from pipeline.data.references import strata_columns
from pipeline.data.splitting import group_hashes, split_rows, without_group
from pipeline.data.values import as_text
from pipeline.errors import DataError
from pipeline.study.spec import StudySpec


@dataclass(frozen=True)
class SourceRows:
    """All rows of one source, after the split.

    Attributes:
        frame: (rows,) the raw columns.
        parts: (rows,) part of each row.
        ids: (rows,) id of each row.
        groups: (rows,) hash of its group, or None.
        marks: (rows, 2) what a row is known by in other studies: see `Part.marks`.
    """

    frame: pd.DataFrame
    parts: NDArray[np.str_]
    ids: NDArray[np.bytes_]
    groups: Hashes | None
    marks: Hashes

    def keep(self, kept: NDArray[np.bool_]) -> "SourceRows":
        """Returns the rows that are marked."""
        groups = None if self.groups is None else self.groups[kept]
        frame = self.frame[kept].reset_index(drop=True)
        return SourceRows(frame, self.parts[kept], self.ids[kept], groups, self.marks[kept])


def split_source(spec: StudySpec, name: str, frame: pd.DataFrame) -> SourceRows:
    """Names and splits the rows of one source.

    Raises:
        DataError: The id column does not name each row, or the split breaks a rule.
    """
    where = f"Source `{name}`"
    split = spec.split_of(name)
    id_column = spec.sources[name].id
    if split.group is not None and split.ungrouped == "drop":
        frame = frame[~without_group(frame[split.group])].reset_index(drop=True)
    keys = _content(spec, frame) if id_column is None else value_hashes(frame[id_column])
    ids = _hash_ids(keys) if id_column is None else _own_ids(frame[id_column], where)
    strata_names = strata_columns(spec, name)
    strata = row_hashes(frame[strata_names]) if strata_names else None
    parts = split_rows(frame, split, spec.seed, keys, strata, where)
    groups = None if split.group is None else group_hashes(frame, split, keys, where)
    return SourceRows(frame, parts, ids, groups, _marks(spec, name, frame, keys, ids))


def _marks(
    spec: StudySpec, name: str, frame: pd.DataFrame, keys: Hashes, ids: NDArray[np.bytes_]
) -> Hashes:
    """Hashes the content of each row, whatever part a column puts it in, and its own id."""
    part, is_named = spec.split_of(name).column, spec.sources[name].id is not None
    if part is None and not is_named:
        content = keys
    else:
        content = _content(spec, frame.drop(columns=[] if part is None else [part]))
    if not is_named:
        return np.column_stack([content, content])
    salt = np.uint64(text_hash(name) if len(spec.sources) > 1 else 0)  # ids of two may be equal
    return np.column_stack([content, mix(id_hashes(ids) ^ salt)])


def ungrouped_notes(spec: StudySpec, frames: Mapping[str, pd.DataFrame]) -> list[str]:
    """Returns a sentence for each source with rows that have no group."""
    done = {"own": "are a group of their own each", "drop": "are left out"}
    notes = []
    for name, frame in frames.items():
        split = spec.split_of(name)
        n_rows = 0 if split.group is None else int(without_group(frame[split.group]).sum())
        if n_rows and split.ungrouped in done:
            notes.append(
                f"Source `{name}`: {n_rows:,} rows without a value in the group column "
                f"`{split.group}` {done[split.ungrouped]}."
            )
    return notes


def _content(spec: StudySpec, frame: pd.DataFrame) -> Hashes:
    """Hashes what the source has in each row, without the columns that were made of it."""
    made = [
        column
        for task in spec.tasks.values()
        if task.writes and isinstance(task.target, list)
        for column in task.target
    ]
    return row_hashes(frame.drop(columns=made, errors="ignore"))


def _hash_ids(keys: Hashes) -> NDArray[np.bytes_]:
    return np.array([f"{key:016x}" for key in keys.tolist()], dtype="S16")


def _own_ids(values: "pd.Series[Any]", where: str) -> NDArray[np.bytes_]:
    texts = as_text(values)
    missing = pd.isna(texts)
    doubled = pd.Series(texts).duplicated().to_numpy() & ~missing
    for wrong, found in ((missing, "none"), (doubled, "it twice")):
        if wrong.any():
            row = int(np.argmax(wrong))
            raise DataError(
                f"{where}: the id column `{values.name}` must name each row. "
                f"Found {found} in row {row + 1}: {texts[row]!r} ({int(wrong.sum())} such rows). "
                "Leave out `id` to name rows by their content."
            )
    return np.array([_plain_id(text) for text in texts], dtype=np.bytes_)


def _plain_id(text: str) -> str:
    """Returns a short ASCII name for an id: itself, or its digest."""
    if text.isascii() and len(text) <= 64:
        return text
    return digest([text.encode(errors="surrogatepass")])


def join_inputs(
    spec: StudySpec, rows: Mapping[str, SourceRows], names: Sequence[str]
) -> pd.DataFrame:
    """Puts the sources' rows below each other; a column that a source lacks is missing there.

    Args:
        spec: The study.
        rows: The rows of each source.
        names: Input columns that are no texts; the text columns come behind them.
    """
    texts = dict.fromkeys(
        column for source in spec.sources.values() for column in source.text_columns
    )
    columns = [*names, *texts]
    if len(rows) == 1:
        return next(iter(rows.values())).frame[columns]
    whole = []
    for source, found in rows.items():
        foreign = texts.keys() - set(spec.sources[source].text_columns)
        own = found.frame.drop(columns=[c for c in foreign if c in found.frame])
        # As objects: joining typed columns would make 3 of one source 3.0 beside a missing value.
        whole.append(own.reindex(columns=columns).astype(object))
    return pd.concat(whole, ignore_index=True).infer_objects()


def all_parts(rows: Mapping[str, SourceRows]) -> NDArray[np.str_]:
    """Returns the part of each row of all sources."""
    return np.concatenate([found.parts for found in rows.values()])


def rows_of(rows: Mapping[str, SourceRows], sources: Container[str]) -> NDArray[np.bool_]:
    """Marks, among the rows of all sources, those of some."""
    marks = [np.full(len(found.parts), name in sources) for name, found in rows.items()]
    return np.concatenate(marks)


def source_numbers(rows: Mapping[str, SourceRows]) -> NDArray[np.int32] | None:
    """Numbers the source of each row of all sources; None where there is one."""
    if len(rows) == 1:
        return None
    lengths = [len(found.parts) for found in rows.values()]
    return np.repeat(np.arange(len(rows), dtype=np.int32), lengths)


def group_numbers(rows: Mapping[str, SourceRows]) -> NDArray[np.int64] | None:
    """Numbers the groups of all sources; a row of an ungrouped source is a group of its own."""
    if all(found.groups is None for found in rows.values()):
        return None
    numbers: list[NDArray[np.int64]] = []
    start = 0
    for found in rows.values():
        if found.groups is None:
            own = np.arange(len(found.parts), dtype=np.int64)
        else:
            own = pd.factorize(found.groups)[0].astype(np.int64)
        numbers.append(own + start)
        start += int(own.max(initial=-1)) + 1
    return np.concatenate(numbers)


def free_name(wanted: str, taken: Container[str]) -> str:
    """Returns a name, with as many `_` behind it as make it one that is not taken."""
    return next(name for n in count() if (name := wanted + "_" * n) not in taken)
