"""The fixed order: ask a cohort, train it, tell it, keep its outcome; again until done.

Parameters depend on neither time nor hardware: a cohort is noted before its first trial is asked,
it is told whole and in number order, and one that was killed runs again whole.

No worker waits for a disk: a cohort that has trained is told and the next one asked in memory.
While that one trains, the outcome is written, and only then the journal. A driver that is killed
in between has told and asked nothing, and the cohort runs again.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass

from pipeline.driver.cohort import CohortRun
from pipeline.driver.order import Order
from pipeline.driver.records import TrialRecord
from pipeline.driver.searched import AskedCohort
from pipeline.errors import Interrupted
from pipeline.training.members import Trained


@dataclass(frozen=True)
class _Ended:
    """A cohort that has trained and is not kept yet."""

    asked: AskedCohort
    trained: list[Trained]
    records: list[TrialRecord]


class FixedOrder(Order):
    """Cohort after cohort; see `order.Order`."""

    def search(self) -> None:
        """Searches until the trials are finished or the time is up."""
        self._tell_kept()
        ended: _Ended | None = None
        while True:
            with ExitStack() as before:
                self._will_keep(before, ended)
                asked = self._tell_and_ask(ended)
                if asked is None:
                    return
                ended = self._train(asked, ended, before.close)

    def _tell_kept(self) -> None:
        """Tells cohorts that an earlier driver kept and was killed before it could tell."""
        means = self._means
        while (cohort := means.row.next_cohort(means.options.n_trials)) is not None:
            trials = means.row.folder.outcome(cohort)
            if trials is None:
                return
            self._tell(trials, known=True)

    def _will_keep(self, before: ExitStack, ended: _Ended | None) -> None:
        """Lets the end of `before` keep a cohort, then write the journal, then show the trials."""
        if ended is not None:
            before.callback(self._show, ended.records)
        before.enter_context(self._means.row.journal.together())
        if ended is not None:
            before.callback(self._keep, ended)

    def _keep(self, ended: _Ended) -> None:
        row = self._means.row
        try:
            with self._means.phases.of("track"):
                row.keep(ended.asked, ended.trained, ended.records)
        except BaseException:
            row.journal.abandon()  # it must not tell of an outcome that is not on disk
            raise
        row.folder.drop_checkpoints("search", ended.asked.cohort.numbers)

    def _tell_and_ask(self, ended: _Ended | None) -> AskedCohort | None:
        """Tells a cohort and asks the next one; None when done."""
        means = self._means
        if ended is not None:
            with means.phases.of("tell"):
                means.row.tell(ended.records)
        cohort = means.row.next_cohort(means.options.n_trials)
        if cohort is None:
            return None
        if means.stopping():
            raise Interrupted("The search was stopped between two cohorts.")
        if self._time_is_up():
            return None
        with means.phases.of("ask"):
            return means.row.ask(cohort)

    def _train(
        self, asked: AskedCohort, ended: _Ended | None, settle: Callable[[], None]
    ) -> _Ended:
        """Trains a cohort; `settle` keeps the one before once this one has begun."""
        means, row = self._means, self._means.row
        last = [] if ended is None else ended.records

        def once_started() -> None:
            settle()
            self._announce(asked.members)
            row.start_runs(asked)

        run = CohortRun(
            means.backend, asked.members, means.population, means.pruner,
            row.told(asked.cohort, last), self._epochs_done, means.stopping,
            row.told_tasks(asked.cohort, last) if means.pruner.tasks else {},
        )  # fmt: skip
        with means.phases.of("train"):
            trained = run.run(once_started)
        return _Ended(asked, trained, row.records(asked, trained))
