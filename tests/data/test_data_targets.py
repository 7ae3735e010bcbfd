from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipeline.data.assembling import build_prepared
from pipeline.errors import DataError

Spec = Callable[..., Any]
PARTS = ["train"] * 6 + ["valid"] * 2 + ["test"] * 2

_STUDY = """
name: schools
sources: {pupils: {path: pupils.csv}}
tasks:
  score: {kind: regression, target: score, per: school}
  passed: {kind: binary, target: passed}
split: {column: split}
"""


def _pupils(**columns: object) -> pd.DataFrame:
    table = pd.DataFrame({
        "age": range(80), "score": np.arange(80) * 1.5, "passed": ["yes", "no"] * 40,
        "school": np.repeat([2.0, 10.0, 3.0, np.nan], 20), "split": (PARTS * 8),
    })  # fmt: skip
    return table.assign(**columns)


def test_per_makes_one_task_per_value(small_spec: Spec) -> None:
    prepared = build_prepared(small_spec(_STUDY), {"pupils": _pupils()}, {})
    assert [task.name for task in prepared.tasks] == ["score:2", "score:3", "score:10", "passed"]
    assert [task.declared for task in prepared.tasks] == ["score"] * 3 + ["passed"]
    assert prepared.tasks[0].n_labelled == {"train": 12, "valid": 4, "test": 4}
    assert "school" not in prepared.encoder.columns
    test = prepared.parts["test"].targets
    np.testing.assert_array_equal(np.flatnonzero(~np.isnan(test["score:3"])), [8, 9, 10, 11])
    assert test["score:3"][8:12].tolist() == [72.0, 73.5, 87.0, 88.5]


def test_values_of_per_become_plain_names_that_differ(small_spec: Spec) -> None:
    spec = small_spec(_STUDY)
    names = np.repeat(["St. Mary's", "Röntgen-1"], 40)
    prepared = build_prepared(spec, {"pupils": _pupils(school=names)}, {})
    assert [task.name for task in prepared.tasks[:2]] == ["score:R_ntgen-1", "score:St._Mary_s"]
    with pytest.raises(DataError, match="'a b' and 'a_b'"):
        build_prepared(spec, {"pupils": _pupils(school=["a b", "a_b"] * 40)}, {})
    with pytest.raises(DataError, match="`school` has no value"):
        build_prepared(spec, {"pupils": _pupils(school=None)}, {})


@pytest.mark.parametrize("part", ["train", "valid", "test"])
def test_a_part_without_labels_is_named(small_spec: Spec, part: str) -> None:
    table = _pupils(school="one")
    table["passed"] = table["passed"].where(table["split"] != part)
    with pytest.raises(DataError, match=rf"`passed`.*{part}"):
        build_prepared(small_spec(_STUDY), {"pupils": table}, {})


@pytest.mark.parametrize(
    ("column", "row", "value", "told"),
    [
        ("passed", 8, "maybe", "passed.*maybe"),
        ("score", 0, "high", "score.*high"),
        ("score", 9, np.inf, "score.*inf"),
    ],
)
def test_bad_labels_are_told(small_spec: Spec, column, row, value, told) -> None:
    table = _pupils(school="one").astype({column: object})
    table.loc[row, column] = value
    with pytest.raises(DataError, match=told):
        build_prepared(small_spec(_STUDY), {"pupils": table}, {})


def test_missing_labels_stay_missing(small_spec: Spec) -> None:
    table = _pupils(school="one")
    table.loc[::10, "passed"] = None
    prepared = build_prepared(small_spec(_STUDY), {"pupils": table}, {})
    assert prepared.tasks[1].n_labelled == {"train": 40, "valid": 16, "test": 16}
    assert int(np.isnan(prepared.parts["train"].targets["passed"]).sum()) == 8


def test_rare_labels_are_missing_and_told(small_spec: Spec) -> None:
    colours = ["red", "blue", "red", "blue", "red", "green", "red", "green", "blue", "white"]
    text = """
name: pupils
sources: {pupils: {path: pupils.csv}}
tasks: {colour: {kind: multiclass, target: colour, min_rows: 16}}
split: {column: split}
"""
    table = {"pupils": _pupils(colour=colours * 8)}
    prepared = build_prepared(small_spec(text), table, {})
    assert prepared.tasks[0].classes == ("blue", "red")
    assert prepared.tasks[0].n_labelled == {"train": 40, "valid": 8, "test": 8}
    assert any("24 rows have no label" in note and "`green` (16), `white` (8)" in note
               for note in prepared.report.warnings)  # fmt: skip
    one = build_prepared(small_spec(text.replace("16", "1")), table, {})  # white: in no train row
    assert one.tasks[0].classes == ("blue", "green", "red")
    with pytest.raises(DataError, match=r"`white` in 8 rows.*`min_rows`"):
        build_prepared(small_spec(text.replace(", min_rows: 16", "")), table, {})
