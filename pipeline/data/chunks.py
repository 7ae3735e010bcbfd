"""A table read in chunks of rows, each with the values that it has in the table read whole.

A column has one type in a table read whole: with one `n/a` among a million codes, `007` is text
and not the number 7. Each file is therefore read twice: first to see all rows, then to give them.
"""

from __future__ import annotations

import gzip
import itertools
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.data.readers import (
    CSV_OPTIONS,
    UNREADABLE,
    csv_errors,
    doubled,
    find_bad_row,
    frame_of,
    json_records,
    kind_of_file,
    open_bytes,
    read_header,
    unreadable,
)

ROWS = 8192
"""Rows of a chunk: small beside what a process holds anyway, large beside the cost of a call."""

_MIXED = {"csv": "str", "tsv": "str", "jsonl": "object", "parquet": ""}
"""What a column is in which numbers and texts are mixed; Parquet has no such columns."""

Seen = Callable[[int], None]
"""Told how many rows were seen so far."""


@dataclass(frozen=True)
class ChunkedTable:
    """A table that was seen once, from end to end, and can be read.

    Attributes:
        path: The file.
        n_rows: Its rows.
        columns: Names of all its columns.
        kinds: Columns that must be read as another type than a chunk alone would give them.
        size: Rows of a chunk.
    """

    path: Path
    n_rows: int
    columns: tuple[str, ...]
    kinds: Mapping[str, str]
    size: int = ROWS

    def chunks(self) -> Iterator[pd.DataFrame]:
        """Yields the rows in order, numbered from 1 by an index that is called `row`.

        Of a table without rows it yields one chunk without rows.

        Raises:
            DataError: The file cannot be read any more.
        """
        start = 1
        frames = _frames(self.path, self.size, self.kinds)
        for frame in frames if self.n_rows else [pd.DataFrame()]:
            # An object of JSON Lines may lack what others have.
            whole = frame.reindex(columns=list(self.columns)).astype(dict(self.kinds))
            stop = start + len(frame)
            yield whole.set_axis(pd.RangeIndex(start, stop, name="row"))
            start = stop


def look_through(path: Path, size: int = ROWS, seen: Seen = lambda n_rows: None) -> ChunkedTable:
    """Reads a table once, in constant memory, to know its rows and the types of its columns.

    Args:
        path: CSV, TSV, JSON Lines or Parquet, plain or gzipped.
        size: Rows of a chunk.
        seen: Told how far it is.

    Raises:
        DataError: The file cannot be read as what its name says; the row is named.
    """
    form = kind_of_file(path)
    n_rows, may_have_short_row = 0, False
    kinds: dict[str, set[str]] = {}
    for frame in _frames(path, size, {}):
        for name in (*kinds, *(str(name) for name in frame.columns if name not in kinds)):
            # Objects of JSON Lines may lack a key, here or in all chunks before.
            found = kinds.setdefault(name, {"empty"} if n_rows else set())
            found.add(_kind(frame[name]) if name in frame else "empty")
        may_have_short_row |= bool(len(frame) and frame.iloc[:, -1].isna().any())
        n_rows += len(frame)
        seen(n_rows)
    if form in ("csv", "tsv") and may_have_short_row:  # pandas fills it with missing values
        find_bad_row(path, _csv_header(path)[1], None)
    whole = {name: _whole_kind(many, _MIXED[form]) for name, many in kinds.items()}
    known = {name: kind for name, kind in whole.items() if kind}
    return ChunkedTable(path, n_rows, tuple(kinds), known, size)


def _kind(values: pd.Series[Any]) -> str:
    if not isinstance(values.dtype, np.dtype):
        return "other"  # texts; and types of Parquet that all chunks have alike
    if values.isna().all():
        return "empty"
    if values.dtype == object and pd.api.types.infer_dtype(values, skipna=True) == "boolean":
        return "bool"
    return {"i": "int", "u": "int", "f": "float", "b": "bool"}.get(values.dtype.kind, "other")


def _whole_kind(kinds: set[str], mixed: str) -> str:
    """Returns what a column must be read as whose chunks are of these kinds; empty for any."""
    if kinds <= {"int", "float", "empty"}:
        return "float64" if "int" in kinds and len(kinds) > 1 else ""
    return mixed if len(kinds - {"empty"}) > 1 else ""


def _frames(path: Path, size: int, kinds: Mapping[str, str]) -> Iterator[pd.DataFrame]:
    try:
        match kind_of_file(path):
            case "jsonl":
                yield from _json_frames(path, size, kinds)
            case "parquet":
                yield from _parquet_frames(path, size)
            case _:
                yield from _csv_frames(path, size, kinds)
    except UNREADABLE as error:
        raise unreadable(path, error) from error


def _csv_header(path: Path) -> tuple[list[str], str]:
    return read_header(path, "\t" if kind_of_file(path) == "tsv" else None)


def _csv_frames(path: Path, size: int, kinds: Mapping[str, str]) -> Iterator[pd.DataFrame]:
    _, delimiter = _csv_header(path)
    with open_bytes(path) as stream:
        with csv_errors(path, delimiter):
            reader = pd.read_csv(
                stream, sep=delimiter, chunksize=size, dtype=dict(kinds), **CSV_OPTIONS
            )
        while True:
            with csv_errors(path, delimiter):  # which must not last while others work
                frame = next(reader, None)
            if frame is None:
                return
            yield frame


def _json_frames(path: Path, size: int, kinds: Mapping[str, str]) -> Iterator[pd.DataFrame]:
    records = json_records(path)
    mixed = [name for name, kind in kinds.items() if kind == "object"]
    while chunk := list(itertools.islice(records, size)):
        frame = pd.DataFrame.from_records(chunk)
        for name in mixed:  # without a text among them, a missing value would make floats of all
            values = [record.get(name, np.nan) for record in chunk]
            frame[name] = pd.Series(values, dtype=object)
        yield frame


def _parquet_frames(path: Path, size: int) -> Iterator[pd.DataFrame]:
    with _unpacked(path) as source, pq.ParquetFile(source) as file:
        names = file.schema_arrow.names
        if len(set(names)) < len(names):
            raise doubled(path, names)
        if not file.metadata.num_rows:
            yield frame_of(path, file.schema_arrow.empty_table())
        for batch in file.iter_batches(batch_size=size):
            yield frame_of(path, pa.Table.from_batches([batch], schema=file.schema_arrow))


@contextmanager
def _unpacked(path: Path) -> Iterator[Any]:
    """Gives a file that can be read from its end, as Parquet is; unpacked on disk."""
    if path.suffix.lower() != ".gz":
        yield path
        return
    with tempfile.TemporaryFile() as plain:
        with gzip.open(path, "rb") as packed:
            shutil.copyfileobj(packed, plain)
        plain.seek(0)
        yield plain
