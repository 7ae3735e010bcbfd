"""Files of JSON: written whole, read line by line once."""

from pathlib import Path

import pytest

from pipeline.driver.json_files import JsonLines, read_json, write_json


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "record.json"
    write_json(path, {"n": 1})
    with pytest.raises(TypeError):
        write_json(path, {"n": 2, "unwritable": object()})
    assert read_json(path) == {"n": 1}
    assert read_json(tmp_path / "absent.json") is None


def test_lines_are_read_once(tmp_path: Path) -> None:
    lines = JsonLines(tmp_path / "deep" / "lines.jsonl")
    assert lines.fresh() == []
    lines.append([{"n": 1}, {"n": 2}])
    assert lines.fresh() == [{"n": 1}, {"n": 2}]
    assert lines.fresh() == []
