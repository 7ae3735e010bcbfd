"""The search: its record, its parts and its end; trials are run by one of the orders.

Then the best trials are retrained as finalists. How nothing is lost or doubled when a kill
interrupts, `searched` says. MLflow follows on its own thread, and may be behind when a driver is
killed: on resume the runs that have not ended are written again from the outcomes, every value
with its first time, so that what is there already stays.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

import pandas as pd

from pipeline.data.prepared import Prepared
from pipeline.driver.backend import Backend
from pipeline.driver.finalists import train_finalists
from pipeline.driver.fixed import FixedOrder
from pipeline.driver.free import FreeOrder
from pipeline.driver.interrupts import Interrupts
from pipeline.driver.launch import Phases, SearchOptions, SearchResult, make_backend, make_pruner
from pipeline.driver.observers import Observer
from pipeline.driver.order import Means, Order
from pipeline.driver.precision import trains_in_bf16
from pipeline.driver.records import TrialRecord
from pipeline.driver.resume import check_resume, launch_settings, note_device
from pipeline.driver.rows import tuned_row
from pipeline.driver.runs import open_parent
from pipeline.driver.searched import SearchedRow
from pipeline.driver.sizing import array_size
from pipeline.driver.study_folder import StudyFolder
from pipeline.errors import Interrupted
from pipeline.study.loading import Study
from pipeline.tracking.records import State
from pipeline.tracking.tracker import Tracker

Description = tuple[pd.DataFrame, str, Mapping[str, str]]
Describe = Callable[[Sequence[TrialRecord], str], Description]
"""From the finished trials and the search's state to the parent run's table, page and figures."""

ORDERS: Mapping[str, type[Order]] = {"fixed": FixedOrder, "free": FreeOrder}


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
        plan = tuned_row(study, prepared)
        self._row = SearchedRow(study, prepared, folder, tracker, plan, study.spec.search.keep)

    def run(self) -> SearchResult:
        """Searches until the trials are finished, the time is up, or Ctrl-C.

        Raises:
            ResumeError: The study was launched with other settings or data.
            Interrupted: Ctrl-C; the runs are closed and the search can be resumed.
        """
        self._open_record()
        with self.phases.of("journal"):
            self._row.journal.asked()
        with self.phases.of("calibrate"):
            self._population = array_size(
                self.study, self.prepared, self.folder, self.options.n_workers,
                device=self.options.device, say=self.options.say,
            )  # fmt: skip
            bf16 = trains_in_bf16(
                self.study, self.prepared, self.folder, self.options.device, self.options.say
            )
        is_fixed = self.study.spec.search.order == "fixed"
        backend = make_backend(
            self.prepared, self.options.n_workers, self.options.device, self.options.say, bf16,
            self.folder.checkpoints / "search" if is_fixed else None,
        )  # fmt: skip
        try:
            with Interrupts() as interrupts:
                return self._run(backend, interrupts)
        finally:
            backend.close()
            for observer in self.observers:
                observer.search_ended()

    def _run(self, backend: Backend, interrupts: Interrupts) -> SearchResult:
        with self.phases.of("track"):
            run_id = open_parent(
                self.study, self.prepared, self.folder, self.tracker, self.options.device
            )
            if self.folder.cohorts():
                self._row.runs.mend(self.tracker.runs_of_study(run_id))
        try:
            for observer in self.observers:
                observer.search_started(self.options.n_trials, self.folder.trials())
            started = time.perf_counter()
            self._order(backend, interrupts).search()
            seconds = time.perf_counter() - started
            self.phases.seconds["wait"] = backend.waited_seconds
            with self.phases.of("finalists"):
                self._train_finalists(backend, interrupts)
            with self.phases.of("models"):
                self._row.models.publish(self.tracker)
        except Exception as error:
            interrupted = isinstance(error, Interrupted)
            why = "the search was stopped" if interrupted else f"it failed: {error}"
            self._row.runs.interrupt(why)
            self._finish("interrupted" if interrupted else "failed")
            raise
        self.folder.drop_checkpoints("search")
        self._finish("complete")
        return SearchResult(tuple(self.folder.trials()), run_id, seconds, self.phases.seconds)

    def _open_record(self) -> None:
        settings = launch_settings(self.study, self.prepared)
        record = self.folder.record()
        if not record.get("cohorts"):  # nothing was asked yet: nothing to be at odds with
            kept = {key: value for key, value in record.items() if not key.startswith("population")}
            self.folder.save_record({**kept, "settings": settings})
            self.folder.set_journal_aside()
        check_resume(self.study.spec.name, self.folder.record()["settings"], settings)
        note_device(self.folder, self.options.device, self.options.say)

    def _order(self, backend: Backend, interrupts: Interrupts) -> Order:
        spec = self.study.spec.search
        means = Means(
            spec, self.options, self._row, self.observers, self.phases, backend, self._pruner,
            self._population, lambda: interrupts.requested,
        )  # fmt: skip
        return ORDERS[spec.order](means)

    def _train_finalists(self, backend: Backend, interrupts: Interrupts) -> None:
        """Retrains the best trials that were not retrained before."""
        train_finalists(
            self.study, self.prepared, self.tracker, [(self._row.row, self.folder)],
            backend, self._population, lambda: interrupts.requested, self._show_finalists,
        )  # fmt: skip

    def _show_finalists(self, what: str, epoch: int, n_epochs: int) -> None:
        for observer in self.observers:
            observer.finalists_trained(what, epoch, n_epochs)

    def _finish(self, state: State) -> None:
        with self.phases.of("track"):
            table, description, files = self.describe(self.folder.trials(), state)
            self.tracker.finish_study(state, table, description, files)
            self.folder.save_record({**self.folder.record(), "state": state})
