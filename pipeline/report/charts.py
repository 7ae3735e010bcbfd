"""What the figures of the report have in common: colours, panels, names, bounds of axes.

A figure is a plain value with `data` and `layout` that plotly.js draws; Plotly itself is not
imported. Text, grid and paper get their colours from the page, light or dark, when it is drawn.
"""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pipeline.driver.records import TrialRecord
from pipeline.study.catalogue import read_params

Figure = dict[str, Any]

BLUE, ORANGE, GREEN, RED, GREY = "#2f7ed8", "#e07b00", "#1a9c6b", "#d64550", "#9aa4b1"
PALETTE = (BLUE, ORANGE, GREEN, "#b05fb8", RED, "#8a6d3b", "#00a3b4", "#d4a20c", "#6b7fd7", GREY)
"""Told apart by people with any colour vision, on white and on dark paper."""

SCALE = "Viridis"


@dataclass
class Panels:
    """Panels of one figure in a grid, with axes of their own.

    Args:
        count: How many.
        columns: In a row.
        height: Of a row of panels, in pixels.
    """

    count: int
    columns: int
    height: int = 270
    data: list[dict[str, Any]] = field(default_factory=list)
    layout: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.columns = max(1, min(self.columns, self.count))
        self.rows = -(-self.count // self.columns)
        self.layout |= {"height": 60 + self.rows * self.height, "annotations": []}

    def panel(self, index: int, x: Mapping[str, Any], y: Mapping[str, Any], title: str = "") -> str:
        """Places the axes of a panel; returns what its traces' axes end with."""
        row, column = divmod(index, self.columns)
        gap_x, gap_y = 0.09 if self.columns > 1 else 0, 0.28 / self.rows if self.rows > 1 else 0
        width = (1 - gap_x * (self.columns - 1)) / self.columns
        height = (1 - gap_y * (self.rows - 1)) / self.rows
        left, top = column * (width + gap_x), 1 - row * (height + gap_y)
        name = "" if index == 0 else str(index + 1)
        across, upwards = [left, min(1.0, left + width)], [max(0.0, top - height), top]
        self.layout[f"xaxis{name}"] = {"domain": across, "anchor": f"y{name}", **x}
        self.layout[f"yaxis{name}"] = {"domain": upwards, "anchor": f"x{name}", **y}
        if title:
            self.layout["annotations"].append({
                "text": f"<b>{title}</b>", "x": left, "y": top, "xref": "paper", "yref": "paper",
                "xanchor": "left", "yanchor": "bottom", "showarrow": False,
            })  # fmt: skip
        return name

    def add(self, axes: str, /, **trace: Any) -> None:
        """Adds a trace to a panel."""
        self.data.append({"xaxis": f"x{axes}", "yaxis": f"y{axes}", **trace})

    def figure(self) -> Figure:
        """Returns the figure."""
        return {"data": self.data, "layout": self.layout}


def label(text: str) -> str:
    """Returns a name as plotly.js shows it unchanged: it reads marks of HTML."""
    return html.escape(text, quote=False)


def short(path: str) -> str:
    """Returns a dotted path without the section's name."""
    return path.replace("weights.values.", "weight ").removeprefix("train.").removeprefix("model.")


def tip(trial: TrialRecord) -> str:
    """Returns what is shown of a trial where the pointer is: its scores and its values."""
    lines = [f"<b>{trial.label}</b> {trial.state}, {trial.score or 0:.4f}"]
    if trial.evaluation is not None:
        lines += [f"{label(task)} {score:.4f}" for task, score in trial.evaluation.scores.items()]
    lines += [f"{label(short(path))} = {_value(value)}"
              for path, value in read_params(trial.params).items()]  # fmt: skip
    return "<br>".join(lines[:24])


def _value(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else label(str(value))


def bounds(values: Sequence[float | None]) -> list[float]:
    """Returns bounds of an axis that a few very low scores do not stretch.

    Scores far below the others (further than three times the range of their better three
    quarters) are left outside; they are reached by zooming out.
    """
    finite = np.array([value for value in values if value is not None and np.isfinite(value)])
    high, middle = float(finite.max()), float(np.quantile(finite, 0.25))
    low = max(float(finite.min()), high - 4 * (high - middle) - 1e-9)
    margin = 0.06 * (high - low) or 0.01
    return [low - margin, high + margin]
