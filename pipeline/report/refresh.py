"""Keeping the report of a running study fresh, off the training path."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

from pipeline.driver.records import TrialRecord
from pipeline.training.members import EpochResult

EVERY_SECONDS = 30.0
"""Least time between two reports: what a person who looks at a running study does not mind."""
SHARE = 0.005
"""Most of the time that may go into reports: large ones come less often."""

Files = Mapping[str, str]


class ReportRefresh:
    """An observer that has the report written now and then; the end of the search writes the last.

    Args:
        make: From the finished trials to the report's files; called in another thread.
        submit: Takes a function that makes files, to be called and kept later.
        clock: Tells seconds.
    """

    def __init__(
        self,
        make: Callable[[Sequence[TrialRecord]], Files],
        submit: Callable[[Callable[[], Files]], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._make, self._submit, self._clock = make, submit, clock
        self._trials: list[TrialRecord] = []
        self._due = -float("inf")
        self.seconds = 0.0

    def search_started(self, n_trials: int, finished: Sequence[TrialRecord]) -> None:
        """Takes what an earlier launch finished."""
        self._trials = list(finished)

    def trials_started(self, numbers: Sequence[int]) -> None:
        """Does nothing."""

    def epochs_done(self, results: Sequence[EpochResult]) -> None:
        """Does nothing."""

    def trials_done(self, trials: Sequence[TrialRecord]) -> None:
        """Has the report written, where the last one is old enough."""
        self._trials += trials
        if self._clock() < self._due:
            return
        self._due = float("inf")  # until this one is made
        found = tuple(self._trials)
        self._submit(lambda: self._timed(found))

    def finalists_trained(self, what: str, epoch: int, n_epochs: int) -> None:
        """Does nothing."""

    def search_ended(self) -> None:
        """Does nothing: the end of the search writes its own."""

    def _timed(self, trials: Sequence[TrialRecord]) -> Files:
        started = self._clock()
        try:
            return self._make(trials)
        finally:
            took = self._clock() - started
            self.seconds += took
            self._due = started + max(EVERY_SECONDS, took / SHARE)
