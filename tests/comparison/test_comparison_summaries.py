"""The rows beside a summary, on documents whose titles, leads and references are known."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.comparison.summaries import summary_rows
from pipeline.data.prepare import prepare_data
from pipeline.data.prepared import Prepared
from pipeline.study.loading import parse_study
from pipeline.text.rouge import rouge

STUDY = """
name: functions
sources: {functions: {path: functions.csv}}
tasks:
  gist: {kind: summarisation, target: gist, text: body, title: name, budget: {sentences: 1},
         metric: rouge1}
split: {column: part}
"""


def functions() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "name": [f"read_{kind}File{i}" for i, kind in enumerate(["csv", "json"] * 6)],
            "gist": ["Read a csv file.", "Read a json file."] * 6,
            "body": ["The first. Read a csv file or two.", "Read a json file here. More."] * 6,
            "part": ["train", "train", "valid", "valid", "test", "test"] * 2,
        }
    )


def rows_of(prepared: Prepared) -> dict[str, dict]:
    (kind,) = prepared.kinds()
    outputs = np.zeros((len(prepared.parts["test"]), 1))  # equal scores choose the lead
    return {row["name"]: row for row in summary_rows(prepared, outputs, kind, "test", 0)}


def test_a_title_is_a_row_and_a_name_is_split_into_words(tmp_path: Path) -> None:
    spec = parse_study(STUDY).spec
    prepared = prepare_data(spec, tmp_path, tmp_path, tables={"functions": functions()})
    rows = rows_of(prepared)
    # "read csv File4" against "Read a csv file.": 3 of 4 words each.
    expected = np.mean([rouge("rouge1", f"read {kind} file 4", [f"Read a {kind} file."])
                        for kind in ("csv", "json")])  # fmt: skip
    assert rows["title"]["rouge1"] == pytest.approx(expected)
    assert rows["this model"]["rouge1"] == rows["lead"]["rouge1"]
    assert rows["oracle"]["rouge1"] > rows["lead"]["rouge1"]


def test_without_titles_there_is_no_such_row(tmp_path: Path) -> None:
    spec = parse_study(STUDY.replace("title: name, ", "")).spec
    prepared = prepare_data(spec, tmp_path, tmp_path, tables={"functions": functions()})
    assert "title" not in rows_of(prepared)
