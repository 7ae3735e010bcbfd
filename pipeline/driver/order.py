"""In which order trials are asked, trained and told: what the orders have in common."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

from pipeline.driver.backend import Backend
from pipeline.driver.launch import SearchOptions
from pipeline.driver.ledger import Ledger
from pipeline.driver.pruners import Pruner
from pipeline.driver.records import StudyFolder
from pipeline.study.spec import SearchSpec


@dataclass(frozen=True)
class Means:
    """What an order works with.

    Attributes:
        spec: The study's section `search`.
        options: How the search runs.
        folder: The study's files.
        ledger: Asks, keeps and tells trials.
        backend: Where members train.
        pruner: Decides who goes on.
        population: Most members in one array.
        stopping: Asked between epochs; True ends the search with `Interrupted`.
    """

    spec: SearchSpec
    options: SearchOptions
    folder: StudyFolder
    ledger: Ledger
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
