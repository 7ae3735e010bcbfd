"""The search as a whole, on a study that trains in a moment, with a tracker that only remembers."""

import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from driver_cases import small_study

from pipeline.data.prepared import Prepared
from pipeline.driver.choice import choose
from pipeline.driver.launch import SearchOptions, default_workers, make_pruner
from pipeline.driver.records import Cohort, StudyFolder, TrialRecord, best_trials
from pipeline.driver.search import Search
from pipeline.errors import Interrupted, ResumeError
from pipeline.study.loading import Study
from pipeline.tracking.records import RunRecord, TrialEnd, TrialStart
from pipeline.tracking.tracker import NullTracker
from pipeline.training.members import EpochResult

N_TRIALS = 6  # a cohort of four and one of two


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


class Watcher:
    """An observer that writes down what it is told, and may send a signal."""

    def __init__(self, interrupt_at: int | None = None) -> None:
        self.told: list[str] = []
        self.interrupt_at = interrupt_at

    def search_started(self, n_trials: int, finished: Sequence[TrialRecord]) -> None:
        self.told.append(f"start {len(finished)}/{n_trials}")

    def cohort_started(self, cohort: Cohort) -> None:
        self.told.append(f"cohort {cohort.start}-{cohort.stop}")

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
        n_trials: int = N_TRIALS,
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


@pytest.fixture
def launcher(study: Study, prepared: Prepared, tmp_path: Path) -> Launcher:
    return Launcher(study, prepared, StudyFolder(tmp_path, study.spec.name))


@pytest.fixture(scope="module")
def straight(
    study: Study, prepared: Prepared, tmp_path_factory: pytest.TempPathFactory
) -> tuple[list[TrialRecord], int]:
    """The trials of a search without interruption, and how often it called its tracker."""
    folder = StudyFolder(tmp_path_factory.mktemp("straight"), study.spec.name)
    launcher = Launcher(study, prepared, folder)
    trials = launcher.launch()
    check(launcher, trials)
    return trials, launcher.tracker.n_calls


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


def test_trial_0_is_at_the_centres_with_equal_weights(straight, study) -> None:
    first, *others = straight[0]
    assert first.params == study.centre()
    assert set(first.weights.values()) == {1.0}
    assert all(set(trial.weights.values()) != {1.0} for trial in others)
    assert len({trial.seed for trial in straight[0]}) == N_TRIALS


def test_two_workers_give_the_same_trials(straight, launcher) -> None:
    assert plain(launcher.launch(n_workers=2)) == plain(straight[0])


def test_a_crash_anywhere_loses_and_doubles_nothing(straight, study, prepared, tmp_path) -> None:
    expected, n_calls = straight
    assert n_calls > 20
    for crash_at in range(n_calls):
        folder = StudyFolder(tmp_path / str(crash_at), study.spec.name)
        launcher = Launcher(study, prepared, folder)
        with pytest.raises(Crash):
            launcher.launch(crash_at=crash_at)
        trials = launcher.launch()
        assert plain(trials) == plain(expected), f"crash at call {crash_at}"
        check(launcher, trials)


def test_ctrl_c_closes_the_runs_and_the_search_goes_on_later(straight, launcher) -> None:
    watcher = Watcher(interrupt_at=1)
    with pytest.raises(Interrupted):
        launcher.launch(watcher=watcher)
    assert watcher.told[-1] == "end"
    assert {run.state for run in launcher.memory.runs.values()} == {"interrupted"}
    trials = launcher.launch()
    assert plain(trials) == plain(straight[0])
    check(launcher, trials)


def test_observers_are_told_everything_in_order(launcher) -> None:
    watcher = Watcher()
    launcher.launch(watcher=watcher)
    events = [event for event in watcher.told if event != "epoch"]
    assert events == [
        "start 0/6", "cohort 0-4", "done [0, 1, 2, 3]", "cohort 4-6", "done [4, 5]", "end",
    ]  # fmt: skip
    again = Watcher()
    launcher.launch(watcher=again)
    assert again.told == ["start 6/6", "end"]


def test_more_trials_are_added_to_the_finished_ones(straight, launcher) -> None:
    assert plain(launcher.launch(n_trials=4)) == plain(straight[0][:4])
    assert plain(launcher.launch(n_trials=6)) == plain(straight[0])


def test_a_timeout_starts_no_further_cohort(straight, launcher) -> None:
    first = launcher.launch(timeout_seconds=1e-9)
    assert first == []
    assert plain(launcher.launch(timeout_seconds=600)) == plain(straight[0])


def test_a_changed_study_is_refused_before_anything_is_asked(launcher) -> None:
    launcher.launch(n_trials=4)
    before = launcher.folder.journal.read_bytes()
    with pytest.raises(ResumeError, match=r"train\.epochs: was 3, now 4"):
        launcher.launch(study=small_study(train__epochs=4))
    assert launcher.folder.journal.read_bytes() == before


def test_keep_may_change_on_resume(launcher) -> None:
    launcher.launch(n_trials=4)
    changed = small_study(search__keep=1)
    trials = launcher.launch(study=changed)
    launcher.study = changed
    check(launcher, trials)


@pytest.mark.parametrize(
    ("epochs", "most"),
    [(7, 7), ({"low": 2, "high": 12}, 12), ({"choices": [9, 20, 4]}, 20)],
    ids=str,
)
def test_rungs_reach_to_the_most_epochs_that_a_trial_may_have(epochs: object, most: int) -> None:
    pruner = make_pruner(small_study(search__pruner="median", train__epochs=epochs))
    assert pruner.n_epochs == most


def test_there_are_no_more_workers_than_arrays() -> None:
    assert default_workers(small_study(search__cohort=8, search__population=8)) == 1
