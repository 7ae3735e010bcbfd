"""The fixed order: ask a cohort, train it, keep its outcome, tell it; again until done.

Parameters depend on neither time nor hardware: a cohort is noted before its first trial is asked,
it is told whole and in number order, and one that was killed runs again whole.
"""

from __future__ import annotations

from pipeline.driver.cohort import CohortRun
from pipeline.driver.order import Order
from pipeline.driver.records import Cohort, TrialRecord
from pipeline.errors import Interrupted


class FixedOrder(Order):
    """Cohort after cohort; see `order.Order`."""

    def search(self) -> None:
        """Searches until the trials are finished or the time is up."""
        means = self._means
        while (cohort := means.row.next_cohort(means.options.n_trials)) is not None:
            if means.stopping():
                raise Interrupted("The search was stopped between two cohorts.")
            if self._time_is_up():
                return
            trials = means.row.folder.outcome(cohort)
            if trials is None:
                self._tell(self._train(cohort))
            else:
                self._tell(trials, known=True)

    def _train(self, cohort: Cohort) -> list[TrialRecord]:
        means, row = self._means, self._means.row
        with means.phases.of("ask"):
            asked = row.ask(cohort)
        self._announce(asked.members)
        run = CohortRun(
            means.backend, asked.members, means.population, means.pruner, row.told(),
            self._epochs_done, means.stopping,
        )  # fmt: skip
        with means.phases.of("train"):
            trained = run.run(once_started=lambda: row.start_runs(asked))
        with means.phases.of("track"):
            return row.keep(asked, trained)
