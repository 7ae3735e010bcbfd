"""The search: ask a cohort, train it, keep its outcome, track it, tell it; again until done.

What a kill can interrupt is ordered so that nothing is lost or doubled: a cohort is noted before
its first trial is asked; its models and its outcome are on disk before its runs end; its runs
have ended before the journal is told. Whatever was not reached runs again on resume.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import pandas as pd

from pipeline.data.prepared import Prepared
from pipeline.driver.backend import Backend, InProcess
from pipeline.driver.cohort import CohortRun
from pipeline.driver.interrupts import Interrupts
from pipeline.driver.journal import TrialJournal
from pipeline.driver.observers import Observer
from pipeline.driver.processes import LocalProcesses
from pipeline.driver.pruners import Pruner
from pipeline.driver.records import Cohort, StudyFolder, TrialRecord, best_trials
from pipeline.driver.resume import check_resume, launch_settings
from pipeline.driver.trials import (
    end_of,
    epoch_metrics,
    make_member,
    make_predictor,
    make_record,
    start_of,
)
from pipeline.errors import Interrupted
from pipeline.study import catalogue
from pipeline.study.loading import Study
from pipeline.study.ranges import Choices, Range
from pipeline.tracking.records import State, TrialEnd, now_ms
from pipeline.tracking.tracker import Tracker
from pipeline.training.members import EpochResult, Member, Trained

Describe = Callable[[Sequence[TrialRecord], str], tuple[pd.DataFrame, str]]
"""From the finished trials and the search's state to the parent run's table and description."""


@dataclass(frozen=True)
class SearchOptions:
    """How a search runs; none of it changes a parameter.

    Attributes:
        n_trials: Finished trials at the end, those of earlier launches counted.
        timeout_seconds: After this no further cohort starts; the running one is finished.
        n_workers: Local processes; 1 trains in the driver's own process.
    """

    n_trials: int
    timeout_seconds: float | None = None
    n_workers: int = 1


@dataclass
class Phases:
    """Seconds spent in each phase of a search."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def of(self, phase: str) -> Iterator[None]:
        """Adds the time inside to a phase."""
        started = time.perf_counter()
        try:
            yield
        finally:
            spent = time.perf_counter() - started
            self.seconds[phase] = self.seconds.get(phase, 0.0) + spent


@dataclass(frozen=True)
class SearchResult:
    """What a search leaves.

    Attributes:
        trials: All finished trials, in number order.
        run_id: The parent run.
        seconds: From the first ask to the last tell of this launch.
        phases: Seconds of each phase.
    """

    trials: tuple[TrialRecord, ...]
    run_id: str
    seconds: float
    phases: Mapping[str, float]


def make_pruner(study: Study) -> Pruner:
    """Makes the study's pruner, whose rungs reach to the most epochs that a trial may have."""
    found = study.ranges.get("train.epochs")
    n_epochs = study.spec.train.epochs
    if isinstance(found, Range):
        n_epochs = int(found.high)
    elif isinstance(found, Choices):
        n_epochs = max(found.choices)
    pruner: Pruner = catalogue.load("pruner", study.spec.search.pruner)(n_epochs, study.spec.seed)
    return pruner


def default_workers(study: Study) -> int:
    """Returns one worker a core, but no more than a cohort has arrays."""
    n_arrays = -(-study.spec.search.cohort // study.spec.search.population)
    n_cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, min(n_cores or 1, n_arrays))


class Search:
    """One launch of a study's search. The caller holds the study's lock.

    Args:
        study: The study.
        prepared: Its data.
        folder: Its files.
        tracker: Records its runs.
        options: How it runs.
        observers: Told of everything.
        describe: Writes the parent run's table and description.
    """

    def __init__(
        self,
        study: Study,
        prepared: Prepared,
        folder: StudyFolder,
        tracker: Tracker,
        options: SearchOptions,
        observers: Sequence[Observer],
        describe: Describe,
    ) -> None:
        self.study = study
        self.prepared = prepared
        self.folder = folder
        self.tracker = tracker
        self.options = options
        self.observers = observers
        self.describe = describe
        self.phases = Phases()
        self._pruner = make_pruner(study)
        self._run_ids: dict[int, str] = {}

    def run(self) -> SearchResult:
        """Searches until the trials are finished, the time is up, or Ctrl-C.

        Raises:
            ResumeError: The study was launched with other settings or data.
            Interrupted: Ctrl-C; the runs are closed and the search can be resumed.
        """
        self._open_record()
        spec = self.study.spec
        self.folder.path.parent.mkdir(parents=True, exist_ok=True)
        with self.phases.of("journal"):
            journal = TrialJournal(
                self.folder.journal, spec.name, spec.seed, spec.search.sampler, self.study.ranges
            )
        backend = self._backend()
        try:
            with self.phases.of("track"):
                run_id = self._open_runs(journal)
            for observer in self.observers:
                observer.search_started(self.options.n_trials, self.folder.trials())
            started = time.perf_counter()
            with Interrupts() as interrupts:
                self._search(journal, backend, interrupts, started)
            seconds = time.perf_counter() - started
            with self.phases.of("models"):
                self._publish_models()
            self._finish("complete")
        except (Interrupted, KeyboardInterrupt):
            self._finish("interrupted")
            raise
        finally:
            backend.close()
            for observer in self.observers:
                observer.search_ended()
        return SearchResult(tuple(self.folder.trials()), run_id, seconds, self.phases.seconds)

    def _open_record(self) -> None:
        settings = launch_settings(self.study, self.prepared)
        record = self.folder.record()
        if "settings" not in record:
            self.folder.save_record({**record, "settings": settings})
        check_resume(self.study.spec.name, self.folder.record()["settings"], settings)

    def _backend(self) -> Backend:
        if self.options.n_workers == 1 or self.prepared.folder is None:
            return InProcess(self.prepared)
        return LocalProcesses(self.prepared.folder, self.options.n_workers)

    def _open_runs(self, journal: TrialJournal) -> str:
        """Opens the parent run, and discards the runs of attempts that will be made again."""
        record = self.folder.record()
        run_id = self.tracker.start_study(
            self.study.spec.name,
            self.study.text,
            self.prepared,
            params={
                **{path: str(found) for path, found in self.study.ranges.items()},
                "search.sampler": self.study.spec.search.sampler,
                "search.pruner": self.study.spec.search.pruner,
                "seed": self.study.spec.seed,
            },
            resume_run_id=record.get("run_id"),
        )
        self.folder.save_record({**record, "run_id": run_id})
        if record.get("cohorts"):
            valid = {trial.run_id for trial in self.folder.trials()}
            stray = [
                run.run_id
                for run in self.tracker.runs_of_study(run_id)
                if run.row is None and run.run_id not in valid
            ]
            self.tracker.discard(stray)
        return run_id

    def _search(
        self, journal: TrialJournal, backend: Backend, interrupts: Interrupts, started: float
    ) -> None:
        timeout = self.options.timeout_seconds
        while (cohort := self._next_cohort(journal)) is not None:
            if interrupts.requested:
                raise Interrupted("The search was stopped between two cohorts.")
            if timeout is not None and time.perf_counter() - started > timeout:
                return
            self._run_cohort(cohort, journal, backend, interrupts)

    def _next_cohort(self, journal: TrialJournal) -> Cohort | None:
        """Returns the cohort that a killed driver left open, or a new one; None when done."""
        asked = {trial.number: trial for trial in journal.asked()}
        n_finished = sum(trial.finished for trial in asked.values())
        begun = self.folder.cohorts()
        for cohort in begun:
            told = all(n in asked and asked[n].finished for n in cohort.numbers)
            if not told and (
                n_finished < self.options.n_trials or self.folder.outcome(cohort) is not None
            ):
                return cohort
        start = begun[-1].stop if begun else 0
        if start >= self.options.n_trials or n_finished >= self.options.n_trials:
            return None
        size = self.study.spec.search.cohort
        return Cohort(start, min(self.options.n_trials, (start // size + 1) * size))

    def _run_cohort(
        self, cohort: Cohort, journal: TrialJournal, backend: Backend, interrupts: Interrupts
    ) -> None:
        trials = self.folder.outcome(cohort)
        if trials is None:
            self.folder.begin(cohort)
            trials = self._train_cohort(cohort, journal, backend, interrupts)
            self.folder.save_outcome(cohort, trials)
            self._drop_models()
        with self.phases.of("track"):
            for trial in trials:
                self.tracker.finish(trial.run_id, end_of(trial))
                self._track_best(trial)
            self.tracker.flush()
        with self.phases.of("tell"):
            for trial in trials:
                journal.tell(trial.number, trial.state, trial.score, trial.best_epoch)
        for observer in self.observers:
            observer.trials_done(trials)

    def _train_cohort(
        self, cohort: Cohort, journal: TrialJournal, backend: Backend, interrupts: Interrupts
    ) -> list[TrialRecord]:
        with self.phases.of("ask"):
            params = {}
            for number in cohort.numbers:
                first = self.study.centre() if number == 0 else None
                params[number] = journal.ask(number, first).params
        members = [
            make_member(self.study, self.prepared, number, params[number])
            for number in cohort.numbers
        ]
        with self.phases.of("track"):
            self._run_ids = self.tracker.start_trials(
                [start_of(m, self.prepared, params[m.number], f"#{m.number}") for m in members]
            )
        for observer in self.observers:
            observer.cohort_started(cohort)
        told = {trial.number: trial.curve for trial in self.folder.trials()}
        run = CohortRun(
            backend, members, self.study.spec.search.population, self._pruner, told,
            self._epochs_done, lambda: interrupts.requested,
        )  # fmt: skip
        with self.phases.of("train"):
            try:
                trained = run.run()
            except (Interrupted, KeyboardInterrupt):
                self._close_interrupted()
                raise
        return self._keep(members, trained, params, run.curves)

    def _keep(
        self,
        members: Sequence[Member],
        trained: Sequence[Trained],
        params: Mapping[int, Mapping[str, object]],
        curves: Mapping[int, Sequence[float]],
    ) -> list[TrialRecord]:
        """Makes the cohort's records and keeps the models of those among the best."""
        ended_ms = now_ms()
        records = [
            make_record(member, result, self.prepared, params[member.number],
                        curves[member.number], self._run_ids[member.number], ended_ms)
            for member, result in zip(members, trained, strict=True)
        ]  # fmt: skip
        best = best_trials([*self.folder.trials(), *records], self.study.spec.search.keep)
        chosen = {record.number for record in best}
        for member, result in zip(members, trained, strict=True):
            if member.number in chosen:
                predictor = make_predictor(member, result, self.prepared)
                self.folder.save_model(member.number, predictor)
        return records

    def _epochs_done(self, results: Sequence[EpochResult]) -> None:
        timestamp_ms = now_ms()
        for result in results:
            metrics = epoch_metrics(result, self.prepared)
            self.tracker.log_epoch(
                self._run_ids[result.number], result.epoch, metrics, timestamp_ms
            )
        for observer in self.observers:
            observer.epochs_done(results)

    def _track_best(self, trial: TrialRecord) -> None:
        """Adds a point to the parent's best-so-far curves."""
        known = [t for t in self.folder.trials() if t.number <= trial.number]
        for best in best_trials(known, 1):
            assert best.evaluation is not None  # it is complete
            scores = {f"best/{task}": score for task, score in best.evaluation.scores.items()}
            self.tracker.study_progress(trial.number, {"best/score": best.score or 0.0, **scores})

    def _drop_models(self) -> None:
        best = best_trials(self.folder.trials(), self.study.spec.search.keep)
        for number in set(self.folder.models()) - {trial.number for trial in best}:
            self.folder.drop_model(number)

    def _close_interrupted(self) -> None:
        end = TrialEnd("interrupted", "the search was stopped; the trial runs again on resume")
        for run_id in self._run_ids.values():
            self.tracker.finish(run_id, end)

    def _publish_models(self) -> None:
        """Logs the kept models that MLflow has not, and drops those no longer among the best."""
        trials = {trial.number: trial for trial in self.folder.trials()}
        record = self.folder.record()
        logged: dict[str, str] = record.get("models", {})
        for number in self.folder.models():
            predictor = self.folder.load_model(number)
            if str(number) not in logged and predictor is not None:
                trial = trials[number]
                model_id = self.tracker.log_model(trial.run_id, predictor, end=end_of(trial))
                logged[str(number)] = model_id
                self.folder.save_record({**record, "models": logged})
        for gone in set(logged) - {str(number) for number in self.folder.models()}:
            self.tracker.drop_model(logged.pop(gone))
            self.folder.save_record({**record, "models": logged})

    def _finish(self, state: State) -> None:
        with self.phases.of("track"):
            table, description = self.describe(self.folder.trials(), state)
            self.tracker.finish_study(state, table, description)
            self.folder.save_record({**self.folder.record(), "state": state})
