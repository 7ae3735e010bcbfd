"""One file to one table: CSV, TSV, JSON Lines and Parquet, plain or gzipped."""

import csv
import gzip
import io
import itertools
import json
import re
import warnings
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, TextIO

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.errors import DataError

UNREADABLE = (OSError, EOFError, zlib.error, pa.ArrowInvalid)
"""What reading a file raises that is damaged, or not what its name says."""

_DELIMITERS = (",", ";", "\t", "|")
CSV_OPTIONS: Any = {"encoding": "utf-8-sig", "index_col": False, "low_memory": False}
"""How pandas is told to read a CSV file, whole or in chunks."""

_ONE_A_LINE = (
    'JSON Lines has one object a line, such as {"text": "...", "label": "..."}: mend the line, or '
    "write the table so."
)
_SURROGATE = re.compile("[\ud800-\udfff]")
_SHOWN = {"\t": "tab"}
_MANY_LINES = 5  # of one field, from which on a quote that is not closed is suspected
_LONGEST_FIELD = 1 << 27  # bytes; the csv module's own limit of 131,072 is below a long document


def read_table(
    path: Path, delimiter: str | None = None, n_rows: int | None = None, text: str | None = None
) -> pd.DataFrame:
    """Reads one file by its extension.

    Args:
        path: A `.csv`, `.tsv`, `.jsonl` or `.parquet` file, or one of them with `.gz` after it.
        delimiter: Column separator of a CSV file; found out where it is not given.
        n_rows: Rows of the head that are wanted; all by default.
        text: Column to keep as text, such as an id with leading zeros.

    Raises:
        DataError: The file cannot be read as what its name says; the row is named.
    """
    kind = kind_of_file(path)
    try:
        if kind == "parquet":
            frame = _read_parquet(path, n_rows)
        elif kind == "jsonl":
            frame = _read_json_lines(path, n_rows)
        else:
            frame = _read_csv(path, "\t" if kind == "tsv" and not delimiter else delimiter, n_rows,
                              text)  # fmt: skip
    except UNREADABLE as error:
        raise unreadable(path, error) from error
    if not frame.columns.is_unique:
        raise doubled(path, list(frame.columns))
    return frame


def unreadable(path: Path, error: Exception) -> DataError:
    """Returns the error of a file that is damaged, or not what its name says."""
    reason = str(error).rstrip(".")
    if isinstance(error, PermissionError):
        return DataError(f"{path} cannot be read: {reason}. Allow reading it.")
    remedy = "The file is damaged, or not what its name says: fetch it again, or rename it."
    return DataError(f"{path} cannot be read: {reason}. {remedy}")


def kind_of_file(path: Path) -> str:
    """Returns `csv`, `tsv`, `jsonl` or `parquet`, as a file's name says.

    Raises:
        DataError: The name says none of them.
    """
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] == ".gz":
        suffixes.pop()
    known = {".csv": "csv", ".txt": "csv", ".tsv": "tsv", ".tab": "tsv", ".jsonl": "jsonl",
             ".ndjson": "jsonl", ".parquet": "parquet", ".pq": "parquet"}  # fmt: skip
    if not suffixes or suffixes[-1] not in known:
        raise DataError(
            f"{path} has no known kind. Its name must end in {', '.join(known)}, or one of them "
            "and .gz."
        )
    return known[suffixes[-1]]


def open_bytes(path: Path) -> IO[bytes]:
    """Opens a file, unpacking it where its name ends in `.gz`."""
    if path.suffix.lower() == ".gz":
        return gzip.open(path, "rb")  # type: ignore[return-value]
    return path.open("rb")


@contextmanager
def open_text(path: Path) -> Iterator[TextIO]:
    """Opens a file of UTF-8, unpacking it where its name ends in `.gz`."""
    with (
        open_bytes(path) as stream,
        io.TextIOWrapper(stream, encoding="utf-8-sig", newline="") as text,
    ):
        yield text


def _read_csv(
    path: Path, delimiter: str | None, n_rows: int | None, text: str | None
) -> pd.DataFrame:
    header, delimiter = read_header(path, delimiter)
    with csv_errors(path, delimiter, n_rows), open_bytes(path) as stream:
        frame: pd.DataFrame = pd.read_csv(
            stream, sep=delimiter, nrows=n_rows, **CSV_OPTIONS,
            dtype={text: "str"} if text in header else None,
        )  # fmt: skip
    # pandas fills a short row with missing values, which then end in the last column.
    if len(frame) and frame.iloc[:, -1].isna().any():
        find_bad_row(path, delimiter, n_rows)
    return frame


@contextmanager
def csv_errors(path: Path, delimiter: str, n_rows: int | None = None) -> Iterator[None]:
    """Turns what pandas says of a CSV file into an error that names the row."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)
            yield
    except (pd.errors.ParserError, pd.errors.ParserWarning, UnicodeDecodeError) as error:
        find_bad_row(path, delimiter, n_rows)
        if opened := re.search(r"EOF inside string starting at row (\d+)", str(error)):
            raise DataError(
                f"{path}, row {opened[1]} opens a quote that is not closed. Close it, or "
                "double a quote that stands in a text."
            ) from error
        raise DataError(f"{path} cannot be read as CSV: {error}") from error


def read_header(path: Path, delimiter: str | None) -> tuple[list[str], str]:
    """Returns the names of a CSV file's columns, and its delimiter, found out where not given.

    Raises:
        DataError: The file is empty, or has two columns with one name.
    """
    csv.field_size_limit(_LONGEST_FIELD)
    try:
        with open_text(path) as text:
            line = text.readline()
    except UnicodeDecodeError:
        find_bad_row(path, delimiter or ",", n_rows=None)
        raise
    if not line.strip():
        raise DataError(f"{path} is empty. It must begin with a row of column names.")
    counts = {found: len(next(csv.reader([line], delimiter=found))) for found in _DELIMITERS}
    best = max(counts, key=lambda found: counts[found])
    delimiter = delimiter or best
    header = [name.strip("\r\n") for name in next(csv.reader([line], delimiter=delimiter))]
    if len(header) == 1 and counts[best] > 1:
        raise DataError(
            f"{path} has one column, named {header[0][:80]!r}, when it is split at "
            f"{_SHOWN.get(delimiter, delimiter)!r}. Give `delimiter: {json.dumps(best)}`."
        )
    if len(set(header)) < len(header):
        raise doubled(path, header)
    return header, delimiter


def doubled(path: Path, names: list[str]) -> DataError:
    """Returns the error of a file that has two columns with one name."""
    doubled = [str(name) for name, count in Counter(names).items() if count > 1]
    return DataError(
        f"{path} has two columns with one name: {', '.join(doubled)}. Rename or remove one."
    )


def find_bad_row(path: Path, delimiter: str, n_rows: int | None) -> None:
    """Raises on the first row that is no UTF-8 or has too few or too many fields."""
    _check_encoding(path, delimiter)
    with open_text(path) as text:
        rows = csv.reader(text, delimiter=delimiter)
        width = len(next(rows))
        begun = rows.line_num + 1
        for number, row in enumerate(rows, start=1):
            if n_rows is not None and number > n_rows:
                return
            if row and len(row) != width:
                n_fields = f"{len(row)} field{'s' if len(row) > 1 else ''}"
                where = f"{path}, row {number} (line {begun})"
                head = f"{where} has {n_fields} where the header has {width}"
                raise DataError(f"{head}. {_row_remedy(row, delimiter, begun, rows.line_num)}")
            begun = rows.line_num + 1


def _row_remedy(row: list[str], delimiter: str, first: int, last: int) -> str:
    """Says what to do with a row of too few or too many fields, from its first to its last line."""
    if last - first >= _MANY_LINES and any(field.count("\n") >= _MANY_LINES for field in row):
        return (
            f"A quote that is opened in line {first} may not be closed: its field goes on to line "
            f"{last}. Close it, or double a quote that stands in a text."
        )
    mark = _SHOWN.get(delimiter, delimiter)
    return f"Quote values that contain {mark!r}, or give `delimiter`."


def _check_encoding(path: Path, delimiter: str | None = None) -> None:
    with open_bytes(path) as stream:
        for number, line in enumerate(stream, start=1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError as error:
                row = "" if delimiter is None else _row_of_line(path, number, delimiter)
                raise DataError(
                    f"{path}, {row}line {number} is not UTF-8 (byte {error.start + 1}: "
                    f"{line[error.start : error.start + 1]!r}). Save the file as UTF-8."
                ) from error


def _row_of_line(path: Path, line: int, delimiter: str) -> str:
    """Names the row in which a line stands: a quoted text may have several."""
    with (
        open_bytes(path) as stream,
        io.TextIOWrapper(stream, encoding="utf-8", errors="replace", newline="") as text,
    ):
        rows = csv.reader(text, delimiter=delimiter)
        number = next((n for n, _ in enumerate(rows) if rows.line_num >= line), 0)
    return f"row {number}, " if number else ""


def _read_json_lines(path: Path, n_rows: int | None) -> pd.DataFrame:
    return pd.DataFrame.from_records(list(itertools.islice(json_records(path), n_rows)))


def json_records(path: Path) -> Iterator[dict[str, object]]:
    """Yields the objects of a file of JSON Lines.

    Raises:
        DataError: A line is no JSON object; it names the line.
    """
    try:
        with open_text(path) as text:
            for number, line in enumerate(text, start=1):
                if line.strip():
                    yield _record(path, number, line)
    except UnicodeDecodeError:
        _check_encoding(path)
        raise


def _record(path: Path, number: int, line: str) -> dict[str, object]:
    where, found = f"{path}, line {number}", line.strip()
    try:
        record = json.loads(found, object_pairs_hook=_unique_keys(path, number))
    except json.JSONDecodeError as error:
        told = f"{where} is not JSON: {error.msg} at character {error.colno}, in {_around(error)}"
        raise DataError(f"{told}. {_ONE_A_LINE}") from error
    if not isinstance(record, dict):
        raise DataError(f"{where} must be a JSON object. Found {found[:60]}. {_ONE_A_LINE}")
    return whole_characters(record) if "\\ud" in line.lower() else record


def whole_characters(value: Any) -> Any:
    """Replaces halves of characters, which JSON can escape in ASCII, and no column can hold."""
    if isinstance(value, dict):
        return {whole_characters(key): whole_characters(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [whole_characters(inner) for inner in value]
    return _SURROGATE.sub("\ufffd", value) if isinstance(value, str) else value


def _around(error: json.JSONDecodeError) -> str:
    """Shows what stands where a line stops being JSON."""
    return repr(error.doc[max(error.pos - 20, 0) : error.pos + 20])


def _unique_keys(path: Path, number: int) -> Callable[[list[tuple[str, object]]], object]:
    def build(pairs: list[tuple[str, object]]) -> dict[str, object]:
        record = dict(pairs)
        if len(record) < len(pairs):
            raise DataError(f"{path}, line {number} has a key twice: {[key for key, _ in pairs]}.")
        return record

    return build


def _read_parquet(path: Path, n_rows: int | None) -> pd.DataFrame:
    gzipped = path.suffix.lower() == ".gz"  # Parquet is read from its end: unpack it whole
    with pq.ParquetFile(
        io.BytesIO(gzip.decompress(path.read_bytes())) if gzipped else path
    ) as file:
        if n_rows is None:
            table = file.read()
        else:
            head = itertools.islice(file.iter_batches(batch_size=max(n_rows, 1)), 1)
            table = pa.Table.from_batches(list(head), schema=file.schema_arrow)
    return frame_of(path, table)


def frame_of(path: Path, table: pa.Table) -> pd.DataFrame:
    """Returns rows of a Parquet file as pandas has them, a named index as columns.

    Raises:
        DataError: Two columns have one name.
    """
    if len(set(table.column_names)) < len(table.column_names):
        raise doubled(path, table.column_names)
    frame: pd.DataFrame = table.to_pandas()
    named = [name for name in frame.index.names if name is not None]
    return frame.reset_index(level=named) if named else frame
