"""Saved views of MLflow's UI, so that nobody has to choose columns and charts first.

The UI keeps a view that somebody saves as a tag of the experiment: a name and the state of its
page as JSON. The same is written here, as the UI of MLflow 3.17 reads it. Another version may not
know a view; then it shows its own default, and everything can still be chosen by hand.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

from pipeline.tracking.pages import ROWS, TRIALS

_TAG = "mlflow.sharedViewState."
_LIMIT = 20_000  # characters of a tag of an experiment
_MOST_TASKS, _MOST_PARAMS, _MOST_PAIRS = 20, 30, 6
_SECTIONS = (
    ("values", "Searched values and scores", 1, 420),
    ("tasks", "Task against task", 3, 360),
)
"""Sections of charts: key, name, columns, height in pixels."""


def view_tags(tasks: Mapping[str, str], searched: Sequence[str], now_ms: int) -> dict[str, str]:
    """Returns the tags of an experiment that hold the views of a study.

    `trials` shows the trials by score, with the scores of tasks and the searched values, and
    charts of both; `rows` the finalists and the rows to compare, with what was read of test.

    Args:
        tasks: Task to the name of its primary metric; of many the first are shown.
        searched: Parameters that differ between trials, as they are named in runs.
        now_ms: When they are made, in milliseconds since 1970.
    """
    shown = dict(list(tasks.items())[:_MOST_TASKS])
    params = list(searched[:_MOST_PARAMS])
    valid, test = ([f"{part}/{task}/{metric}" for task, metric in shown.items()]
                   for part in ("valid", "test"))  # fmt: skip
    states = {
        TRIALS: ("Trials by score", _view("tags.kind = 'trial'", "score", [
            *_columns("metrics", ["score", *valid]), *_columns("params", params),
            *_columns("tags", ["state"]),
        ], _charts(valid, params))),
        ROWS: ("Finalists and rows to compare", _view("tags.kind = 'row'", "test/score", [
            *_columns("tags", ["row", "state"]),
            *_columns("metrics", ["test/score", *test, "score", *valid]),
        ], [])),
    }  # fmt: skip
    tags = {
        f"{_TAG}{key}": json.dumps(
            {"name": name, "createdAt": now_ms, "updatedAt": now_ms, "state": json.dumps(state)}
        )
        for key, (name, state) in states.items()
    }
    return {key: text for key, text in tags.items() if len(text) <= _LIMIT}


def _view(
    condition: str, metric: str, columns: Sequence[str], charts: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    sections = [
        {"uuid": key, "name": name, "display": True, "isReordered": True, "deleted": False,
         "isGenerated": False, "columns": columns, "cardHeight": height}
        for key, name, columns, height in _SECTIONS
        if any(chart["metricSectionId"] == key for chart in charts)
    ]  # fmt: skip
    return {
        "searchFilter": condition,
        "orderByKey": f"metrics.`{metric}`",
        "orderByAsc": False,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "datasetsFilter": [],
        "modelVersionFilter": "All Runs",
        "selectedColumns": list(columns),
        "columnOrder": list(columns),
        "columnWidths": {},
        "runsHiddenMode": "FIRST_10_RUNS",
        # The charts of single metrics are added by the UI, in a section for each prefix.
        "compareRunCharts": list(charts) or None,
        "compareRunSections": sections or None,
        "isAccordionReordered": bool(charts),  # else it sorts the sections by name
        "viewMaximized": False,
        "runListHidden": False,
        "useGroupedValuesInCharts": True,
        "hideEmptyCharts": True,
        "groupBy": None,
        "groupsExpanded": {},
        "globalLineChartConfig": {
            "xAxisKey": "step", "lineSmoothness": 0, "selectedXAxisMetricKey": "",
        },
    }  # fmt: skip


def _columns(kind: str, names: Sequence[str]) -> list[str]:
    return [f"{kind}.`{name}`" for name in names]


def _charts(valid: Sequence[str], params: Sequence[str]) -> list[dict[str, Any]]:
    """Returns parallel coordinates of what is searched, and each two tasks against each other."""
    parallel: dict[str, Any] = {
        "type": "PARALLEL", "metricSectionId": "values", "selectedParams": list(params),
        "selectedMetrics": [*valid, "score"], "showAllRuns": True,
    }  # fmt: skip
    pairs: list[dict[str, Any]] = [
        {"type": "SCATTER", "metricSectionId": "tasks",
         "xaxis": {"key": x, "type": "METRIC"}, "yaxis": {"key": y, "type": "METRIC"}}
        for x, y in list(combinations(valid, 2))[:_MOST_PAIRS]
    ]  # fmt: skip
    common = {"runsCountToCompare": 100, "deleted": False, "isGenerated": False}
    return [
        {**chart, "uuid": f"overview-{index}", **common}
        for index, chart in enumerate([parallel, *pairs])
    ]
