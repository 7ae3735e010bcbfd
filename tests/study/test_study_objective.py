"""What a study may say of several objectives; all faults are told at once."""

from __future__ import annotations

import pytest

from pipeline.errors import StudyError
from pipeline.study.loading import parse_study

STUDY = """
name: small
sources: {rows: {path: rows.csv}}
tasks:
  a: {kind: binary, target: a}
  b: {kind: regression, target: b}
split: {train: 0.6, valid: 0.2, test: 0.2}
"""


def faults(search: str) -> str:
    with pytest.raises(StudyError) as error:
        parse_study(f"{STUDY}search: {{{search}}}\n")
    return str(error.value)


def test_a_list_of_tasks_with_floors_is_valid() -> None:
    spec = parse_study(f"{STUDY}search: {{objective: [a, b], floors: {{a: 0.6}}}}\n").spec.search
    assert (spec.objective, spec.floors) == (["a", "b"], {"a": 0.6})
    assert parse_study(STUDY).spec.search.objective == "mean"


@pytest.mark.parametrize(
    ("search", "told"),
    [
        ("objective: [a]", "`search.objective` must list two tasks or more"),
        ("objective: [a, a, b]", "`search.objective` must not list a task twice. Found a."),
        ("objective: [a, bb]", "`search.objective` is not a task of the study. Found bb."),
        ("objective: [a, b], pruner: median", "Possible: dominated, none."),
        ("objective: [a, b], floors: {c: 1}", "`search.floors.c` is none of the objectives."),
        ("floors: {a: 0.5}", "`search.floors` is read with several objectives only."),
        ("pruner: dominated", "`search.pruner` needs a list of tasks as `search.objective`."),
    ],
)
def test_each_fault_names_its_key(search: str, told: str) -> None:
    assert told in faults(search)


def test_all_faults_are_told_at_once() -> None:
    told = faults("objective: [a, zz], pruner: median, floors: {y: 1}")
    assert told.count("\n  - ") == 3
