import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from pipeline.data.check import check_data

Spec = Callable[..., Any]
People = Callable[..., pd.DataFrame]


def _keys(spec: Any, folder: Path, rows: int | None = 1000) -> dict[str, str]:
    faults, _ = check_data(spec, folder, None, rows)
    return {fault.key: str(fault) for fault in faults}


def test_a_sound_study_has_no_fault(small_spec: Spec, people: People, tmp_path: Path) -> None:
    people().to_csv(tmp_path / "people.csv", index=False)
    for rows, told in ((50, "50 rows of the head"), (None, "200 rows")):
        faults, notes = check_data(small_spec(), tmp_path, None, rows)
        assert faults == []
        assert told in notes[0]
    assert any(note.startswith("Split: ") for note in notes)


def test_every_source_and_key_is_told(small_spec: Spec, people: People, tmp_path: Path) -> None:
    people().to_csv(tmp_path / "people.csv", index=False)
    spec = small_spec(
        sources__more={"path": "gone.csv", "about": "from example.org"},
        tasks__rich={"kind": "binary", "target": "ritch", "source": "people"},
        tasks__size={"kind": "regression", "target": "size", "source": "people"},
        sources__people__numeric=["hight"],
        sources__more__split={"column": "part"},
        split__stratify="towns",
    )
    told = _keys(spec, tmp_path)
    keys = {"sources.more", "tasks.rich.target", "sources.people.numeric", "split.stratify"}
    assert set(told) == keys
    assert "from example.org" in told["sources.more"]
    assert "Did you mean `rich`?" in told["tasks.rich.target"]


@pytest.mark.parametrize(
    ("changes", "column", "value", "key"),
    [
        ({"tasks__rich__kind": "regression"}, "rich", "poor", "tasks.rich.target"),
        ({}, "rich", "neither", "tasks.rich.target"),
        ({}, "size", "inf", "tasks.size.target"),
        ({"sources__people__numeric": ["town"]}, "town", "'Ulm'", "sources.people.numeric"),
        ({"sources__people__boolean": ["age"]}, "age", "41", "sources.people.boolean"),
        ({"split": {"column": "part"}}, "part", "dev", "split.column"),
    ],
)
def test_the_head_shows_what_no_other_row_can_mend(
    small_spec: Spec, people: People, tmp_path: Path, changes, column, value, key
) -> None:
    table = people().assign(part=["train", "test"] * 100).astype({column: object})
    table.loc[0, column] = value.strip("'")
    table.to_csv(tmp_path / "people.csv", index=False)
    told = _keys(small_spec(**changes), tmp_path, rows=20)
    assert set(told) == {key}
    assert value in told[key]


def test_the_head_is_no_proof_of_what_is_missing(
    small_spec: Spec, people: People, tmp_path: Path
) -> None:
    people().sort_values("rich").assign(note="x").to_csv(tmp_path / "people.csv", index=False)
    assert _keys(small_spec(), tmp_path, rows=20) == {}  # one label and one note in the head


def test_all_rows_show_what_the_head_cannot(
    small_spec: Spec, people: People, tmp_path: Path
) -> None:
    people().assign(rich="poor").to_csv(tmp_path / "people.csv", index=False)
    assert "rich" in _keys(small_spec(), tmp_path, rows=None)["sources"]
    bad = small_spec(tasks__rich__target="ritch")
    assert set(_keys(bad, tmp_path, rows=None)) == {"tasks.rich.target"}


_DIGITS = """
name: digits
sources: {digits: {builtin: multidigits}}
tasks: {left: {kind: multiclass, target: lefd}, total: {kind: regression, target: total}}
split: {column: split}
"""


def test_checking_imports_no_heavy_library(small_spec: Spec, tmp_path: Path) -> None:
    assert "`left`" in _keys(small_spec(_DIGITS), tmp_path)["tasks.left.target"]
    code = (
        "import sys; from pathlib import Path; from pipeline.study.loading import parse_study;"
        "from pipeline.data.check import check_data;"
        f"check_data(parse_study({_DIGITS!r}).spec, Path());"
        "print([name for name in ('torch', 'sklearn', 'mlflow', 'optuna') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
