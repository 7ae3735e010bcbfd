"""How a search is launched, and what it leaves."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch

from pipeline.data.prepared import Prepared
from pipeline.driver.backend import Backend, InProcess
from pipeline.driver.processes import LocalProcesses
from pipeline.driver.pruners import Pruner
from pipeline.driver.records import TrialRecord
from pipeline.study import catalogue
from pipeline.study.loading import Study
from pipeline.study.ranges import Choices, Range
from pipeline.study.search_spec import SearchSpec
from pipeline.training.devices import CPU


@dataclass(frozen=True)
class SearchOptions:
    """How a search runs; none of it changes a parameter.

    Attributes:
        n_trials: Finished trials at the end, those of earlier launches counted.
        timeout_seconds: After this no further cohort starts, in the free order no further trial;
            what runs is finished.
        n_workers: Local processes; 1 trains in the driver's own process.
        device: Where members train. Rounding differs from device to device, noise does not.
        say: Told what is worth knowing on the way.
    """

    n_trials: int
    timeout_seconds: float | None = None
    n_workers: int = 1
    device: torch.device = CPU
    say: Callable[[str], None] = lambda text: None


@dataclass
class Phases:
    """Seconds spent in each phase of a search."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def of(self, phase: str) -> Iterator[None]:
        """Adds the time inside to a phase."""
        started = time.perf_counter()
        try:
            yield
        finally:
            spent = time.perf_counter() - started
            self.seconds[phase] = self.seconds.get(phase, 0.0) + spent


@dataclass(frozen=True)
class SearchResult:
    """What a search leaves.

    Attributes:
        trials: All finished trials, in number order.
        run_id: The parent run.
        seconds: From the first ask to the last tell of this launch.
        phases: Seconds of each phase. What is tracked of a cohort while the next one trains lies
            within `train`; so does `wait`, how long a worker had nothing to train, on average.
    """

    trials: tuple[TrialRecord, ...]
    run_id: str
    seconds: float
    phases: Mapping[str, float]


def make_pruner(study: Study, tasks: Sequence[str] | None = None) -> Pruner:
    """Makes the study's pruner, whose rungs reach to the most epochs that a trial may have.

    Args:
        study: The study.
        tasks: What a row is judged by where the study has several objectives; by default those.
            Floors of other tasks do not count: a task alone learns no other.
    """
    found = study.ranges.get("train.epochs")
    n_epochs = study.spec.train.epochs
    if isinstance(found, Range):
        n_epochs = int(found.high)
    elif isinstance(found, Choices):
        n_epochs = max(found.choices)
    search = study.spec.search
    objectives = () if isinstance(search.objective, str) else tasks or search.objective
    floors = {task: floor for task, floor in search.floors.items() if task in objectives}
    pruner: Pruner = catalogue.load("pruner", pruner_name(search))(
        n_epochs, study.spec.seed, objectives, floors
    )
    return pruner


def pruner_name(search: SearchSpec) -> str:
    """Returns the rule that prunes: with several objectives `dominated` stands for `median`."""
    several = not isinstance(search.objective, str)
    return "dominated" if several and search.pruner == "median" else search.pruner


def default_workers(study: Study, n_rows: int = 1, device: torch.device = CPU) -> int:
    """Returns one worker a core, but no more than the cohorts of some rows have arrays.

    A GPU has one: arrays of several would wait for each other.
    """
    if device.type != "cpu":
        return 1
    search = study.spec.search
    size = 1 if search.population == "auto" else search.population
    n_arrays = -(-search.cohort * n_rows // size)
    n_cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, min(n_cores or 1, n_arrays))


def make_backend(
    prepared: Prepared,
    n_workers: int,
    device: torch.device = CPU,
    say: Callable[[str], None] = lambda text: None,
    bf16: bool = False,
    checkpoints: Path | None = None,
) -> Backend:
    """Makes the backend: this process for one worker or a GPU, local processes for more.

    Args:
        prepared: The data.
        n_workers: How many.
        device: Where they train.
        say: Told what is worth knowing on the way.
        bf16: Of a GPU: see `Placed`.
        checkpoints: Folder where arrays that train for long write checkpoints; None for none.
    """
    if n_workers == 1 or prepared.folder is None or device.type != "cpu":
        return InProcess(prepared, device, say, bf16, checkpoints)
    return LocalProcesses(prepared.folder, n_workers, checkpoints, say)
