"""Whole searches in this process, with a tracker that only remembers what a store would hold."""

import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass, field

import pandas as pd
from recording import Memory, RecordingTracker

from pipeline.data.prepared import Prepared
from pipeline.driver.choice import choose
from pipeline.driver.launch import SearchOptions
from pipeline.driver.records import StudyFolder, TrialRecord, best_trials
from pipeline.driver.search import Search
from pipeline.study.loading import Study
from pipeline.training.members import EpochResult


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

    def search_ended(self) -> None:
        self.told.append("end")


@dataclass
class Launcher:
    """Launches one study again and again in one folder and store."""

    study: Study
    prepared: Prepared
    folder: StudyFolder
    memory: Memory = field(default_factory=Memory)

    def launch(
        self,
        n_trials: int = 6,
        crash_at: int | None = None,
        watcher: Watcher | None = None,
        n_workers: int = 1,
        timeout_seconds: float | None = None,
        study: Study | None = None,
    ) -> list[TrialRecord]:
        options = SearchOptions(n_trials, timeout_seconds, n_workers)
        # Another driver has read nothing yet.
        folder = StudyFolder(self.folder.path.parent, self.folder.name)
        self.tracker = RecordingTracker(self.memory, crash_at)
        found = Search(
            study or self.study, self.prepared, folder, self.tracker, options,
            [watcher] if watcher else [], lambda trials, state: (pd.DataFrame(), ""),
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
