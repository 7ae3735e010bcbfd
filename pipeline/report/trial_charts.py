"""Figures of a study's trials: their history, their values, their learning curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pipeline.driver.records import TrialRecord
from pipeline.report.charts import (
    BLUE,
    GREY,
    ORANGE,
    PALETTE,
    SCALE,
    Figure,
    Panels,
    bounds,
    label,
    short,
    tip,
)
from pipeline.study.ranges import AnyRange, Choices
from pipeline.tracking.records import metric_name

STATES = {"complete": BLUE, "pruned": GREY}
MOST_CURVES = 10
MOST_AXES = 9
"""Values that have an axis: more are too narrow to be read."""
MOST_TASKS = 5
"""Tasks whose curves are shown beside that of the mean: six panels."""


def history(trials: Sequence[TrialRecord]) -> Figure | None:
    """Returns the score of every trial that has one by its number, and the best so far."""
    shown = [trial for trial in trials if trial.score is not None]
    if not shown:
        return None
    data = []
    for state, colour in STATES.items():
        own = [trial for trial in shown if trial.state == state]
        if own:
            data.append({
                "type": "scatter", "mode": "markers", "name": state,
                "x": [trial.number for trial in own], "y": [trial.score for trial in own],
                "text": [tip(trial) for trial in own], "hovertemplate": "%{text}<extra></extra>",
                "marker": {"color": colour, "size": 8, "symbol":
                           "circle" if state == "complete" else "x-thin-open"},
            })  # fmt: skip
    complete = [trial for trial in shown if trial.state == "complete"]
    best = np.maximum.accumulate([trial.score or 0.0 for trial in complete]).tolist()
    data.append({
        "type": "scatter", "mode": "lines", "name": "best so far", "hoverinfo": "skip",
        "x": [trial.number for trial in complete], "y": best,
        "line": {"shape": "hv", "color": ORANGE, "width": 2},
    })  # fmt: skip
    return {"data": data, "layout": {
        "height": 380, "xaxis": {"title": {"text": "trial"}},
        "yaxis": {"title": {"text": "mean valid score"}, "range": bounds([t.score for t in shown])},
    }}  # fmt: skip


def parallel(
    trials: Sequence[TrialRecord],
    ranges: Mapping[str, AnyRange],
    shares: Mapping[str, float] | None = None,
) -> Figure | None:
    """Returns every complete trial as a line through its values, its tasks' scores, its score.

    Args:
        trials: Finished trials.
        ranges: What is searched.
        shares: Importance of each value; where there are more than axes, the largest are shown.
    """
    complete = [trial for trial in trials if trial.state == "complete" and trial.evaluation]
    if len(complete) < 2:
        return None
    ranked = sorted(ranges, key=lambda path: -(shares or {}).get(path, 0.0))[:MOST_AXES]
    axes = [_axis(path, ranges[path], complete) for path in ranges if path in ranked]
    evaluations = [trial.evaluation for trial in complete if trial.evaluation is not None]
    tasks = list(evaluations[0].scores)
    if 1 < len(tasks) <= MOST_TASKS:
        axes += [{"label": label(task), "values": [one.scores[task] for one in evaluations]}
                 for task in tasks]  # fmt: skip
    means = [one.mean for one in evaluations]
    axes.append({"label": "mean score", "values": means})
    return {"data": [{
        "type": "parcoords", "dimensions": axes, "labelangle": -18, "labelside": "top",
        "line": {"color": means, "colorscale": SCALE, "showscale": True,
                 "cmin": bounds(means)[0], "cmax": max(means),
                 "colorbar": {"title": {"text": "score"}, "thickness": 12}},
    }], "layout": {"height": 460, "margin": {"l": 70, "r": 30, "t": 110, "b": 30}}}  # fmt: skip


def _axis(path: str, found: AnyRange, trials: Sequence[TrialRecord]) -> dict[str, Any]:
    values = [trial.params.get(path) for trial in trials]
    if isinstance(found, Choices):
        names = [str(name) for name in found.labels()]
        places = [names.index(str(value)) for value in values]
        return {"label": label(short(path)), "values": places, "range": [0, max(1, len(names) - 1)],
                "tickvals": list(range(len(names))), "ticktext": names}  # fmt: skip
    numbers = [float(value) if isinstance(value, int | float) else found.centre()
               for value in values]  # fmt: skip
    if not found.log:
        return {"label": label(short(path)), "values": numbers, "range": [found.low, found.high]}
    low, high = np.log10([found.low, found.high])
    ticks = np.linspace(low, high, 5).tolist()
    return {"label": label(short(path)), "values": np.log10(numbers).tolist(),
            "range": [float(low), float(high)], "tickvals": ticks,
            "ticktext": [f"{10**tick:.2g}" for tick in ticks]}  # fmt: skip


def curves(best: Sequence[TrialRecord]) -> Figure | None:
    """Returns how the score and each task's metric went over the epochs of trials."""
    shown = [trial for trial in best if trial.history][:MOST_CURVES]
    if not shown:
        return None
    infos = shown[0].tasks[:MOST_TASKS]
    names = {"mean score": "score"}
    if len(shown[0].tasks) > 1:
        names |= {f"{info.name} {info.metric}": metric_name("valid", info.name, info.metric)
                  for info in infos}  # fmt: skip
    panels = Panels(len(names), 3 if len(names) != 4 else 2, height=280)
    panels.layout["legend"] = {"orientation": "h", "y": 1.14}
    for index, (title, metric) in enumerate(names.items()):
        name = panels.panel(index, {"title": {"text": "epoch"}}, {}, label(title))
        for colour, trial in zip(PALETTE, shown, strict=False):
            found = [(epoch.epoch, epoch.metrics.get(metric)) for epoch in trial.history]
            panels.add(
                name, type="scatter", mode="lines", name=trial.label, legendgroup=trial.label,
                showlegend=index == 0, line={"color": colour, "width": 1.8},
                x=[epoch for epoch, _ in found], y=[value for _, value in found],
                hovertemplate=f"{trial.label}, epoch %{{x}}: %{{y:.4f}}<extra></extra>",
            )  # fmt: skip
            at_best = [(e, value) for e, value in found if e == trial.best_epoch]
            panels.add(
                name, type="scatter", mode="markers", showlegend=False, legendgroup=trial.label,
                x=[e for e, _ in at_best], y=[value for _, value in at_best], hoverinfo="skip",
                marker={"color": colour, "size": 8},
            )  # fmt: skip
    return panels.figure()
