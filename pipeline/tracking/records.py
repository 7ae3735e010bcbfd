"""What is told to a tracker: how a trial starts and ends, and how its metrics are named."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

State = Literal["complete", "pruned", "diverged", "failed", "interrupted"]

STATUS: Mapping[str, str] = {
    "complete": "FINISHED",
    "pruned": "KILLED",
    "diverged": "KILLED",
    "failed": "FAILED",
    "interrupted": "KILLED",
}
"""MLflow status of each state. Only the tag `state` tells pruned from interrupted."""

RUNNING = "running"
"""Value of the tag `state` before a run ends."""


@dataclass(frozen=True)
class TrialStart:
    """A run that begins.

    Attributes:
        number: Of the trial; of the run within its row for baselines, finalists, manual runs.
        name: Shown in the UI, such as "#17".
        params: Resolved values by dotted path; nested lists are written as JSON.
        seed: Of the trial.
        tags: More tags.
        row: Row of the comparison; None for a trial of the search.
        timestamp_ms: When it began, in milliseconds since 1970.
    """

    number: int
    name: str
    params: Mapping[str, Any]
    seed: int | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    row: str | None = None
    timestamp_ms: int = field(default_factory=lambda: now_ms())

    def run_tags(self) -> dict[str, str]:
        """Returns the tags that the run begins with."""
        tags = {
            "kind": "trial" if self.row is None else "row",
            "trial": str(self.number),
            "state": RUNNING,
        }
        if self.row is not None:
            tags["row"] = self.row
        if self.seed is not None:
            tags["seed"] = str(self.seed)
        return {**tags, **self.tags}


@dataclass(frozen=True)
class TrialEnd:
    """A run that ends. Telling the same end twice changes nothing.

    Attributes:
        state: How it ended.
        reason: Why, in one sentence: "below the median at epoch 7".
        metrics: Final values by metric name. One that also came with epochs is shown with the
            value of the largest `step`, the later of two at one step.
        step: Epoch that `metrics` belong to, such as the last one.
        seconds: Duration of each phase; logged as the metric `seconds/PHASE`.
        tags: More tags, such as sizes.
        traceback: Of a failure; kept as the artifact traceback.txt.
        files: More artifacts, name to text.
        timestamp_ms: When it ended, in milliseconds since 1970.
    """

    state: State
    reason: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)
    step: int = 0
    seconds: Mapping[str, float] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    traceback: str | None = None
    files: Mapping[str, str] = field(default_factory=dict)
    timestamp_ms: int = field(default_factory=lambda: now_ms())

    def all_metrics(self) -> dict[str, float]:
        """Returns the final values and the durations."""
        durations = {f"seconds/{phase}": value for phase, value in self.seconds.items()}
        return {**self.metrics, **durations}


@dataclass(frozen=True)
class RunRecord:
    """A child run as the store has it.

    Attributes:
        run_id: MLflow's id.
        number: Of the trial, None where the tag is missing.
        status: MLflow's status.
        state: Tag `state`.
        row: Tag `row`, None for a trial of the search.
    """

    run_id: str
    number: int | None
    status: str
    state: str
    row: str | None


def now_ms() -> int:
    """Returns the time in milliseconds since 1970."""
    return time.time_ns() // 1_000_000


def metric_name(*parts: str) -> str:
    """Joins parts to a name that MLflow allows: `valid/income/roc_auc`.

    Only letters, digits, `_ - . : /` and spaces are allowed and a part may be no step of a path,
    so anything else becomes `_`.
    """
    cleaned = (re.sub(r"[^\w.\- :]", "_", part) for part in parts)
    return "/".join("_" if part in ("", ".", "..") else part for part in cleaned)
