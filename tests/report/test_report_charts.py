"""Figures of the report: plotly knows every property, and they show what the trials are."""

import math
from typing import Any

import numpy as np
import pytest
from plotly.graph_objects import Figure
from searched_cases import RANGES, searched
from test_report_comparison import document

from pipeline.driver.records import best_trials
from pipeline.report import row_charts, task_charts, trial_charts
from pipeline.report.importance import FEWEST, MEAN, importances

TRIALS = searched(40)
COMPLETE = [trial for trial in TRIALS if trial.state == "complete"]
DIFFERENCES = {"left": {"difference": 0.1, "low": 0.05, "high": 0.15},
               "total": {"difference": -0.01, "low": -0.05, "high": 0.03}}  # fmt: skip
COMPARED = document(differences=DIFFERENCES)

FIGURES = {
    "history": trial_charts.history(TRIALS),
    "parallel": trial_charts.parallel(TRIALS, RANGES),
    "curves": trial_charts.curves(best_trials(TRIALS, 10)),
    "importance": task_charts.importance(importances(TRIALS, RANGES)),
    "weights": task_charts.weights(TRIALS),
    "weights of many": task_charts.weights(searched(40, tuple("abcdef"))),
    "fronts": task_charts.fronts(TRIALS, 0),
    "rows": row_charts.rows([COMPARED]),
    "rows of two": row_charts.rows([COMPARED, {**COMPARED, "study": "other"}]),
    "differences": row_charts.differences([COMPARED]),
}


@pytest.mark.parametrize("name", FIGURES)
def test_plotly_knows_every_property(name: str) -> None:
    figure = FIGURES[name]
    assert figure is not None
    assert Figure(figure).data  # it raises on a property or a value that it does not know


def test_every_axis_of_a_trace_is_laid_out() -> None:
    for figure in FIGURES.values():
        for trace in figure["data"] if figure else ():
            for axis in ("x", "y"):
                name = trace.get(f"{axis}axis", axis)
                if "xaxis" in trace:
                    assert f"{axis}axis{name[1:]}" in figure["layout"]


def test_history_has_the_trials_and_their_running_best() -> None:
    found = {trace["name"]: trace for trace in FIGURES["history"]["data"]}
    assert found["complete"]["x"] == [trial.number for trial in COMPLETE]
    assert found["pruned"]["x"] == [4, 9, 14, 19, 24, 29, 34, 39]
    best, expected = -math.inf, []
    for trial in COMPLETE:
        best = max(best, trial.score)
        expected.append(best)
    assert found["best so far"]["y"] == pytest.approx(expected)


def test_parallel_coordinates_go_back_to_the_values() -> None:
    [trace] = FIGURES["parallel"]["data"]
    axes = {axis["label"]: axis for axis in trace["dimensions"]}
    assert list(axes) == ["lr", "weight_decay", "layers", "weight total", "left", "total",
                          "mean score"]  # fmt: skip
    back = 10 ** np.array(axes["lr"]["values"])
    assert back == pytest.approx([trial.params["train.lr"] for trial in COMPLETE])
    names = [axes["layers"]["ticktext"][place] for place in axes["layers"]["values"]]
    assert names == [trial.params["model.layers"] for trial in COMPLETE]
    assert axes["lr"]["range"] == [-4, -1]


def test_weights_stand_against_scores_in_every_pair() -> None:
    traces = FIGURES["weights"]["data"]
    assert len(traces) == 4
    for trace, (scored, weighted) in zip(
        traces, [(i, j) for i in ("left", "total") for j in ("left", "total")], strict=True
    ):
        assert trace["x"] == [trial.weights[weighted] for trial in COMPLETE]
        assert trace["y"] == [trial.evaluation.scores[scored] for trial in COMPLETE]


def test_rank_correlations_are_those_of_scipy() -> None:
    from scipy.stats import spearmanr

    trials = searched(40, tuple("abcdef"))
    complete = [trial for trial in trials if trial.state == "complete"]
    [trace] = FIGURES["weights of many"]["data"]
    expected = spearmanr([trial.weights["f"] for trial in complete],
                         [trial.evaluation.scores["b"] for trial in complete])  # fmt: skip
    assert trace["z"][1][5] == pytest.approx(expected.statistic)
    assert trace["z"][1][5] > 0.99  # task b rises with the weight of task f


def test_the_front_has_the_trials_that_none_beats_on_both() -> None:
    found = {trace["name"]: trace for trace in FIGURES["fronts"]["data"]}
    points = [tuple(trial.evaluation.scores.values()) for trial in COMPLETE]
    expected = {p for p in points if not any(q != p and q[0] >= p[0] and q[1] >= p[1]
                                             for q in points)}  # fmt: skip
    assert set(zip(found["front"]["x"], found["front"]["y"], strict=True)) == expected
    assert len(found["other trials"]["x"]) == len(points) - len(expected)
    assert found["chosen"]["x"] == [COMPLETE[0].evaluation.scores["left"]]


def test_curves_end_where_the_trial_ended() -> None:
    best = best_trials(TRIALS, 10)
    lines = [trace for trace in FIGURES["curves"]["data"] if trace["mode"] == "lines"]
    assert len(lines) == 30  # the mean and two tasks
    assert lines[0]["name"] == best[0].label
    assert lines[0]["y"][-1] == pytest.approx(best[0].score)


def test_importance_finds_what_matters_for_which_task() -> None:
    found = importances(TRIALS, RANGES)
    assert set(found) == {MEAN, "left", "total"}
    for shares in found.values():
        assert sum(shares.values()) == pytest.approx(1)
    assert max(found["left"], key=lambda path: found["left"][path]) == "train.lr"
    assert max(found["total"], key=lambda path: found["total"][path]) == "weights.values.total"


def test_importance_of_few_trials_or_of_nothing_is_not_told() -> None:
    assert importances(COMPLETE[: FEWEST - 1], RANGES) == {}
    assert importances(COMPLETE, {}) == {}


def test_rows_are_shown_with_their_intervals() -> None:
    [trace] = FIGURES["rows"]["data"]
    assert trace["y"] == ["constant", "each task alone", "tuned"]
    assert trace["error_x"]["array"] == pytest.approx([0.05] * 3)
    names = FIGURES["rows of two"]["data"][0]["y"]
    assert sorted(names) == ["constant", "other: each task alone", "other: tuned",
                             "s: each task alone", "s: tuned"]  # fmt: skip


def test_differences_have_the_colour_of_their_verdict() -> None:
    traces = {trace["name"]: trace for trace in FIGURES["differences"]["data"]}
    assert traces["together"]["x"] == [0.1]
    assert traces["neither"]["y"] == ["total"]
    assert traces["together"]["marker"]["color"] != traces["neither"]["marker"]["color"]


NOTHING: dict[str, Any] = {
    "no trial": [],
    "none complete": [trial for trial in TRIALS if trial.state != "complete"],
    "one": COMPLETE[:1],
}


@pytest.mark.parametrize("trials", NOTHING.values(), ids=NOTHING)
def test_little_is_shown_of_little(trials: list[Any]) -> None:
    assert task_charts.fronts(trials) is None
    assert task_charts.weights(trials) is None
    assert trial_charts.parallel(trials, RANGES) is None
    history = trial_charts.history(trials)
    assert (history is None) == (not trials)
