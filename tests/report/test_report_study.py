"""What is said of a study file and its data."""

import json
import math
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from pipeline.driver.json_files import finite
from pipeline.report.study import (
    next_commands,
    next_lines,
    prepared_json,
    prepared_lines,
    study_lines,
)
from pipeline.study.loading import parse_study

STUDY = parse_study("""
name: small
sources: {people: {path: people.csv}}
tasks:
  income: {kind: binary, target: income}
  score: {kind: regression, target: mark, per: school}
model: {layers: {choices: [[8], [16, 8]]}}
train: {lr: {low: 0.001, high: 0.1, log: true}}
""")


def test_a_valid_study_is_shown_with_tasks_ranges_and_trials() -> None:
    text = "\n".join(study_lines(STUDY, ["Source `people`: 3 columns."]))
    assert "income: binary of income in people, roc_auc" in text
    assert "score: regression of mark in people, r2, one for each school" in text
    assert "Searched by tpe, 64 trials:" in text
    for path in STUDY.ranges:
        assert f"  {path}: " in text
    lines = text.splitlines()
    start = lines.index("Trial 0, and three that could follow:")
    trials = lines[start + 1 : start + 5]
    assert all(trial.count("train.lr=") == 1 for trial in trials)
    assert "train.lr=0.01" in trials[0]
    assert len(set(trials)) > 2
    assert "Source `people`: 3 columns." in lines[-1]


def test_the_next_commands_stand_as_the_shell_needs_them() -> None:
    named = replace(STUDY, words="'my studies/a.yaml'")
    commands = dict(next_commands(named, " --store x", 8))
    assert "mtl compare 'my studies/a.yaml' --store x" in commands
    assert commands["mtl promote 'my studies/a.yaml' --store x"] == (
        "make the best model small@champion"
    )
    assert "mtl search 'my studies/a.yaml' --store x --trials 16" in commands
    lines = next_lines(list(commands.items()))
    assert "  mtl ui 'my studies/a.yaml' --store x   # look at every run in the browser" in lines


def test_what_preparing_found_is_told_twice_alike(small_prepared) -> None:
    found = prepared_json(small_prepared)
    assert found["rows"] == {"train": 60, "valid": 20, "test": 30}
    assert found["data"] == small_prepared.data_digest
    text = "\n".join(prepared_lines(small_prepared))
    assert "Rows: 60 train, 20 valid, 30 test" in text
    assert f"Inputs: {found['n_numeric']} numbers, 1 categories" in text
    assert "Identical inputs in train/test: 1 rows" in text
    assert small_prepared.prepared_digest in text


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(values)
def test_whatever_is_printed_is_json(tree: object) -> None:
    def nulled(value: object) -> object:
        if isinstance(value, float):
            return value if math.isfinite(value) else None
        if isinstance(value, dict):
            return {key: nulled(inner) for key, inner in value.items()}
        return [nulled(inner) for inner in value] if isinstance(value, list) else value

    text = json.dumps(finite(tree), allow_nan=False)
    assert json.loads(text) == nulled(tree)
