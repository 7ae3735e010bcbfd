"""Tables on the command line: read as a source is read, written as their name says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pandas as pd

from pipeline.data.sources import read_source
from pipeline.errors import InputError
from pipeline.study.spec import SourceSpec

Writer = Callable[[pd.DataFrame, Path], None]


def _write_csv(table: pd.DataFrame, path: Path) -> None:
    table.to_csv(path, index=False)


def _write_jsonl(table: pd.DataFrame, path: Path) -> None:
    table.to_json(path, orient="records", lines=True, force_ascii=False, double_precision=15)


def _write_parquet(table: pd.DataFrame, path: Path) -> None:
    table.to_parquet(path, index=False)


_WRITERS: Mapping[str, Writer] = {
    ".csv": _write_csv,
    ".jsonl": _write_jsonl,
    ".parquet": _write_parquet,
}


def read_table(path: Path) -> pd.DataFrame:
    """Reads CSV, TSV, JSON Lines or Parquet, plain or gzipped.

    Raises:
        DataError: The file is missing or cannot be read.
    """
    return read_source("table", SourceSpec(path=str(path.absolute())), Path(), None)


def writer_of(path: Path) -> Writer:
    """Returns how a file of this name is written.

    Raises:
        InputError: The name ends in none of the known ways, or its folder does not exist.
    """
    if path.suffix not in _WRITERS:
        known = ", ".join(_WRITERS)
        raise InputError(f"The output must end in one of {known}. Found {path.name}.")
    if not path.absolute().parent.is_dir():
        raise InputError(f"The folder of {path} does not exist. Make it first.")
    return _WRITERS[path.suffix]


def write_table(table: pd.DataFrame, path: Path) -> None:
    """Writes a table whole or not at all."""
    temporary = path.with_name(f".{path.name}.part{path.suffix}")
    try:
        writer_of(path)(table, temporary)
        temporary.replace(path)
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error}.") from error
    finally:
        temporary.unlink(missing_ok=True)
