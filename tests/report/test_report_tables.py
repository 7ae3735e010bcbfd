"""Tables and pages from recorded trials: every value is where it belongs."""

from typing import Any

import pandas as pd
import pytest
from report_cases import cells, row_of, shown, trial

from pipeline.report import tables

TRIALS = [
    trial(0, score=0.5),
    trial(1, "pruned", 0.4, reason="0.4 is below the median"),
    trial(2, score=0.7),
    trial(3, "diverged", None, reason="a parameter is not finite at epoch 2"),
    trial(4, "failed", None, reason="Traceback:\n  [/tmp/x.py] broke"),
]


def test_trials_are_shown_best_first() -> None:
    text = shown(tables.trials_table(TRIALS))
    lines = [line for line in text.splitlines() if "#" in line]
    assert [cells(line)[0] for line in lines] == ["#2", "#0"]
    assert row_of(text, "#2") == ["#2", "0.7000", "0.8000", "0.6000", "0.03", "[64,64]"]
    assert row_of(text, "trial")[1:] == ["score", "left", "total", "lr", "layers"]
    assert "The best 2 of 5 trials" in text


def test_only_as_many_are_shown_as_asked() -> None:
    many = [trial(number, score=number / 100) for number in range(30)]
    text = shown(tables.trials_table(many, most=3))
    lines = [line for line in text.splitlines() if "#" in line]
    assert [cells(line)[0] for line in lines] == ["#29", "#28", "#27"]


@pytest.mark.parametrize("trials", [[], TRIALS[1:2], TRIALS[3:]])
def test_a_study_without_a_complete_trial_has_a_table_too(trials: list[Any]) -> None:
    text = shown(tables.trials_table(trials))
    assert sum("#" in line for line in text.splitlines()) == len(trials)


def test_one_trial_is_shown_with_everything() -> None:
    text = shown(tables.trial_table(TRIALS[0]))
    assert "Trial #0: complete" in text
    facts = {found[0]: found[1] for line in text.splitlines() if len(found := cells(line)) == 2}
    assert facts["score on valid"] == "0.5000"
    assert facts["epochs"] == "12, best 9"
    assert facts["parameters"] == "12,345"
    assert facts["train.lr"] == "0.01"
    assert facts["weight of left"] == "1.5"
    assert facts["valid left log_loss"] == "0.7000"
    assert facts["valid total r2"] == "0.4000"
    assert facts["MLflow run"] == "run0"
    assert "why" not in facts


def test_what_a_trial_does_not_read_is_not_shown() -> None:
    values = {"weights.strategy": "equal", "weights.values.left": 7.25}
    fixed = {**values, "weights.strategy": "fixed"}
    text = shown(tables.trials_table([trial(1, params=fixed), trial(2, score=0.4, params=values)]))
    assert "7.25" in row_of(text, "#1")
    assert "7.25" not in row_of(text, "#2")
    assert "7.25" not in shown(tables.trial_table(trial(2, params=values)))


def test_a_traceback_is_shown_as_it_is() -> None:
    text = shown(tables.trial_table(TRIALS[4]))
    assert "[/tmp/x.py] broke" in text  # no markup


def test_the_frame_has_a_row_a_trial() -> None:
    frame = tables.trials_frame(TRIALS)
    assert frame["trial"].tolist() == [0, 1, 2, 3, 4]
    assert frame["state"].tolist() == ["complete", "pruned", "complete", "diverged", "failed"]
    assert frame["score.left"].tolist()[2] == pytest.approx(0.8)
    assert frame["lambda.total"].tolist() == [0.5] * 5
    assert frame["train.lr"].tolist() == pytest.approx([0.01, 0.02, 0.03, 0.04, 0.05])
    assert frame["reason"][3] == TRIALS[3].reason
    assert frame["reason"][4] == "", "a traceback is no cell of a table"
    assert isinstance(tables.trials_frame([]), pd.DataFrame)


def test_states_are_counted() -> None:
    assert tables.states_line(TRIALS) == "2 complete, 1 pruned, 1 diverged, 1 failed"
    assert tables.states_line([]) == "0 complete"


def test_the_end_of_a_search_is_counted_as_its_contract_is() -> None:
    found = {"trials": {"complete": 5, "pruned": 3, "diverged": 2, "failed": 1}, "seconds": 12.34}
    [line] = tables.search_lines(found)
    assert line == "9 trials: 5 complete, 3 pruned (2 diverged), 1 failed; 12.3 s"


def test_an_evaluation_is_shown_with_its_rows() -> None:
    evaluation = TRIALS[0].evaluation
    assert evaluation is not None
    found = {"trial": 0, "split": "test", "n_rows": evaluation.n_rows, "mean": evaluation.mean,
             "tasks": {**evaluation.tasks, "odd": {"r2": None}}}  # fmt: skip
    found["n_rows"] = {**evaluation.n_rows, "odd": 2}
    text = shown(tables.evaluation_table(found))
    assert "Trial #0 on test: mean score 0.5000" in text
    rows = [cells(line) for line in text.splitlines() if len(cells(line)) == 4]
    assert ["left", "accuracy", "0.6000", "30"] in rows
    assert ["total", "rmse", "2.5000", "40"] in rows
    assert ["odd", "r2", "", "2"] in rows


def test_gates_are_shown_with_what_was_measured() -> None:
    gates = [
        {"name": "beats_constant", "passed": True, "value": 0.25, "threshold": 0.0},
        {"name": "max_task_loss.left", "passed": False, "value": -0.2, "threshold": -0.01},
        {"name": "min_gain", "passed": True, "value": 0.03, "threshold": 0.0, "bound": 0.01,
         "note": "9 of 9 rows", "warns": False},
        {"name": "clean_git", "passed": True, "value": None, "threshold": None, "bound": None,
         "note": "changes", "warns": True},
    ]  # fmt: skip
    text = shown(tables.gates_table({"model": "m", "decision": "refused", "gates": gates}))
    assert "m: refused" in text
    assert row_of(text, "beats_constant")[:5] == ["beats_constant", "yes", "0.2500", "", "0.0000"]
    assert row_of(text, "max_task_loss.left")[1] == "no"
    assert row_of(text, "min_gain") == [
        "min_gain", "yes", "0.0300", "0.0100", "0.0000", "9 of 9 rows",
    ]  # fmt: skip
    assert row_of(text, "clean_git")[1:3] == ["warns", ""]


@pytest.mark.parametrize("said", ["promoted", "refused"])
def test_a_dry_run_says_what_would_be(said: str) -> None:
    decision = {"model": "m", "decision": said, "gates": [], "dry_run": True}
    assert f"m: would be {said}" in shown(tables.gates_table(decision))
