"""Figures of comparisons: the rows with their intervals, tuned against alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.report.charts import BLUE, GREEN, GREY, ORANGE, RED, Figure, label

VERDICTS = {"together": GREEN, "alone": RED, "unclear": GREY, "neither": ORANGE}


def rows(documents: Sequence[Mapping[str, Any]]) -> Figure | None:
    """Returns the mean score of every row with its 95 % interval, the best on top."""
    several = len(documents) > 1
    found = [
        (f"{document['study']}: {row['name']}" if several else row["name"], row)
        for document in documents
        for row in document["rows"]
    ]
    # Some rows are the same for every study of the same data.
    once = {} if several else {name: row for name, row in found}
    for name, row in found if several else ():
        plain = row["kind"] in ("linear", "boosting", "constant")
        once.setdefault(row["name"] if plain else name, row)
    if not once:
        return None
    ranked = sorted(once.items(), key=lambda item: item[1]["mean"])
    names = [label(name) for name, _ in ranked]
    means = [row["mean"] for _, row in ranked]
    ends = [row["interval"] for _, row in ranked]
    return {"data": [{
        "type": "scatter", "mode": "markers", "x": means, "y": names, "showlegend": False,
        "marker": {"size": 11, "color": [BLUE if row["kind"] == "tuned" else GREY
                                         for _, row in ranked]},
        "error_x": {"type": "data", "symmetric": False, "thickness": 2, "width": 5,
                    "array": [high - mean for mean, (_, high) in zip(means, ends, strict=True)],
                    "arrayminus": [mean - low for mean, (low, _) in zip(means, ends, strict=True)],
                    "color": GREY},
        "text": [f"{row['mean']:.4f} ({low:.4f} to {high:.4f})"
                 for (_, row), (low, high) in zip(ranked, ends, strict=True)],
        "hovertemplate": "%{y}: %{text}<extra></extra>",
    }], "layout": {
        "height": 84 + 36 * len(names), "margin": {"t": 16},
        "xaxis": {"title": {"text": f"mean score on {documents[0]['split']}"}, "zeroline": False},
        "yaxis": {"automargin": True, "type": "category"},
    }}  # fmt: skip


def differences(documents: Sequence[Mapping[str, Any]]) -> Figure | None:
    """Returns, for each task, the tuned row's score less that of the task alone."""
    several = len(documents) > 1
    found = [
        (f"{document['study']}: {task}" if several else task, one, document["verdicts"][task])
        for document in documents
        for task, one in document["differences"].items()
    ]
    if not found:
        return None
    data = []
    for verdict, colour in VERDICTS.items():
        own = [(name, one) for name, one, said in found if said == verdict]
        data.append({
            "type": "scatter", "mode": "markers", "name": verdict, "showlegend": bool(own),
            "x": [one["difference"] for _, one in own], "y": [label(name) for name, _ in own],
            "marker": {"size": 11, "color": colour},
            "error_x": {"type": "data", "symmetric": False, "thickness": 2, "width": 5,
                        "color": colour,
                        "array": [one["high"] - one["difference"] for _, one in own],
                        "arrayminus": [one["difference"] - one["low"] for _, one in own]},
            "hovertemplate": "%{y}: %{x:+.4f}<extra></extra>",
        })  # fmt: skip
    names = [label(name) for name, _, _ in found]
    return {"data": [trace for trace in data if trace["x"]], "layout": {
        "height": 130 + 36 * len(names), "legend": {"orientation": "h", "y": 1.15},
        "xaxis": {"title": {"text": "tuned minus alone"}, "zeroline": True, "zerolinewidth": 2},
        "yaxis": {"automargin": True, "type": "category", "categoryorder": "array",
                  "categoryarray": names[::-1]},
    }}  # fmt: skip
