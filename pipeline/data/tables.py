"""A table written in chunks of rows, in the form that its name says, whole or not at all."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.data.whole_file import whole_file
from pipeline.errors import InputError

Write = Callable[[pd.DataFrame], None]
"""Takes the next rows; all have the columns of the first ones."""


@contextmanager
def _csv(file: IO[bytes]) -> Iterator[Write]:
    is_first = True

    def write(rows: pd.DataFrame) -> None:
        nonlocal is_first
        file.write(rows.to_csv(index=False, header=is_first, lineterminator="\n").encode())
        is_first = False

    yield write


@contextmanager
def _jsonl(file: IO[bytes]) -> Iterator[Write]:
    def write(rows: pd.DataFrame) -> None:
        if len(rows):
            text = rows.to_json(orient="records", lines=True, force_ascii=False,
                                double_precision=15)  # fmt: skip
            file.write(text.encode())

    yield write


@contextmanager
def _parquet(file: IO[bytes]) -> Iterator[Write]:
    writer: Any = None

    def write(rows: pd.DataFrame) -> None:
        nonlocal writer
        if writer is None:
            writer = pq.ParquetWriter(file, _schema(rows))
        writer.write_table(pa.Table.from_pandas(rows, writer.schema, preserve_index=False))

    try:
        yield write
    finally:
        if writer is not None:
            writer.close()


def _schema(rows: pd.DataFrame) -> pa.Schema:
    """Returns the types of all rows: a column that has no value yet holds texts, as labels are."""
    found = pa.Schema.from_pandas(rows, preserve_index=False)
    fields = [
        field.with_type(pa.string()) if pa.types.is_null(field.type) else field for field in found
    ]
    return pa.schema(fields)


_FORMS: Mapping[str, Callable[[IO[bytes]], Any]] = {
    ".csv": _csv,
    ".jsonl": _jsonl,
    ".parquet": _parquet,
}


def check_output(path: Path) -> None:
    """Refuses a file that could not be written, before any work.

    Raises:
        InputError: The name ends in none of the known ways, or its folder does not exist.
    """
    if _form(path) not in _FORMS:
        known = ", ".join(_FORMS)
        raise InputError(
            f"The output must end in one of {known}, or one of them and .gz. Found {path.name}."
        )
    if not path.absolute().parent.is_dir():
        raise InputError(f"The folder of {path} does not exist. Make it first.")


@contextmanager
def open_output(path: Path) -> Iterator[Write]:
    """Writes a table whole or not at all: an error in the `with` block leaves what was there.

    Args:
        path: A name that `check_output` accepts.

    Raises:
        InputError: The file cannot be written.
    """
    check_output(path)
    try:
        with (
            whole_file(path) as file,
            _packed(path, file) as packed,
            _FORMS[_form(path)](packed) as write,
        ):
            yield write
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error}.") from error


def _form(path: Path) -> str:
    suffixes = [suffix.lower() for suffix in path.suffixes]
    return next((suffix for suffix in reversed(suffixes) if suffix != ".gz"), "")


@contextmanager
def _packed(path: Path, file: IO[bytes]) -> Iterator[IO[bytes]]:
    if path.suffix.lower() != ".gz":
        yield file
        return
    # Neither name nor time inside: equal tables give equal files.
    with gzip.GzipFile(filename="", mode="wb", compresslevel=6, fileobj=file, mtime=0) as packed:
        yield packed  # type: ignore[misc]
