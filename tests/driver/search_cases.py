"""Whole searches in this process, with a tracker that only remembers what a store would hold."""

import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pandas as pd
import torch

from pipeline.data.prepared import Prepared
from pipeline.driver.choice import choose
from pipeline.driver.launch import SearchOptions
from pipeline.driver.records import TrialRecord, best_trials
from pipeline.driver.search import Search
from pipeline.driver.study_folder import StudyFolder
from pipeline.study.loading import Study
from pipeline.tracking.records import RunRecord, TrialEnd, TrialStart
from pipeline.tracking.tracker import NullTracker
from pipeline.training.devices import CPU
from pipeline.training.members import EpochResult


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

    def finish_study(
        self,
        state: str,
        table: pd.DataFrame,
        description: str,
        files: Mapping[str, str] | None = None,
    ) -> None:
        self._call()


class Watcher:
    """An observer that writes down what it is told, and may send a signal."""

    def __init__(self, interrupt_at: int | None = None) -> None:
        self.told: list[str] = []
        self.interrupt_at = interrupt_at

    def search_started(self, n_trials: int, finished: Sequence[TrialRecord]) -> None:
        self.told.append(f"start {len(finished)}/{n_trials}")

    def trials_started(self, numbers: Sequence[int]) -> None:
        self.told.append(f"start {numbers}")

    def epochs_done(self, results: Sequence[EpochResult]) -> None:
        if self.interrupt_at == len([one for one in self.told if one == "epoch"]):
            os.kill(os.getpid(), signal.SIGINT)
        self.told.append("epoch")

    def trials_done(self, trials: Sequence[TrialRecord]) -> None:
        self.told.append(f"done {[trial.number for trial in trials]}")

    def finalists_trained(self, what: str, epoch: int, n_epochs: int) -> None:
        self.told.append(f"{what} {epoch}/{n_epochs}")

    def search_ended(self) -> None:
        self.told.append("end")


@dataclass
class Launcher:
    """Launches one study again and again in one folder and store."""

    study: Study
    prepared: Prepared
    folder: StudyFolder
    memory: Memory = field(default_factory=Memory)
    said: list[str] = field(default_factory=list)

    def launch(
        self,
        n_trials: int = 6,
        crash_at: int | None = None,
        watcher: Watcher | None = None,
        n_workers: int = 1,
        timeout_seconds: float | None = None,
        study: Study | None = None,
        device: torch.device = CPU,
    ) -> list[TrialRecord]:
        self.said = []
        options = SearchOptions(n_trials, timeout_seconds, n_workers, device, self.said.append)
        # Another driver has read nothing yet.
        folder = StudyFolder(self.folder.path.parent, self.folder.name)
        self.tracker = RecordingTracker(self.memory, crash_at)
        found = Search(
            study or self.study, self.prepared, folder, self.tracker, options,
            [watcher] if watcher else [], lambda trials, state: (pd.DataFrame(), "", {}),
        ).run()  # fmt: skip
        return list(found.trials)


def check(launcher: Launcher, trials: Sequence[TrialRecord]) -> None:
    """One ended run a trial, each epoch in it once; the best models kept and published."""
    memory, spec = launcher.memory, launcher.study.spec.search
    folder = StudyFolder(launcher.folder.path.parent, launcher.folder.name)
    assert len(memory.runs) == len(trials) + len(folder.all_finalists())
    for trial in (*trials, *folder.all_finalists()):
        run = memory.runs[trial.run_id]
        number, row = (trial.replicate, "finalist") if trial.replicate else (trial.number, None)
        assert (run.number, run.row) == (number, row)
        assert (run.status, run.state) == ("ENDED", trial.state)
        steps = sorted(epoch[0] for epoch in memory.epochs[trial.run_id])
        assert steps == list(range(1, trial.epochs + 1))
    best = best_trials(trials, spec.keep)
    choice = choose(folder, spec.finalists)
    assert choice is not None
    if spec.finalists is not None:
        assert choice.retrained
        best_two = best_trials(trials, spec.finalists.k)
        assert {record.number for record in folder.all_finalists()} >= {t.number for t in best_two}
    kept = {record.key for record in (*best, *(choice.seeds if choice.retrained else ()))}
    assert {*folder.models()} == kept
    assert memory.models == {record.run_id for record in (*best, choice.shipped)}


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
