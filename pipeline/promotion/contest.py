"""How a candidate does against another model, on the same rows under the same draws. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.evaluation.evaluate import Evaluation
from pipeline.evaluation.verdicts import Difference, Scores, difference, mean_scores


@dataclass(frozen=True)
class Change:
    """What a candidate gains.

    Attributes:
        gain: Mean over the tasks that both answer of the candidate's score minus the other's.
        low: What the true gain exceeds with the confidence that was asked for.
        tasks: Task to its own change, and the two bounds that each hold with that confidence.
    """

    gain: float
    low: float
    tasks: Mapping[str, tuple[float, float, float]]

    def to_json(self) -> dict[str, Any]:
        """Returns plain JSON values."""
        names = ("change", "low", "high")
        tasks = {task: dict(zip(names, found, strict=True)) for task, found in self.tasks.items()}
        return {"gain": self.gain, "low": self.low, "tasks": tasks}


@dataclass(frozen=True)
class Contest:
    """A candidate and the champion on the test rows that neither has seen.

    Attributes:
        n_rows: Test rows.
        n_compared: Those that count.
        n_trained: Test rows left out because the champion was trained on them.
        n_chosen: Test rows left out because the champion was chosen on them, as valid rows.
        n_own: Test rows left out because they are also train or valid rows of the candidate.
        knows_rows: Whether the champion tells what it was trained on.
        change: What the candidate gains; None where a task has no row left.
        champion: The champion's metrics on the rows that count; None likewise.
        candidate: Likewise of the candidate.
    """

    n_rows: int
    n_compared: int
    n_trained: int = 0
    n_chosen: int = 0
    n_own: int = 0
    knows_rows: bool = True
    change: Change | None = None
    champion: Evaluation | None = None
    candidate: Evaluation | None = None

    @property
    def note(self) -> str:
        """Which rows count, as a phrase."""
        if not self.knows_rows:
            return f"{self.n_rows} rows; the champion does not tell what it was trained on"
        left_out = {
            "trained on": self.n_trained, "chosen on": self.n_chosen, "in our train": self.n_own,
        }  # fmt: skip
        why = ", ".join(f"{n} {what}" for what, n in left_out.items() if n)
        return f"{self.n_compared} of {self.n_rows} rows" + (f" (left out: {why})" if why else "")

    def to_json(self) -> dict[str, Any]:
        """Returns plain JSON values."""
        shown = {key: value for key, value in vars(self).items() if key.startswith(("n_", "kn"))}
        sides = {"candidate": self.candidate, "champion": self.champion}
        return {
            **shown,
            "change": None if self.change is None else self.change.to_json(),
            **{name: None if side is None else side.to_json() for name, side in sides.items()},
        }


def paired_change(
    candidate: Mapping[str, Scores], other: Mapping[str, Scores], confidence: float
) -> Change | None:
    """Returns what a candidate gains over another model; None where they share no task.

    The bound is one-sided: of candidates without a true gain, the share of `1 - confidence` has
    one above 0. It is that of Student's t with the bootstrap's standard error, which needs fewer
    draws than a percentile far out.

    Args:
        candidate: Task to scores, on all rows and under draws of them.
        other: Likewise, of the same rows and draws.
        confidence: Chance with which the true gain is above the bound.
    """
    shared = [task for task in candidate if task in other]
    if not shared:
        return None
    mine, theirs = ([side[task] for task in shared] for side in (candidate, other))
    whole = difference(mean_scores(mine), mean_scores(theirs))
    tasks = {task: difference(candidate[task], other[task]) for task in shared}
    return Change(
        whole.estimate,
        _bounds(whole, confidence)[0],
        {task: (found.estimate, *_bounds(found, confidence)) for task, found in tasks.items()},
    )


def _bounds(found: Difference, confidence: float) -> tuple[float, float]:
    """Returns the lower and the upper bound, of which each holds with this confidence."""
    return found.bounds(2 * confidence - 1)
