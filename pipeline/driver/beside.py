"""The searches of the baselines, side by side: many Optuna studies, common arrays.

In each round every row that is not done asks its next cohort, in the order of the rows; the
members of all cohorts train as members of the same arrays, pruned within their row; then each
row's Optuna study is told. A row therefore asks for what it would ask for alone, on any number of
workers and after any restart. The finalists of all rows follow, as one round.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import torch

from pipeline.data.prepared import Prepared
from pipeline.data.text_encoding import Progress, named_progress
from pipeline.driver.backend import Backend
from pipeline.driver.choice import missing_finalists
from pipeline.driver.finalists import train_finalists
from pipeline.driver.interrupts import Interrupts
from pipeline.driver.lanes import Lane, train_lanes
from pipeline.driver.launch import default_workers, make_backend, make_pruner
from pipeline.driver.precision import trains_in_bf16
from pipeline.driver.records import Cohort
from pipeline.driver.rows import baseline_rows, listed, objectives_of, tuned_row
from pipeline.driver.searched import AskedCohort, SearchedRow
from pipeline.driver.sizing import array_size
from pipeline.driver.study_folder import StudyFolder
from pipeline.errors import Interrupted
from pipeline.study.loading import Study
from pipeline.tracking.tracker import Tracker
from pipeline.training.devices import CPU

KEEP = 1
"""Models kept of a row's trials; its finalists are kept beside it."""


class RowsBeside:
    """The searches of a study's baselines. The caller holds the study's lock and its parent run.

    Args:
        study: The study.
        prepared: Its data.
        folder: Its files.
        tracker: Records the rows' runs.
        say: Told how far they are.
        n_workers: Local processes; by default one a core. It changes no parameter.
        device: Where members train.
        progress: Told at which epoch those who train are.
    """

    def __init__(
        self,
        study: Study,
        prepared: Prepared,
        folder: StudyFolder,
        tracker: Tracker,
        say: Callable[[str], None],
        n_workers: int | None = None,
        device: torch.device = CPU,
        progress: Progress | None = None,
    ) -> None:
        self.study = study
        self.prepared = prepared
        self.folder = folder
        self.tracker = tracker
        self.say = say
        self._tuned = SearchedRow(
            study, prepared, folder, tracker, tuned_row(study, prepared), study.spec.search.keep
        )
        self._rows = [
            SearchedRow(study, prepared, folder.row(plan.name), tracker, plan, KEEP)
            for plan in baseline_rows(study, prepared)
        ]
        self._device = device
        self._progress = progress
        asked = n_workers if device.type == "cpu" else None
        self._n_workers = asked or default_workers(study, max(1, len(self._rows)), device)
        self._pruner = make_pruner(study)
        self._n_trials = len(folder.trials())  # equal budget
        self._started = time.monotonic()

    def run(self) -> None:
        """Searches every row until it has as many trials as the study, then trains finalists.

        Raises:
            Interrupted: Ctrl-C; the runs are closed, and what was finished stays.
        """
        if self._done():
            self.folder.drop_checkpoints("rows")  # a kill may have come between the two
            return
        self._mend()
        population = array_size(
            self.study, self.prepared, self.folder, self._n_workers, max(1, len(self._rows)),
            self._device, self.say,
        )  # fmt: skip
        bf16 = trains_in_bf16(self.study, self.prepared, self.folder, self._device, self.say)
        backend = make_backend(
            self.prepared,
            self._n_workers,
            self._device,
            self.say,
            bf16,
            self.folder.checkpoints / "rows",
        )
        try:
            with Interrupts() as interrupts:
                self._search(backend, population, interrupts)
                self._finalists(backend, population, interrupts)
        finally:
            backend.close()
        for row in (*self._rows, self._tuned):
            row.models.drop()
        self._tuned.models.publish(self.tracker)
        self.folder.drop_checkpoints("rows")

    def _done(self) -> bool:
        finalists = self.study.spec.search.finalists
        return not missing_finalists(self.folder, finalists) and all(
            len(row.folder.trials()) >= self._n_trials
            and row.next_cohort(self._n_trials) is None
            and not missing_finalists(row.folder, finalists)
            for row in self._rows
        )

    def _mend(self) -> None:
        run_id = self.folder.record().get("run_id")
        if run_id is not None:
            runs = self.tracker.runs_of_study(run_id)
            for row in (self._tuned, *self._rows):
                row.runs.mend(runs)

    def _search(self, backend: Backend, population: int, interrupts: Interrupts) -> None:
        if self._rows:
            total = self._n_trials * len(self._rows)
            self.say(
                f"Searching {len(self._rows)} baselines with as many trials each as the study: "
                f"{total} trials."
            )
        while cohorts := self._next_cohorts():
            if interrupts.requested:
                raise Interrupted("The baselines were stopped between two cohorts.")
            self._train(cohorts, backend, population, interrupts)
            self._tell_progress()

    def _next_cohorts(self) -> list[tuple[SearchedRow, Cohort]]:
        """Returns the next cohort of each row that is not done; tells those that were kept."""
        found = []
        for row in self._rows:
            while (cohort := row.next_cohort(self._n_trials)) is not None:
                trials = row.folder.outcome(cohort)
                if trials is None:
                    found.append((row, cohort))
                    break
                row.tell(trials)  # a driver was killed before it could
        return found

    def _train(
        self,
        cohorts: Sequence[tuple[SearchedRow, Cohort]],
        backend: Backend,
        population: int,
        interrupts: Interrupts,
    ) -> None:
        asked = [(row, row.ask(cohort)) for row, cohort in cohorts]
        lanes = [self._lane(row, found) for row, found in asked]
        try:
            trained = train_lanes(
                backend, lanes, population, self._pruner, lambda: interrupts.requested,
                lambda: _start(asked), named_progress(self._progress, _what(asked)),
            )  # fmt: skip
        except Exception as error:
            why = "it was stopped" if isinstance(error, Interrupted) else f"it failed: {error}"
            for row, _ in asked:
                row.runs.interrupt(why)
            raise
        records = [
            row.records(found, results)
            for (row, found), results in zip(asked, trained, strict=True)
        ]
        for (row, found), results, own in zip(asked, trained, records, strict=True):
            row.models.keep(found.members, results, own)
        # Soon after each other: a row without its own would train again, in other arrays than now.
        for (row, found), own in zip(asked, records, strict=True):
            row.folder.save_outcome(found.cohort, own)
        for (row, _), own in zip(asked, records, strict=True):
            row.settle(own)
            row.tell(own)
        self.folder.drop_checkpoints("rows")  # nothing trains between two rounds

    def _lane(self, row: SearchedRow, asked: AskedCohort) -> Lane:
        """Returns a cohort that is pruned by the tasks that its row is judged by."""
        tasks = objectives_of(self.study, row.row) or row.row.tasks
        pruner = make_pruner(self.study, tasks)
        return Lane(
            asked.members, row.told(asked.cohort), row.runs.epochs,
            row.told_tasks(asked.cohort) if pruner.tasks else {}, pruner,
        )  # fmt: skip

    def _finalists(self, backend: Backend, population: int, interrupts: Interrupts) -> None:
        if interrupts.requested:
            raise Interrupted("The baselines were stopped before their finalists.")
        rows = [(row.row, row.folder) for row in (self._tuned, *self._rows)]
        train_finalists(
            self.study, self.prepared, self.tracker, rows, backend, population,
            lambda: interrupts.requested, self._progress,
        )  # fmt: skip

    def _tell_progress(self) -> None:
        n_done = sum(len(row.folder.trials()) for row in self._rows)
        total = self._n_trials * len(self._rows)
        seconds = time.monotonic() - self._started
        self.say(f"Baselines: {n_done} of {total} trials, {seconds:.0f} s.")


def _what(asked: Sequence[tuple[SearchedRow, AskedCohort]]) -> str:
    rows = listed([row.row.name for row, _ in asked])
    numbers = sorted({number for _, found in asked for number in found.cohort.numbers})
    n_trials = sum(len(found.members) for _, found in asked)
    return f"Trials #{numbers[0]} to #{numbers[-1]} of {rows}, {n_trials} trials, epoch"


def _start(asked: Sequence[tuple[SearchedRow, AskedCohort]]) -> None:
    for row, found in asked:
        row.start_runs(found)
