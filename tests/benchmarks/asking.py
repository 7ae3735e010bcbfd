"""What asking and telling costs: the study's journal against stock Optuna in memory."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import optuna

from pipeline.driver.journal import TrialJournal, distribution
from tests.benchmarks.workload import Workload

SIZES = (10, 100, 1000)
COHORT = 10  # asked together, told together, by both


def score_of(params: dict[str, Any]) -> float:
    """A bowl, so that the sampler has something to learn."""
    return -sum((float(value) - 0.3) ** 2 for value in params.values())


def bench_asking(sizes: tuple[int, ...] = SIZES) -> list[dict[str, Any]]:
    """Asks and tells the same space through both; returns the seconds at each number of trials.

    The two take turns cohort by cohort, so that a busy moment of the machine meets both.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with tempfile.TemporaryDirectory() as folder:
        workload = Workload(n_train=64)
        workload.write_table(Path(folder))
        ranges = workload.study(Path(folder)).ranges
        journal = TrialJournal(Path(folder) / "asking.journal", "asking", 0, "tpe", ranges)
        stock = optuna.create_study(
            direction="maximize", sampler=optuna.samplers.TPESampler(seed=0)
        )
        space = {key: distribution(found) for key, found in ranges.items()}
        ours = theirs = 0.0
        found = []
        for start in range(0, max(sizes), COHORT):
            numbers = range(start, min(start + COHORT, max(sizes)))
            before = time.perf_counter()
            with journal.together():
                asked = [journal.ask(number) for number in numbers]
            with journal.together():
                for one in asked:
                    journal.tell(one.number, "complete", [score_of(dict(one.params))], 1)
            middle = time.perf_counter()
            trials = [stock.ask(space) for _ in numbers]
            for trial in trials:
                stock.tell(trial, score_of(trial.params))
            ours += middle - before
            theirs += time.perf_counter() - middle
            if numbers.stop in sizes:
                found.append({"trials": numbers.stop, "ours": ours, "stock": theirs})
    return found
