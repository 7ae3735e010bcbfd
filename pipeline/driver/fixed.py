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
        while (cohort := self._next_cohort()) is not None:
            if self._means.stopping():
                raise Interrupted("The search was stopped between two cohorts.")
            if self._time_is_up():
                return
            self._run_cohort(cohort)

    def _next_cohort(self) -> Cohort | None:
        """Returns the cohort that a killed driver left open, or a new one; None when done."""
        asked = {trial.number: trial for trial in self._means.ledger.journal.asked()}
        n_finished = sum(trial.finished for trial in asked.values())
        begun = self._means.folder.cohorts()
        for cohort in begun:
            told = all(n in asked and asked[n].finished for n in cohort.numbers)
            if not told and (
                n_finished < self._means.options.n_trials
                or self._means.folder.outcome(cohort) is not None
            ):
                return cohort
        start = begun[-1].stop if begun else 0
        if start >= self._means.options.n_trials or n_finished >= self._means.options.n_trials:
            return None
        size = self._means.spec.cohort
        return Cohort(start, min(self._means.options.n_trials, (start // size + 1) * size))

    def _run_cohort(self, cohort: Cohort) -> None:
        trials = self._means.folder.outcome(cohort)
        if trials is None:
            self._means.folder.begin(cohort)
            self._means.ledger.tell(self._train(cohort))
        else:
            self._means.ledger.tell(trials, known=True)

    def _train(self, cohort: Cohort) -> list[TrialRecord]:
        means, ledger = self._means, self._means.ledger
        members = ledger.ask(cohort.numbers)
        ledger.announce(members)
        told = {trial.number: trial.curve for trial in means.folder.trials()}
        run = CohortRun(
            means.backend, members, means.population, means.pruner, told, ledger.epochs,
            means.stopping,
        )  # fmt: skip
        with ledger.phases.of("train"):
            trained = run.run(once_started=lambda: ledger.open_runs(members))
        return ledger.end(
            members, trained, lambda trials: means.folder.save_outcome(cohort, trials)
        )
