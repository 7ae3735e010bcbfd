"""A table in chunks has the values of the table read whole, whatever stands in which chunk."""

import gzip
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.data.chunks import look_through
from pipeline.data.encoding import parse_numbers
from pipeline.data.readers import read_table
from pipeline.data.values import as_text
from pipeline.errors import DataError

CELLS = [
    "1",
    "01",
    "2.5",
    "-0",
    "1e3",
    "x",
    "",
    "NA",
    "True",
    "FALSE",
    " ",
    "9007199254740993",
    "7",
]
# What readers of JSON and of Parquet may meet in one column.
VALUES = [1, 0, 2.5, -3, "x", "01", "", None, True, 2**53 + 1]


def same(path: Path, size: int) -> None:
    """Compares what a model reads of a value: its text, its number, whether it is one."""
    whole = read_table(path)
    table = look_through(path, size)
    assert (table.n_rows, table.columns) == (len(whole), tuple(whole.columns))
    chunks = list(table.chunks())
    assert all(0 < len(chunk) <= size for chunk in chunks)
    rows = np.concatenate([chunk.index for chunk in chunks])
    assert rows.tolist() == list(range(1, len(whole) + 1))
    for name in whole.columns:
        texts = np.concatenate([as_text(chunk[name]) for chunk in chunks])
        assert texts.tolist() == as_text(whole[name]).tolist()
        numbers, bad = parse_numbers(whole[name])
        found = [parse_numbers(chunk[name]) for chunk in chunks]
        np.testing.assert_array_equal(np.concatenate([n for n, _ in found]), numbers)
        np.testing.assert_array_equal(np.concatenate([b for _, b in found]), bad)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("chunks")


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.sampled_from(CELLS), st.sampled_from(CELLS[:5])), min_size=1),
    st.integers(1, 5),
)
def test_csv(folder: Path, rows: list[tuple[str, str]], size: int) -> None:
    path = folder / "t.csv"
    path.write_text("a,b,c\n" + "".join(f"{a},{b},z\n" for a, b in rows))
    same(path, size)


@settings(max_examples=60)
@given(
    st.lists(
        st.dictionaries(st.sampled_from("ab"), st.sampled_from(VALUES)).map(
            lambda row: {**row, "c": 1}
        ),
        min_size=1,
    ),
    st.integers(1, 5),
)
def test_json_lines_whose_objects_lack_keys(
    folder: Path, rows: list[dict[str, object]], size: int
) -> None:
    path = folder / "t.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    same(path, size)


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("size", [1, 2, 7])
def test_parquet(folder: Path, zipped: bool, size: int) -> None:
    frame = pd.DataFrame(
        {
            "n": pd.array([1, None, 2**53 + 1, 4, 5], dtype="Int64"),
            "flag": [True, None, False, True, True],
            "word": pd.Categorical(["a", None, "b", "a", "01"]),
        },
        index=pd.Index([9, 8, 7, 6, 5], name="key"),
    )
    path = folder / "t.parquet"
    frame.to_parquet(path)
    if zipped:
        packed = gzip.compress(path.read_bytes())
        path = path.with_name("t.parquet.gz")
        path.write_bytes(packed)
    same(path, size)


def test_a_late_word_makes_all_of_its_column_text(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("code\n" + "007\n" * 6 + "none at all\n")
    first = next(look_through(path, size=2).chunks())
    assert list(first["code"]) == ["007", "007"]


@pytest.mark.parametrize("form", ["csv", "csv.gz", "parquet"])
def test_a_table_without_rows_is_one_chunk_without_rows(tmp_path: Path, form: str) -> None:
    path = tmp_path / f"t.{form}"
    frame = pd.DataFrame({"a": pd.Series(dtype=float), "b": pd.Series(dtype=str)})
    frame.to_parquet(path) if form == "parquet" else frame.to_csv(path, index=False)
    table = look_through(path)
    (only,) = table.chunks()
    assert (table.n_rows, list(only.columns), len(only)) == (0, ["a", "b"], 0)


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("t.csv", "a,b\n" + "1,2\n" * 9 + "3\n", "row 10 .* has 1 field where the header has 2"),
        ("t.csv", "a,b\n" + "1,2\n" * 9 + "3,4,5\n", "row 10 .* has 3 fields"),
        ("t.csv", b"a,b\n" + b"1,2\n" * 9 + b"\xe9,2\n", "line 11 is not UTF-8"),
        ("t.csv", "", "is empty"),
        ("t.csv", "a,a\n1,2\n", "two columns with one name"),
        ("t.csv.gz", gzip.compress(b"a,b\n" + b"1,2\n" * 99, mtime=0)[:-9], "cannot be read"),
        ("t.jsonl", '{"a": 1}\n' * 9 + "[1]\n", "line 10 must be a JSON object"),
        ("t.parquet", "no parquet", "cannot be read"),
        ("t.xlsx", "", "has no known kind"),
    ],
)
def test_a_file_that_cannot_be_read_is_told_before_its_first_chunk(
    tmp_path: Path, name: str, content: str | bytes, told: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError, match=told):
        look_through(path, size=3)
