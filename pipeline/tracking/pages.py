"""Pages of MLflow's UI as the part of a URL after the host, and the notes on a study's pages."""

from __future__ import annotations

import json
from collections.abc import Sequence
from urllib.parse import quote

_BY_SCORE = "orderByKey=metrics.%60score%60&orderByAsc=false"

TRIALS, ROWS = "trials", "rows"
"""Names of the views that a study's experiment has; see `views`."""

STATES = ("complete", "pruned", "diverged", "failed")
"""Values of the tag `state` of a trial that has ended."""


def runs_page(experiment_id: str, condition: str = "") -> str:
    """Returns the page of the trials by score, best first.

    Sorted by creation, which is the UI's default, it shows the parent run only.

    Args:
        experiment_id: Of the study.
        condition: MLflow's filter, such as "tags.state = 'pruned'".
    """
    found = f"searchFilter={quote(condition, safe='')}&" if condition else ""
    return f"#/experiments/{experiment_id}/runs?{found}{_BY_SCORE}"


def trials_page(experiment_id: str, state: str) -> str:
    """Returns the page of the trials that ended so."""
    return runs_page(experiment_id, trials_condition(state))


def trials_condition(state: str) -> str:
    """Returns MLflow's filter of the trials that ended so."""
    return f"tags.kind = 'trial' and tags.state = '{state}'"


def view_page(experiment_id: str, view: str, charts: bool = False) -> str:
    """Returns the page of the runs as one of the study's saved views shows them; see `views`."""
    mode = "&compareRunsMode=CHART" if charts else ""
    return f"#/experiments/{experiment_id}/runs?viewStateShareKey={view}{mode}"


def compare_page(experiment_id: str, run_ids: Sequence[str]) -> str:
    """Returns the page that compares runs: their values side by side, parallel coordinates."""
    runs, experiments = (
        quote(json.dumps(ids, separators=(",", ":")), safe="")
        for ids in (list(run_ids), [experiment_id])
    )
    return f"#/compare-runs?runs={runs}&experiments={experiments}"


def run_page(experiment_id: str, run_id: str) -> str:
    """Returns the page of one run."""
    return f"#/experiments/{experiment_id}/runs/{run_id}"


def file_page(experiment_id: str, run_id: str, path: str) -> str:
    """Returns the page that shows a file of a run."""
    return f"{run_page(experiment_id, run_id)}/artifacts/{quote(path)}"


def model_page(experiment_id: str, model_id: str) -> str:
    """Returns the page of a model that a run has logged."""
    return f"#/experiments/{experiment_id}/models/{model_id}"


def version_page(model: str, version: str) -> str:
    """Returns the page of a version of a registered model."""
    return f"#/models/{quote(model, safe='')}/versions/{version}"


def note_head(name: str) -> str:
    """Returns what the note of a study's experiment begins with."""
    return f"Study **{name}**"


def experiment_note(name: str, experiment_id: str, run_id: str | None = None) -> str:
    """Returns what stands above the table of runs.

    Args:
        name: Of the study.
        experiment_id: Its experiment.
        run_id: Its parent run, once there is one.
    """
    links = {} if run_id is None else {"result, filters, commands": run_page(experiment_id, run_id)}
    links["trials by score"] = view_page(experiment_id, TRIALS)
    links["charts"] = view_page(experiment_id, TRIALS, charts=True)
    links["finalists and rows to compare"] = view_page(experiment_id, ROWS)
    return f"{note_head(name)}: " + ", ".join(f"[{text}]({page})" for text, page in links.items())


def running_note(name: str, experiment_id: str) -> str:
    """Returns what stands on the parent's page until the study ends."""
    states = ", ".join(f"[{state}]({trials_page(experiment_id, state)})" for state in STATES)
    everything = f"[trials by score]({view_page(experiment_id, TRIALS)})"
    return f"Study **{name}** is running.\n\nSee {everything}, or only those {states}."
