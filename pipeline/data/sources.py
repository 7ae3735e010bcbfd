"""Reading a source: one table of rows, from files, from Python, or bundled."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from pandas.api.types import is_object_dtype

from pipeline.data.locating import LocatedFile, locate
from pipeline.data.readers import read_table, whole_characters
from pipeline.data.text_encoding import Progress
from pipeline.errors import DataError
from pipeline.study.catalogue import load
from pipeline.study.source_spec import SourceSpec


@dataclass(frozen=True)
class Source:
    """A source that was found and not yet read.

    Attributes:
        name: Its name in the study file.
        spec: Its section of the study file.
        files: Its files; none for a bundled table or one passed from Python.
        table: The table passed from Python.
    """

    name: str
    spec: SourceSpec
    files: tuple[LocatedFile, ...] = ()
    table: pd.DataFrame | None = None

    def read(self, n_rows: int | None = None, progress: Progress | None = None) -> pd.DataFrame:
        """Reads the rows.

        Args:
            n_rows: Rows of the head that are wanted; all by default.
            progress: Told how far a bundled table is.

        Raises:
            DataError: The source cannot be read, or has no rows.
        """
        if self.table is not None:
            _check_names(self.name, self.table)
            frame = self.table
        elif self.files:
            frame = _read_files(self.name, self.spec, self.files, n_rows)
        else:
            return pd.DataFrame(load("builtin", str(self.spec.builtin))(n_rows, progress))
        if frame.empty:
            where = ", ".join(file.label for file in self.files) or "the table"
            raise DataError(f"Source `{self.name}` has no rows ({where}).")
        head = frame.head(n_rows) if n_rows is not None else frame
        return head if self.table is None else _with_whole_characters(head)


def find_source(
    name: str,
    spec: SourceSpec,
    folder: Path,
    data_dir: Path | None = None,
    table: pd.DataFrame | None = None,
) -> Source:
    """Finds a source's files without reading them.

    Args:
        name: Its name in the study file.
        spec: Its section of the study file.
        folder: Folder of the study file.
        data_dir: Folder given by `--data` or `MTL_DATA`.
        table: A table passed from Python in place of files.

    Raises:
        DataError: A file is missing.
    """
    if table is not None or spec.builtin is not None:
        return Source(name, spec, table=table)
    return Source(name, spec, locate(name, spec, folder, data_dir))


def read_source(
    name: str,
    spec: SourceSpec,
    folder: Path,
    data_dir: Path | None,
    table: pd.DataFrame | None = None,
    n_rows: int | None = None,
) -> pd.DataFrame:
    """Finds and reads a source; see `find_source` and `Source.read`."""
    return find_source(name, spec, folder, data_dir, table).read(n_rows)


def _check_names(name: str, table: pd.DataFrame) -> None:
    odd = [column for column in table.columns if not isinstance(column, str)]
    if odd:
        raise DataError(
            f"Source `{name}`: column names must be text. Found {odd[0]!r}. "
            "Rename by `table.columns = table.columns.astype(str)`."
        )
    if not table.columns.is_unique:
        doubled = table.columns[table.columns.duplicated()][0]
        raise DataError(f"Source `{name}` has two columns named `{doubled}`. Rename one.")


def _with_whole_characters(table: pd.DataFrame) -> pd.DataFrame:
    texts = {str(name): table[name].map(whole_characters)
             for name in table if is_object_dtype(table[name].dtype)}  # fmt: skip
    return table.assign(**texts).reset_index(drop=True)


def _read_files(
    name: str, spec: SourceSpec, files: tuple[LocatedFile, ...], n_rows: int | None
) -> pd.DataFrame:
    frames: list[pd.DataFrame] = []
    wanted = n_rows
    for file in files:
        try:
            frame = read_table(file.path, spec.delimiter, wanted, text=spec.id)
        except DataError as error:
            raise DataError(f"Source `{name}`: {error}") from error
        if frames and set(frame.columns) != set(frames[0].columns):
            odd = sorted(set(frame.columns) ^ set(frames[0].columns))
            raise DataError(
                f"Source `{name}`: {file.label} and {files[0].label} must have the same columns. "
                f"Only one of them has `{odd[0]}`."
            )
        frames.append(frame)
        if wanted is not None:
            wanted -= len(frame)
            if wanted <= 0:
                break
    return pd.concat(frames, ignore_index=True) if len(frames) > 1 else frames[0]
