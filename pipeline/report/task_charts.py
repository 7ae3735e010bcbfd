"""Figures of how tasks go together: what matters for which, weights, fronts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from pipeline.driver.records import TrialRecord
from pipeline.evaluation.pareto import front
from pipeline.report.charts import (
    BLUE,
    GREY,
    ORANGE,
    RED,
    SCALE,
    Figure,
    Panels,
    bounds,
    label,
    short,
    tip,
)

Matrix = NDArray[np.float64]

MOST_PANELS_TASKS = 4
"""Tasks up to which every weight gets a panel with every task's score: 16 panels."""
MOST_PAIRS = 6
TICKS = [0.01, 0.03, 0.1, 0.3, 1, 3, 10]


def importance(found: Mapping[str, Mapping[str, float]]) -> Figure | None:
    """Returns the shares of `importances` as a table of colours: values down, targets across."""
    if not found:
        return None
    targets = list(found)
    first = found[targets[0]]
    params = sorted(first, key=lambda path: first[path])  # the largest on top
    shares = [[found[target][path] for target in targets] for path in params]
    return {"data": [{
        "type": "heatmap", "z": shares, "zmin": 0, "zmax": max(0.01, float(np.max(shares))),
        "x": [label(target) for target in targets], "y": [label(short(path)) for path in params],
        "text": [[f"{share:.0%}" for share in row] for row in shares], "texttemplate": "%{text}",
        "colorscale": [[0, "rgba(47,126,216,0.04)"], [1, BLUE]], "xgap": 3, "ygap": 3,
        "hovertemplate": "%{y} for %{x}: %{text}<extra></extra>", "showscale": False,
    }], "layout": {
        "height": 70 + 36 * len(params), "margin": {"t": 40, "b": 16},
        "xaxis": {"side": "top", "showgrid": False},
        "yaxis": {"showgrid": False, "automargin": True},
    }}  # fmt: skip


def weights(trials: Sequence[TrialRecord]) -> Figure | None:
    """Returns each loss weight against each task's score; of many tasks their rank correlations."""
    complete = [trial for trial in trials if trial.state == "complete" and trial.evaluation]
    tasks = list(complete[0].weights) if complete else []
    if len(tasks) < 2 or len(complete) < 3:
        return None
    values = np.array([[trial.weights[task] for task in tasks] for trial in complete])
    scores = np.array([[trial.evaluation.scores[task] for task in tasks]
                       for trial in complete if trial.evaluation])  # fmt: skip
    if (np.ptp(values, 0) <= 0).all():
        return None
    if len(tasks) > MOST_PANELS_TASKS:
        return _weight_ranks(tasks, values, scores)
    panels = Panels(len(tasks) ** 2, len(tasks), height=210)
    means = scores.mean(1).tolist()
    for i, scored in enumerate(tasks):
        for j, weighted in enumerate(tasks):
            x = {"type": "log", "tickvals": TICKS, "title": {"text": f"weight of {label(weighted)}"}
                 if i == len(tasks) - 1 else {}}  # fmt: skip
            y = {"title": {"text": f"score of {label(scored)}"} if j == 0 else {},
                 "range": bounds(scores[:, i].tolist())}  # fmt: skip
            name = panels.panel(i * len(tasks) + j, x, y)
            panels.add(
                name, type="scatter", mode="markers", x=values[:, j].tolist(),
                y=scores[:, i].tolist(), text=[tip(trial) for trial in complete],
                hovertemplate="%{text}<extra></extra>", showlegend=False,
                marker={"size": 7, "color": means, "colorscale": SCALE, "cmin": bounds(means)[0],
                        "cmax": max(means), "showscale": i == j == 0,
                        "colorbar": {"title": {"text": "score"}, "thickness": 12}},
            )  # fmt: skip
    return panels.figure()


def _weight_ranks(tasks: Sequence[str], values: Matrix, scores: Matrix) -> Figure:
    from scipy.stats import rankdata

    def ranks(columns: Matrix) -> Matrix:
        ranked: Matrix = rankdata(columns, axis=0)
        ranked -= ranked.mean(0)
        length = np.sqrt((ranked**2).sum(0))
        scaled: Matrix = ranked / np.where(length > 0, length, 1.0)
        return scaled

    found = ranks(scores).T @ ranks(values)  # (scored, weighted)
    names = [label(task) for task in tasks]
    return {"data": [{
        "type": "heatmap", "z": found.tolist(), "zmin": -1, "zmax": 1, "x": names, "y": names,
        "colorscale": [[0, RED], [0.5, "rgba(128,128,128,0.08)"], [1, BLUE]],
        "xgap": 2, "ygap": 2,
        "text": [[f"{value:+.1f}" for value in row] for row in found],
        "texttemplate": "%{text}" if len(tasks) <= 14 else "",
        "hovertemplate": "weight of %{x}, score of %{y}: %{z:.2f}<extra></extra>",
        "colorbar": {"title": {"text": "rank<br>correlation"}, "thickness": 12},
    }], "layout": {
        "height": 170 + 30 * len(tasks),
        "xaxis": {"title": {"text": "loss weight of"}, "automargin": True},
        "yaxis": {"title": {"text": "score of"}, "autorange": "reversed", "automargin": True},
    }}  # fmt: skip


def fronts(trials: Sequence[TrialRecord], chosen: int | None = None) -> Figure | None:
    """Returns the scores of pairs of tasks, and those trials that no other beats on both.

    Args:
        trials: Finished trials.
        chosen: Trial that the study ends with.
    """
    complete = [trial for trial in trials if trial.state == "complete" and trial.evaluation]
    tasks = list(complete[0].evaluation.scores) if complete and complete[0].evaluation else []
    pairs = list(combinations(tasks, 2))[:MOST_PAIRS]
    if not pairs or len(complete) < 3:
        return None
    panels = Panels(len(pairs), 3 if len(pairs) > 2 else 2, height=300)
    panels.layout["legend"] = {"orientation": "h", "y": 1.12}
    for index, (first, second) in enumerate(pairs):
        points = np.array([[trial.evaluation.scores[first], trial.evaluation.scores[second]]
                           for trial in complete if trial.evaluation])  # fmt: skip
        name = panels.panel(
            index,
            {"title": {"text": label(first)}, "range": bounds(points[:, 0].tolist())},
            {"title": {"text": label(second)}, "range": bounds(points[:, 1].tolist())},
        )
        on_front = set(front(points))
        line = sorted(on_front, key=lambda i: points[i, 0])
        best = [i for i, trial in enumerate(complete) if trial.number == chosen]
        for title, rows, look in (
            ("other trials", [i for i in range(len(points)) if i not in on_front],
             {"mode": "markers", "marker": {"color": GREY, "size": 7}}),
            ("front", line,
             {"mode": "markers+lines", "marker": {"color": BLUE, "size": 9},
              "line": {"color": BLUE, "width": 1, "dash": "dot"}}),
            ("chosen", best, {"mode": "markers", "marker": {
                "color": "rgba(0,0,0,0)", "size": 18, "line": {"color": ORANGE, "width": 3}}}),
        ):  # fmt: skip
            panels.add(
                name, type="scatter", name=title, legendgroup=title, showlegend=index == 0,
                x=points[rows, 0].tolist(), y=points[rows, 1].tolist(),
                text=[tip(complete[i]) for i in rows], hovertemplate="%{text}<extra></extra>",
                **look,
            )  # fmt: skip
    return panels.figure()
