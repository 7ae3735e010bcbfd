import gzip
from pathlib import Path

import pandas as pd
import pytest

from pipeline.data.readers import read_table, whole_characters
from pipeline.data.sources import find_source, read_source
from pipeline.errors import DataError
from pipeline.study.source_spec import SourceSpec

TABLE = pd.DataFrame({"n": [1, 2, 3], "x": [0.5, None, 1.5], "word": ["a", "b, c", 'say "hi"']})


def _write(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl", "parquet"])
def test_every_format_gives_the_same_table(tmp_path: Path, kind: str, zipped: bool) -> None:
    path = tmp_path / f"table.v1.{kind}"
    if kind == "jsonl":
        TABLE.to_json(path, orient="records", lines=True)
    elif kind == "parquet":
        TABLE.to_parquet(path)
    else:
        TABLE.to_csv(path, sep="\t" if kind == "tsv" else ",", index=False)
    if zipped:
        path = _write(path.with_name(path.name + ".gz"), gzip.compress(path.read_bytes()))
    pd.testing.assert_frame_equal(read_table(path), TABLE)
    pd.testing.assert_frame_equal(read_table(path, n_rows=2), TABLE.head(2), check_dtype=False)


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_found(tmp_path: Path, delimiter: str) -> None:
    TABLE.to_csv(tmp_path / "t.csv", sep=delimiter, index=False)
    pd.testing.assert_frame_equal(read_table(tmp_path / "t.csv"), TABLE)


def test_empty_cells_are_missing_and_a_byte_order_mark_is_no_name(tmp_path: Path) -> None:
    frame = read_table(_write(tmp_path / "t.csv", "\ufeffa,b\n1,\n,x\n"))
    assert list(frame) == ["a", "b"]
    assert frame.isna().to_numpy().tolist() == [[False, True], [True, False]]


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("t.csv", "", "is empty"),
        ("t.csv", "a,b,a\n1,2,3\n", "two columns with one name: a"),
        ("t.csv", "a,b,c\n1,2,3\n1,2,3,4\n", "row 2 .* has 4 fields where the header has 3"),
        ("t.csv", "a,b,c\n1,2,3\n1,2\n", "row 2 .* has 2 fields where the header has 3"),
        ("t.csv", "a,b\n1,2,3\n4,5,6\n", "row 1 .* has 3 fields where the header has 2"),
        ("t.csv", b"a,b\n1,2\n3,caf\xe9\n", "row 2, line 3 is not UTF-8"),
        ("t.csv", b'a,b\n1,"x\ny"\n3,"z\ncaf\xe9"\n', "row 2, line 5 is not UTF-8"),
        ("t.csv", b"a,caf\xe9\n1,2\n", "line 1 is not UTF-8"),
        ("t.csv", 'a,b\n1,2\n1,"2\n' + "3,4\n" * 9, "row 2 opens a quote that is not closed"),
        ("t.csv", 'a,b\n"1,2\n' + "3,4\n" * 9, "opened in line 2 .* goes on to line 11"),
        ("t.csv.gz", b"a,b\n1,2\n", "cannot be read: Not a gzip.* fetch it again, or rename it"),
        ("t.csv.gz", gzip.compress(b"a,b\n" + b"1,2\n" * 999, mtime=0)[:-20], "cannot be read"),
        ("t.tsv", "a,b\n1,2\n", 'delimiter: ","'),
        (
            "t.jsonl",
            '{"a": 1}\n{"a": 1\n',
            "line 2 is not JSON: .* character 8, in '.*'. JSON Lines",
        ),
        ("t.jsonl", '[{"a": 1}]\n', r"line 1 must be a JSON object\. .* one object a line"),
        ("t.jsonl", '{"a": 1}\n[1]\n', "line 2 must be a JSON object"),
        ("t.jsonl", '{"a": 1, "a": 2}\n', "line 1 has a key twice"),
        ("t.jsonl", b'{"a": "\xff"}\n', "line 1 is not UTF-8"),
        ("t.parquet", b"not parquet", "cannot be read"),
        ("t.xlsx", b"", "no known kind"),
    ],
)
def test_a_bad_file_is_told(tmp_path: Path, name: str, content: str | bytes, told: str) -> None:
    with pytest.raises(DataError, match=told):
        read_table(_write(tmp_path / name, content))


def test_a_wrong_delimiter_names_the_right_one(tmp_path: Path) -> None:
    _write(tmp_path / "t.csv", "age;town\n1;Ulm\n")
    with pytest.raises(DataError, match=r"`people`.*one column.*Give `delimiter: \";\"`"):
        read_source("people", SourceSpec(path="t.csv", delimiter=","), tmp_path, None)


def test_files_are_looked_up_beside_the_study_then_in_the_data_folder(tmp_path: Path) -> None:
    beside, data = tmp_path / "beside", tmp_path / "data"
    for folder, value in ((beside, 1), (data, 2)):
        folder.mkdir()
        _write(folder / "both.csv", f"a\n{value}\n")
    _write(data / "far.csv", "a\n3\n")
    for path, value in (("both.csv", 1), ("far.csv", 3), (str(data / "both.csv"), 2)):
        frame = read_source("s", SourceSpec(path=path), beside, data)
        assert frame["a"].tolist() == [value]


def test_globs_and_lists_are_joined_in_order(tmp_path: Path) -> None:
    folder = tmp_path / "odd [name]"
    folder.mkdir()
    for i in (2, 1, 3):
        _write(folder / f"part{i}.csv", f"a,b\n{i},x\n")
    spec = SourceSpec(path=["part[12].csv", "part3.csv"])
    assert read_source("s", spec, folder, None)["a"].tolist() == [1, 2, 3]
    assert read_source("s", spec, folder, None, n_rows=2)["a"].tolist() == [1, 2]
    assert find_source("s", spec, folder).files[0].label == "part1.csv"


def test_files_of_one_source_must_have_the_same_columns(tmp_path: Path) -> None:
    _write(tmp_path / "a.csv", "x,y\n1,2\n")
    _write(tmp_path / "b.csv", "x,z\n1,2\n")
    with pytest.raises(DataError, match="same columns"):
        read_source("s", SourceSpec(path="*.csv"), tmp_path, None)


def test_a_missing_file_tells_where_the_data_comes_from(tmp_path: Path) -> None:
    spec = SourceSpec(path="gone.csv", about="UCI Gone, from example.org")
    with pytest.raises(DataError, match=r"no file gone\.csv.*--data DIR.*UCI Gone"):
        find_source("s", spec, tmp_path, tmp_path)


def test_a_file_of_nearly_that_name_is_suggested(tmp_path: Path) -> None:
    _write(tmp_path / "news.csv.gz", b"")
    for path in ("nws.csv.gz", str(tmp_path / "newz.csv.gz")):
        with pytest.raises(DataError, match=r"\. Did you mean `news\.csv\.gz`\? Put it there"):
            find_source("s", SourceSpec(path=path), tmp_path, tmp_path)
    with pytest.raises(DataError, match=r"there is no file other\.csv in [^.]*\. Put it there"):
        find_source("s", SourceSpec(path="other.csv"), tmp_path)


def test_a_table_without_rows_is_told(tmp_path: Path) -> None:
    _write(tmp_path / "t.csv", "a,b\n")
    with pytest.raises(DataError, match=r"Source `s` has no rows \(t\.csv\)"):
        read_source("s", SourceSpec(path="t.csv"), tmp_path, None)
    with pytest.raises(DataError, match="has no rows"):
        read_source("s", SourceSpec(), tmp_path, None, table=pd.DataFrame({"a": []}))


def test_of_a_passed_table_only_the_head_is_cleaned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cleaned: list[object] = []

    def noted(value: object) -> object:
        cleaned.append(value)
        return whole_characters(value)

    monkeypatch.setattr("pipeline.data.sources.whole_characters", noted)
    table = pd.DataFrame({"a": ["x\ud83d", "y", "z\ud83d"]}, index=[7, 8, 9], dtype=object)
    head = read_source("s", SourceSpec(), tmp_path, None, table, n_rows=2)
    assert head.to_dict("list") == {"a": ["x\ufffd", "y"]}
    assert head.index.tolist() == [0, 1]
    assert cleaned == ["x\ud83d", "y"]


def test_a_table_from_python_needs_plain_names(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"must be text\. Found 0"):
        read_source("s", SourceSpec(), tmp_path, None, table=pd.DataFrame([[1, 2]]))
    doubled = pd.DataFrame([[1, 2]], columns=["a", "a"])
    with pytest.raises(DataError, match="two columns named `a`"):
        read_source("s", SourceSpec(), tmp_path, None, table=doubled)


def test_ids_keep_their_text(tmp_path: Path) -> None:
    _write(tmp_path / "t.csv", "id,x\n007,1\n08,2\n")
    frame = read_source("s", SourceSpec(path="t.csv", id="id"), tmp_path, None)
    assert frame["id"].tolist() == ["007", "08"]


def test_half_a_character_of_json_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "table.jsonl"
    path.write_text('{"a": "x\\ud83d y", "\\udead": ["\\ud83d\\ude00", 1]}\n', encoding="utf-8")
    frame = read_table(path)
    assert frame.to_dict("records") == [{"a": "x\ufffd y", "\ufffd": ["\U0001f600", 1]}]
