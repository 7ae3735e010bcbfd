"""What watches a search: progress displays, reports. An observer changes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from pipeline.driver.records import TrialRecord
from pipeline.training.members import EpochResult


class Observer(Protocol):
    """Told of everything that happens in a search, in the driver's thread."""

    def search_started(self, n_trials: int, finished: Sequence[TrialRecord]) -> None:
        """The search goes on from the finished trials towards `n_trials`."""

    def trials_started(self, numbers: Sequence[int]) -> None:
        """Trials were asked and start to train."""

    def epochs_done(self, results: Sequence[EpochResult]) -> None:
        """Members trained an epoch."""

    def trials_done(self, trials: Sequence[TrialRecord]) -> None:
        """Trials ended and were told."""

    def finalists_trained(self, what: str, epoch: int, n_epochs: int) -> None:
        """The best trials, trained again under fresh seeds, did an epoch of at most so many."""

    def search_ended(self) -> None:
        """The search ended, however it did."""
