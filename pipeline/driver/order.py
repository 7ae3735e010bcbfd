"""In which order trials are asked, trained and told: what the orders have in common."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pipeline.driver.backend import Backend
from pipeline.driver.launch import Phases, SearchOptions
from pipeline.driver.observers import Observer
from pipeline.driver.pruners import Pruner
from pipeline.driver.records import TrialRecord
from pipeline.driver.searched import SearchedRow
from pipeline.study.search_spec import SearchSpec
from pipeline.training.members import EpochResult, Member


@dataclass(frozen=True)
class Means:
    """What an order works with.

    Attributes:
        spec: The study's section `search`.
        options: How the search runs.
        row: What is searched; keeps everything.
        observers: Told of everything.
        phases: Gets the seconds spent.
        backend: Where members train.
        pruner: Decides who goes on.
        population: Most members in one array.
        stopping: Asked between epochs; True ends the search with `Interrupted`.
    """

    spec: SearchSpec
    options: SearchOptions
    row: SearchedRow
    observers: Sequence[Observer]
    phases: Phases
    backend: Backend
    pruner: Pruner
    population: int
    stopping: Callable[[], bool]


class Order(ABC):
    """One order; made anew for each launch.

    Args:
        means: What it works with.
    """

    def __init__(self, means: Means) -> None:
        self._means = means
        self._started = time.perf_counter()

    @abstractmethod
    def search(self) -> None:
        """Searches until the trials are finished or the time is up.

        Raises:
            Interrupted: `stopping` said so; what has not ended runs again on resume.
        """

    def _time_is_up(self) -> bool:
        timeout = self._means.options.timeout_seconds
        return timeout is not None and time.perf_counter() - self._started > timeout

    def _announce(self, members: Sequence[Member]) -> None:
        """Tells the observers that trials start to train."""
        for observer in self._means.observers:
            observer.trials_started([member.number for member in members])

    def _epochs_done(self, results: Sequence[EpochResult]) -> None:
        """Notes what members did in an epoch."""
        self._means.row.runs.epochs(results)
        for observer in self._means.observers:
            observer.epochs_done(results)

    def _tell(self, trials: Sequence[TrialRecord], known: bool = False) -> None:
        """Tells the sampler and the observers how trials ended.

        Args:
            trials: Their records; kept already.
            known: An earlier driver kept them, so that the observers were shown them.
        """
        with self._means.phases.of("tell"):
            self._means.row.tell(trials)
        if not known:
            self._show(trials)

    def _show(self, trials: Sequence[TrialRecord]) -> None:
        """Tells the observers how trials ended."""
        for observer in self._means.observers:
            observer.trials_done(trials)
