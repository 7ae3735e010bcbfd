"""What a search costs beside training: where a trial is long, where it is short, where it is none.

- `bench_long`: a study whose trial takes five seconds, with MLflow and without, in turn.
- `bench_shares`: one study in one process, its time taken apart.
- `bench_driver`: a study whose members train in no time: what is left is the driver's.
"""

from __future__ import annotations

import tempfile
import time
from collections import deque
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import patch

from rich.table import Table

from pipeline import search
from pipeline.data.prepared import Prepared
from pipeline.driver.backend import ArrayDone, Backend, EpochDone, Event
from pipeline.driver.launch import default_workers
from pipeline.driver.records import TrialRecord
from pipeline.driver.study_folder import StudyFolder
from pipeline.driver.trials import make_member
from pipeline.study.loading import Study
from pipeline.tracking.store import open_store
from pipeline.tracking.study_tracker import StudyTracker
from pipeline.tracking.tracker import NullTracker
from pipeline.training import ends, epoch_results, loop
from pipeline.training.members import EpochResult, Member, Trained
from tests.benchmarks.quickstart import silent
from tests.benchmarks.workload import Workload

SIZES = (10, 100, 1000)
COHORT = 10  # so that cohorts end at the sizes
CALLS = ("start_trials", "log_epoch", "finish", "study_progress")
"""Of a tracker, in the driver's thread while trials train."""

EVALUATING = (
    (ends, "predict_part"), (epoch_results, "evaluate_members"),
    (ends, "evaluate_one"), (ends, "tuned"),
)  # fmt: skip
"""Where training evaluates, by module and function."""


@contextmanager
def folder_of(workload: Workload) -> Iterator[Path]:
    """A folder with the table, a store and the prepared cache."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        workload.write_table(folder)
        open_store(folder / "store")
        workload.prepared(folder)
        yield folder


def epochs_lasting(workload: Workload, folder: Path, seconds: float) -> int:
    """Returns how many epochs of one member alone take that long."""
    study, prepared = workload.study(folder), workload.prepared(folder)
    one = make_member(study, prepared, 0, study.centre())
    ends: list[float] = []

    def note(results: Sequence[EpochResult]) -> Mapping[int, Any]:
        ends.append(time.perf_counter())
        return {}

    short = replace(one, train=replace(one.train, epochs=8))
    loop.train([short], prepared, note)
    return max(1, round(seconds * (len(ends) - 1) / (ends[-1] - ends[0])))


def bench_long(
    n_repeats: int, seconds: float = 5.0, n_trials: int = 8, workload: Workload | None = None
) -> dict[str, Any]:
    """Searches with and without MLflow in turn where a trial alone takes some seconds.

    The seconds of a trial are those that a user sees in its run: from its start to its end in an
    array of its own, on one of the workers. `busy_seconds` are the workers' seconds by trials,
    which agree with them where no worker waits.
    """
    workload = workload or Workload(256, 256)
    with folder_of(workload) as folder:
        n_epochs = epochs_lasting(workload, folder, seconds)
        long = Workload(**{**asdict(workload), "epochs": n_epochs})
        found: dict[bool, list[float]] = {True: [], False: []}
        lasting: list[float] = []
        for repeat in range(n_repeats):
            for tracked in (True, False) if repeat % 2 == 0 else (False, True):
                study = long.study(
                    folder, f"long{repeat}-{tracked}", ", pruner: none, population: 1"
                )
                tracker = None if tracked else NullTracker()
                done = search(
                    study, n_trials, store=folder / "store", tracker=tracker, say=silent
                )  # fmt: skip
                found[tracked].append(done["seconds"])
                trials = StudyFolder(folder / "store" / "studies", study.spec.name).trials()
                lasting += [trial.seconds for trial in trials]
        seconds_with, seconds_without = median(found[True]), median(found[False])
        return {
            "trials": n_trials, "epochs": n_epochs, "workers": default_workers(study),
            "trial_seconds": median(lasting),
            "busy_seconds": seconds_without * default_workers(study) / n_trials,
            "seconds_with": seconds_with, "seconds_without": seconds_without,
            "cost": seconds_with / seconds_without - 1,
            "runs_with": found[True], "runs_without": found[False],
        }  # fmt: skip


class Clock:
    """Seconds spent inside functions; a call inside a call counts once."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._inside = False

    def timed(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            if self._inside:
                return function(*args, **options)
            self._inside, started = True, time.perf_counter()
            try:
                return function(*args, **options)
            finally:
                self.seconds += time.perf_counter() - started
                self._inside = False

        return call


def bench_shares(n_trials: int = 64, workload: Workload | None = None) -> dict[str, Any]:
    """Takes the time of one search apart: one worker, in the driver's process.

    Asking is that of the sampler and its journal, telling too. Evaluating is every epoch's scores
    and all metrics of the ends. Tracking is what the driver spends in the tracker, and the CPU of
    the thread that writes, also what it writes before the first ask and after the last tell.
    """
    evaluating, tracking = Clock(), Clock()
    with folder_of(workload or Workload()) as folder, ExitStack() as watching:
        for where, name in EVALUATING:
            timed = evaluating.timed(getattr(where, name))
            watching.enter_context(patch.object(where, name, timed))
        for name in CALLS:
            timed = tracking.timed(getattr(StudyTracker, name))
            watching.enter_context(patch.object(StudyTracker, name, timed))
        study = (workload or Workload()).study(folder, "shares", ", pruner: none")
        clocks = time.process_time(), time.thread_time()
        done = search(study, n_trials, n_workers=1, store=folder / "store", say=silent)
        others = (time.process_time() - clocks[0]) - (time.thread_time() - clocks[1])
    whole, phases = done["seconds"], done["phases"]
    return {
        "trials": n_trials,
        "seconds": whole,
        "asking": (phases["ask"] + phases["tell"]) / whole,
        "evaluating": evaluating.seconds / whole,
        "tracking": (tracking.seconds + others) / whole,
    }


class Instant(Backend):
    """Trains nothing: every epoch is there at once, with the results of a member that did train.

    Args:
        like: How that member ended.
        epochs: Its epochs.
    """

    def __init__(self, like: Trained, epochs: Sequence[EpochResult]) -> None:
        self._like, self._epochs = like, epochs
        self._events: deque[Event] = deque()

    def submit(
        self, arrays: Mapping[int, Sequence[Member]], pauses: Container[int] | None = None
    ) -> None:
        for array, members in arrays.items():
            for epoch in self._epochs:
                own = (replace(epoch, number=m.number, score=self._score(m)) for m in members)
                self._events.append(EpochDone(array, tuple(own), waits=False))
            ends = (replace(self._like, number=m.number, score=self._score(m)) for m in members)
            self._events.append(ArrayDone(array, tuple(ends)))

    def _score(self, member: Member) -> float:
        """So that the sampler has something to learn."""
        return 0.5 - abs(member.model.dropout - 0.2) - member.train.lr

    def receive(self) -> Event | None:
        return self._events.popleft() if self._events else None

    def answer(self, array: int, answer: loop.Answer) -> None:
        raise AssertionError("nothing waits")

    @property
    def waited_seconds(self) -> float:
        return 0.0

    def close(self) -> None:
        self._events.clear()


class Stopwatch:
    """An observer that notes when so many trials had ended."""

    def __init__(self) -> None:
        self.ends: dict[int, float] = {}
        self._n_trials = 0

    def search_started(self, n_trials: int, finished: Sequence[TrialRecord]) -> None:
        self.started = time.perf_counter()

    def trials_started(self, numbers: Sequence[int]) -> None:
        pass

    def epochs_done(self, results: Sequence[EpochResult]) -> None:
        pass

    def trials_done(self, trials: Sequence[TrialRecord]) -> None:
        self._n_trials += len(trials)
        self.ends[self._n_trials] = time.perf_counter() - self.started

    def finalists_trained(self, what: str, epoch: int, n_epochs: int) -> None:
        pass

    def search_ended(self) -> None:
        pass


def trained_once(study: Study, prepared: Prepared) -> tuple[Trained, list[EpochResult]]:
    """Trains the study's centre; returns how it ended and its epochs."""
    epochs: list[EpochResult] = []

    def note(results: Sequence[EpochResult]) -> Mapping[int, Any]:
        epochs.extend(results)
        return {}

    (trained,) = loop.train([make_member(study, prepared, 0, study.centre())], prepared, note)
    return trained, epochs


def bench_driver(
    sizes: Sequence[int] = SIZES, workload: Workload | None = None
) -> list[dict[str, Any]]:
    """Searches with members that train in no time, everything else on."""
    work = workload or Workload()
    with folder_of(work) as folder:
        study = work.study(folder, "driver", f", pruner: none, cohort: {COHORT}, population: 5")
        instant = Instant(*trained_once(study, work.prepared(folder)))
        watch = Stopwatch()
        with patch("pipeline.driver.search.make_backend", lambda *given: instant):
            search(study, max(sizes), store=folder / "store", observers=[watch], say=silent)
    return [{"trials": size, "seconds": watch.ends[size], "epochs": work.epochs} for size in sizes]


def bench_overhead(n_repeats: int) -> dict[str, Any]:
    """Measures all three."""
    return {
        "long": bench_long(n_repeats), "shares": bench_shares(), "driver": bench_driver(),
    }  # fmt: skip


def overhead_table(found: dict[str, Any]) -> Table:
    table = Table(title="What a search costs beside training", title_justify="left")
    for column in ("what", "found", "goal"):
        table.add_column(column, justify="left" if column == "what" else "right")
    long, shares = found["long"], found["shares"]
    about = f"a trial of {long['trial_seconds']:.1f} s, {long['epochs']} epochs"
    table.add_row(f"tracking, {about}", f"{long['cost']:+.1%}", "at most 3 %")
    for name in ("tracking", "asking", "evaluating"):
        goal = "at most 10 %" if name == "tracking" else ""
        about = f"share of {name}, {shares['trials']} trials in one process"
        table.add_row(about, f"{shares[name]:.1%}", goal)
    for row in found["driver"]:
        each = 1e3 * row["seconds"] / row["trials"]
        table.add_row(
            f"the driver, a trial of {row['epochs']} epochs, over {row['trials']} trials",
            f"{each:.1f} ms", "",
        )  # fmt: skip
    return table
