"""Links into MLflow's UI, and the notes that it shows on a study's pages."""

from __future__ import annotations

from urllib.parse import quote

_BY_SCORE = "orderByKey=metrics.%60score%60&orderByAsc=false"


def runs_page(experiment_id: str, condition: str = "") -> str:
    """Returns the part of a URL after the host: the trials by score, best first.

    Sorted by creation, which is the UI's default, it shows the parent run only.

    Args:
        experiment_id: Of the study.
        condition: MLflow's filter, such as "tags.state = 'pruned'".
    """
    found = f"searchFilter={quote(condition, safe='')}&" if condition else ""
    return f"#/experiments/{experiment_id}/runs?{found}{_BY_SCORE}"


def run_page(experiment_id: str, run_id: str) -> str:
    """Returns the part of a URL after the host of one run's page."""
    return f"#/experiments/{experiment_id}/runs/{run_id}"


def experiment_note(name: str, experiment_id: str) -> str:
    """Returns what stands above the table of runs."""
    return f"Study **{name}**: [trials by score]({runs_page(experiment_id)})"


def running_note(name: str, experiment_id: str) -> str:
    """Returns what stands on the parent's page until the study ends."""
    states = ", ".join(
        f"[{state}]({_trials_page(experiment_id, state)})"
        for state in ("complete", "pruned", "diverged", "failed")
    )
    everything = f"[trials by score]({runs_page(experiment_id)})"
    return f"Study **{name}** is running.\n\nSee {everything}, or only those {states}."


def _trials_page(experiment_id: str, state: str) -> str:
    return runs_page(experiment_id, f"tags.kind = 'trial' and tags.state = '{state}'")
