"""A tracker that only remembers, and crashes where a test tells it to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pandas as pd

from pipeline.driver.records import TrialRecord
from pipeline.tracking.records import RunRecord, TrialEnd, TrialStart
from pipeline.tracking.tracker import NullTracker


class Crash(BaseException):  # so that nothing handles it
    """Stands for a kill: nothing is closed properly."""


@dataclass
class Memory:
    """What a store would hold: it outlives the driver."""

    runs: dict[str, RunRecord] = field(default_factory=dict)
    # As MLflow: the same values of an epoch with the same time are there once.
    epochs: dict[str, set[tuple[object, ...]]] = field(default_factory=dict)
    models: set[str] = field(default_factory=set)
    n_runs: int = 0
    progress: set[tuple[int, tuple[object, ...]]] = field(default_factory=set)


class RecordingTracker(NullTracker):
    """Remembers runs, and crashes at its n-th call."""

    def __init__(self, memory: Memory, crash_at: int | None = None) -> None:
        self.memory = memory
        self.crash_at = crash_at
        self.n_calls = 0

    def _call(self) -> None:
        if self.n_calls == self.crash_at:
            raise Crash
        self.n_calls += 1

    def start_study(self, *args: object, **kwargs: Any) -> str:
        self._call()
        return "parent"

    def start_trials(self, trials: Sequence[TrialStart]) -> dict[int, str]:
        self._call()
        found = {}
        for trial in trials:
            run_id = f"run{self.memory.n_runs}"
            self.memory.n_runs += 1
            self.memory.runs[run_id] = RunRecord(
                run_id, trial.number, "RUNNING", "running", trial.row
            )
            self.memory.epochs[run_id] = set()
            found[trial.number] = run_id
        self._call()
        return found

    def log_epoch(
        self, run_id: str, step: int, metrics: Mapping[str, float], timestamp_ms: int | None = None
    ) -> None:
        if step == 2:  # a crash in one epoch is as good as in the others, and there are many
            self._call()
        values = tuple(sorted((name, str(value)) for name, value in metrics.items()))
        self.memory.epochs[run_id].add((step, timestamp_ms, values))

    def finish(self, run_id: str, end: TrialEnd) -> None:
        self._call()
        run = self.memory.runs[run_id]
        self.memory.runs[run_id] = replace(run, status="ENDED", state=end.state)

    def study_progress(
        self, step: int, metrics: Mapping[str, float], timestamp_ms: int | None = None
    ) -> None:
        self.memory.progress.add((step, (timestamp_ms, *sorted(metrics.items()))))

    def runs_of_study(self, parent_run_id: str) -> list[RunRecord]:
        return list(self.memory.runs.values())

    def discard(self, run_ids: Sequence[str]) -> None:
        self._call()
        for run_id in run_ids:
            del self.memory.runs[run_id], self.memory.epochs[run_id]

    def flush(self) -> None:
        self._call()

    def log_model(self, run_id: str, predictor: object, **kwargs: Any) -> str:
        self._call()
        self.memory.models.add(run_id)
        return run_id

    def drop_model(self, model_id: str) -> bool:
        self._call()
        self.memory.models.discard(model_id)
        return True

    def finish_study(self, state: str, table: pd.DataFrame, description: str) -> None:
        self._call()


def plain(trials: Sequence[TrialRecord]) -> list[TrialRecord]:
    """Trials without what depends on the clock and on how often they were tried."""
    return [
        replace(
            trial,
            run_id="",
            seconds=0,
            ended_ms=0,
            history=tuple(replace(epoch, timestamp_ms=0) for epoch in trial.history),
        )
        for trial in trials
    ]
