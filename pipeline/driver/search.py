"""The search: ask a cohort, train it, keep its outcome, tell it; again until done.

What a kill can interrupt is ordered so that nothing is lost or doubled: a cohort is noted before
its first trial is asked; its models and its outcome are on disk before the journal is told.
Whatever was not reached runs again on resume. MLflow follows on its own thread, and may be behind
when a driver is killed: on resume the runs that have not ended are written again from the
outcomes, every value with its first time, so that what is there already stays.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import pandas as pd

from pipeline.data.prepared import Prepared
from pipeline.driver.backend import Backend
from pipeline.driver.cohort import CohortRun
from pipeline.driver.interrupts import Interrupts
from pipeline.driver.journal import TrialJournal
from pipeline.driver.keeping import BestModels
from pipeline.driver.launch import Phases, SearchOptions, SearchResult, make_backend, make_pruner
from pipeline.driver.observers import Observer
from pipeline.driver.records import Cohort, StudyFolder, TrialRecord
from pipeline.driver.resume import check_resume, launch_settings
from pipeline.driver.runs import TrialRuns
from pipeline.driver.sizing import array_size
from pipeline.driver.trials import make_member
from pipeline.errors import Interrupted
from pipeline.study.loading import Study
from pipeline.tracking.records import State
from pipeline.tracking.tracker import Tracker
from pipeline.training.members import EpochResult

Describe = Callable[[Sequence[TrialRecord], str], tuple[pd.DataFrame, str]]
"""From the finished trials and the search's state to the parent run's table and description."""


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
        self._models = BestModels(folder, prepared, study.spec.search.keep)
        self._runs = TrialRuns(study, prepared, folder, tracker)

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
        with self.phases.of("calibrate"):
            self._population = array_size(
                self.study, self.prepared, self.folder, self.options.n_workers
            )
        backend = make_backend(self.prepared, self.options.n_workers)
        try:
            with Interrupts() as interrupts:
                return self._run(journal, backend, interrupts)
        finally:
            backend.close()
            for observer in self.observers:
                observer.search_ended()

    def _run(self, journal: TrialJournal, backend: Backend, interrupts: Interrupts) -> SearchResult:
        with self.phases.of("track"):
            run_id = self._runs.open()
        try:
            for observer in self.observers:
                observer.search_started(self.options.n_trials, self.folder.trials())
            started = time.perf_counter()
            self._search(journal, backend, interrupts, started)
            seconds = time.perf_counter() - started
            with self.phases.of("models"):
                self._models.publish(self.tracker)
        except Exception as error:
            interrupted = isinstance(error, Interrupted)
            self._runs.interrupt("the search was stopped" if interrupted else f"it failed: {error}")
            self._finish("interrupted" if interrupted else "failed")
            raise
        self._finish("complete")
        return SearchResult(tuple(self.folder.trials()), run_id, seconds, self.phases.seconds)

    def _open_record(self) -> None:
        settings = launch_settings(self.study, self.prepared)
        record = self.folder.record()
        if not record.get("cohorts"):  # nothing was asked yet: nothing to be at odds with
            kept = {key: value for key, value in record.items() if key != "population"}
            self.folder.save_record({**kept, "settings": settings})
            self.folder.set_journal_aside()
        check_resume(self.study.spec.name, self.folder.record()["settings"], settings)

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
            self._models.drop()
            with self.phases.of("track"):
                self._runs.end(trials)
        with self.phases.of("tell"), journal.together():
            for trial in trials:
                journal.tell(trial.number, trial.state, trial.score, trial.best_epoch)
        for observer in self.observers:
            observer.trials_done(trials)

    def _train_cohort(
        self, cohort: Cohort, journal: TrialJournal, backend: Backend, interrupts: Interrupts
    ) -> list[TrialRecord]:
        with self.phases.of("ask"), journal.together():
            params = {}
            for number in cohort.numbers:
                first = self.study.centre() if number == 0 else None
                params[number] = journal.ask(number, first).params
        members = [
            make_member(self.study, self.prepared, number, params[number])
            for number in cohort.numbers
        ]
        for observer in self.observers:
            observer.cohort_started(cohort)
        told = {trial.number: trial.curve for trial in self.folder.trials()}
        run = CohortRun(
            backend, members, self._population, self._pruner, told,
            self._epochs_done, lambda: interrupts.requested,
        )  # fmt: skip
        with self.phases.of("train"):
            trained = run.run(once_started=lambda: self._runs.start(members, params))
        records = self._runs.records(members, trained, params)
        self._models.keep(members, trained, records)
        return records

    def _epochs_done(self, results: Sequence[EpochResult]) -> None:
        self._runs.epochs(results)
        for observer in self.observers:
            observer.epochs_done(results)

    def _finish(self, state: State) -> None:
        with self.phases.of("track"):
            table, description = self.describe(self.folder.trials(), state)
            self.tracker.finish_study(state, table, description)
            self.folder.save_record({**self.folder.record(), "state": state})
