"""The search: ask a cohort, train it, keep its outcome, track it, tell it; again until done.

What a kill can interrupt is ordered so that nothing is lost or doubled: a cohort is noted before
its first trial is asked; its models and its outcome are on disk before its runs end; its runs
have ended before the journal is told. Whatever was not reached runs again on resume.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

import pandas as pd

from pipeline.data.prepared import Prepared
from pipeline.driver.backend import Backend
from pipeline.driver.cohort import CohortRun
from pipeline.driver.interrupts import Interrupts
from pipeline.driver.journal import TrialJournal
from pipeline.driver.keeping import BestModels
from pipeline.driver.launch import (
    Phases,
    SearchOptions,
    SearchResult,
    make_backend,
    make_pruner,
)
from pipeline.driver.observers import Observer
from pipeline.driver.records import (
    Cohort,
    EpochRecord,
    StudyFolder,
    TrialRecord,
    best_trials,
)
from pipeline.driver.resume import check_resume, launch_settings
from pipeline.driver.trials import (
    end_of,
    epoch_record,
    make_member,
    make_record,
    start_of,
    tracked_metrics,
)
from pipeline.errors import Interrupted
from pipeline.study.loading import Study
from pipeline.tracking.records import State, TrialEnd, now_ms
from pipeline.tracking.tracker import Tracker
from pipeline.training.members import EpochResult, Member, Trained

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
        self._run_ids: dict[int, str] = {}
        self._history: dict[int, list[EpochRecord]] = {}

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
            run_id = self._open_runs()
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
            self._close_runs("the search was stopped" if interrupted else f"it failed: {error}")
            self._finish("interrupted" if interrupted else "failed")
            raise
        self._finish("complete")
        return SearchResult(tuple(self.folder.trials()), run_id, seconds, self.phases.seconds)

    def _open_record(self) -> None:
        settings = launch_settings(self.study, self.prepared)
        record = self.folder.record()
        if "settings" not in record:
            self.folder.save_record({**record, "settings": settings})
        check_resume(self.study.spec.name, self.folder.record()["settings"], settings)

    def _open_runs(self) -> str:
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
            self._models.drop()
        else:
            self._track_again(trials)
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

    def _track_again(self, trials: Sequence[TrialRecord]) -> None:
        """Tracks what an outcome holds, whose driver may have been killed before it was written.

        Each value has the time at which it was reported, so that what is there already stays.
        """
        for trial in trials:
            member = make_member(self.study, self.prepared, trial.number, trial.params)
            start = start_of(member, self.prepared, trial.params, f"#{trial.number}")
            self.tracker.reopen(trial.run_id, start)
            for epoch in trial.history:
                self.tracker.log_epoch(
                    trial.run_id, epoch.epoch, tracked_metrics(epoch), epoch.timestamp_ms
                )

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
            trained = run.run()
        return self._keep(members, trained, params)

    def _keep(
        self,
        members: Sequence[Member],
        trained: Sequence[Trained],
        params: Mapping[int, Mapping[str, object]],
    ) -> list[TrialRecord]:
        """Makes the cohort's records and keeps the models of those among the best."""
        ended_ms = now_ms()
        records = [
            make_record(member, result, self.prepared, params[member.number],
                        self._history.pop(member.number, []), self._run_ids[member.number],
                        ended_ms)
            for member, result in zip(members, trained, strict=True)
        ]  # fmt: skip
        self._models.keep(members, trained, records)
        return records

    def _epochs_done(self, results: Sequence[EpochResult]) -> None:
        timestamp_ms = now_ms()
        for result in results:
            epoch = epoch_record(result, self.prepared, timestamp_ms)
            self._history.setdefault(result.number, []).append(epoch)
            self.tracker.log_epoch(
                self._run_ids[result.number], epoch.epoch, tracked_metrics(epoch), timestamp_ms
            )
        for observer in self.observers:
            observer.epochs_done(results)

    def _track_best(self, trial: TrialRecord) -> None:
        """Adds a point to the parent's best-so-far curves."""
        known = [t for t in self.folder.trials() if t.number <= trial.number]
        for best in best_trials(known, 1):
            assert best.evaluation is not None  # it is complete
            scores = {f"best/{task}": score for task, score in best.evaluation.scores.items()}
            metrics = {"best/score": best.score or 0.0, **scores}
            self.tracker.study_progress(trial.number, metrics, trial.ended_ms)

    def _close_runs(self, reason: str) -> None:
        """Ends the runs of the cohort that was training; it runs again on resume."""
        ended = {trial.run_id for trial in self.folder.trials()}
        for run_id in set(self._run_ids.values()) - ended:
            self.tracker.finish(run_id, TrialEnd("interrupted", reason))

    def _finish(self, state: State) -> None:
        with self.phases.of("track"):
            table, description = self.describe(self.folder.trials(), state)
            self.tracker.finish_study(state, table, description)
            self.folder.save_record({**self.folder.record(), "state": state})
