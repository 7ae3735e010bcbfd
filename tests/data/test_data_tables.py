"""A table is written whole or not at all, in chunks, alike in every form."""

import gzip
from pathlib import Path

import pandas as pd
import pytest

from pipeline.data.readers import read_table
from pipeline.data.tables import check_output, open_output
from pipeline.errors import InputError

ROWS = pd.DataFrame(
    {
        "label": ["a", "b, c", None, 'say "é"', "line\nbreak"],
        "chance": [0.1, 1 / 3, 1e-9, 1.0, 12345.678901234567],
        "none": [None, None, None, None, "late"],
    }
)
FORMS = [f"{form}{packed}" for form in ("csv", "jsonl", "parquet") for packed in ("", ".gz")]


@pytest.mark.parametrize("size", [2, 5])
@pytest.mark.parametrize("form", FORMS)
def test_chunks_make_the_table(tmp_path: Path, form: str, size: int) -> None:
    path = tmp_path / f"out.{form}"
    with open_output(path) as write:
        for start in range(0, len(ROWS), size):
            write(ROWS.iloc[start : start + size])
        assert not path.exists()
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    pd.testing.assert_frame_equal(read_table(path), ROWS, check_dtype=False, rtol=1e-14)


def test_equal_tables_give_equal_files(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        with open_output(tmp_path / folder / "out.csv.gz") as write:
            write(ROWS)
    first, second = (tmp_path / folder / "out.csv.gz" for folder in ("a", "b"))
    assert first.read_bytes() == second.read_bytes()
    assert gzip.decompress(first.read_bytes()).startswith(b"label,chance,none\n")


@pytest.mark.parametrize("form", FORMS)
def test_no_rows_are_a_table_too(tmp_path: Path, form: str) -> None:
    path = tmp_path / f"out.{form}"
    with open_output(path) as write:
        write(ROWS.iloc[:0])
    assert len(read_table(path)) == 0


@pytest.mark.parametrize("form", FORMS)
def test_an_error_leaves_what_was_there(tmp_path: Path, form: str) -> None:
    path = tmp_path / f"out.{form}"
    path.write_text("before")
    with pytest.raises(ValueError, match="half way"), open_output(path) as write:  # noqa: PT012
        write(ROWS)
        raise ValueError("half way")
    assert path.read_text() == "before"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_full_disk_is_told_with_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    path = tmp_path / "out.csv"
    with (
        pytest.raises(InputError, match=r"out\.csv cannot be written: .*No space left"),
        open_output(path) as write,
    ):
        write(ROWS)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["out", "out.xls", "out.gz", "csv"])
def test_a_name_of_no_known_form_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=r"must end in one of \.csv, \.jsonl, \.parquet"):
        check_output(tmp_path / name)


def test_the_folder_must_exist(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"does not exist\. Make it first"):
        check_output(tmp_path / "none" / "out.csv")
