"""Trials as they are kept: one that ended, its epochs, those asked together; the best of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pipeline.evaluation.evaluate import Evaluation
from pipeline.evaluation.pareto import order
from pipeline.tasks.base import TaskInfo


@dataclass(frozen=True)
class EpochRecord:
    """What was tracked of one epoch, with its time: tracking it again changes nothing.

    Attributes:
        epoch: From 1.
        timestamp_ms: When it was reported, in milliseconds since 1970.
        metrics: Values by metric name; None where one was not finite.
    """

    epoch: int
    timestamp_ms: int
    metrics: Mapping[str, float | None]


@dataclass(frozen=True)
class TrialRecord:
    """One finished trial.

    Attributes:
        number: From 0.
        params: Scalars by dotted path.
        weights: Loss weight of each task: where a strategy moves them, their means in the best
            epoch.
        seed: Of its initial parameters.
        state: complete, pruned, diverged or failed.
        reason: Why it ended so.
        score: Mean valid score at its best epoch; None where it has none.
        evaluation: All metrics on valid; None unless complete.
        curve: Valid score after each epoch.
        epochs: Epochs trained.
        best_epoch: Epoch whose parameters count.
        n_parameters: Of its network.
        seconds: From the start of its array to its end.
        run_id: Of its MLflow run.
        ended_ms: When it ended, in milliseconds since 1970: the time of its last metrics.
        tasks: The tasks as this trial decodes them.
        history: What was tracked of each epoch.
        first_epoch: See `Trained`.
        replicate: 0 in the search; a finalist is its trial again under the fresh seed and
            replicate of this number.
        cosines: Task to later task to the mean cosine of their gradients over the looks at this
            trial; empty where there was none.
        objectives: Tasks whose scores its study maximises one by one; none for their mean.
        device: Kind of device where it trained; empty where it did not, or nobody noted it.
    """

    number: int
    params: Mapping[str, Any]
    weights: Mapping[str, float]
    seed: int
    state: str
    reason: str
    score: float | None
    evaluation: Evaluation | None
    curve: tuple[float, ...]
    epochs: int
    best_epoch: int
    n_parameters: int
    seconds: float
    run_id: str
    ended_ms: int
    tasks: tuple[TaskInfo, ...] = ()
    history: tuple[EpochRecord, ...] = ()
    first_epoch: int = 1
    replicate: int = 0
    cosines: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    objectives: tuple[str, ...] = ()
    device: str = ""

    @property
    def values(self) -> tuple[float, ...]:
        """What it is ranked by: its score, or those of several objectives; empty without any."""
        if not self.objectives:
            return () if self.score is None else (self.score,)
        if self.evaluation is None:
            return ()
        return tuple(self.evaluation.scores[task] for task in self.objectives)

    @property
    def key(self) -> str:
        """Names its model: `trial-12`, or `trial-12-seed-3` for a finalist."""
        return f"trial-{self.number}" + (f"-seed-{self.replicate}" if self.replicate else "")

    @property
    def label(self) -> str:
        """Names it for people: `#12`, or `#12 seed 3`."""
        return f"#{self.number}" + (f" seed {self.replicate}" if self.replicate else "")

    def to_json(self) -> dict[str, Any]:
        """Returns plain JSON values."""
        plain = {key: value for key, value in vars(self).items()}
        plain["evaluation"] = self.evaluation.to_json() if self.evaluation else None
        plain["tasks"] = [task.to_json() for task in self.tasks]
        plain["history"] = [vars(epoch) for epoch in self.history]
        plain["params"], plain["weights"] = dict(self.params), dict(self.weights)
        plain["cosines"] = {task: dict(others) for task, others in self.cosines.items()}
        return plain

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> TrialRecord:
        """Reads what `to_json` gave."""
        values = dict(stored)
        evaluation = stored["evaluation"]
        values["evaluation"] = Evaluation.from_json(evaluation) if evaluation else None
        values["tasks"] = tuple(TaskInfo.from_json(task) for task in stored["tasks"])
        values["objectives"] = tuple(stored.get("objectives", ()))
        values["curve"] = tuple(stored["curve"])
        values["history"] = tuple(EpochRecord(**epoch) for epoch in stored["history"])
        return cls(**values)


@dataclass(frozen=True)
class Cohort:
    """Trials that are asked together: numbers from `start` to below `stop`."""

    start: int
    stop: int

    @property
    def numbers(self) -> range:
        """The trials' numbers."""
        return range(self.start, self.stop)


def best_trials(trials: Iterable[TrialRecord], count: int) -> list[TrialRecord]:
    """Returns the best complete trials; of equals the lower number first.

    With one objective, those with the highest scores. With several, those of the Pareto front,
    its knee first, then those of the front of the others: see `pareto.order`.
    """
    complete = [t for t in trials if t.state == "complete" and t.values]
    if complete and complete[0].objectives:
        complete.sort(key=lambda t: t.number)
        ranked = order(np.array([trial.values for trial in complete]))
        return [complete[i] for i in ranked[:count]]
    return sorted(complete, key=lambda t: (-(t.score or 0.0), t.number))[:count]
