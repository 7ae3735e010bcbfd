"""The quickstart study: what tracking costs, how populations train, how soon `mtl` answers."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from rich.table import Table

from pipeline import load_study, prepare, search
from pipeline.data.prepared import Prepared
from pipeline.driver.backend import one_thread
from pipeline.driver.launch import default_workers
from pipeline.driver.trials import make_member
from pipeline.study.loading import Study
from pipeline.tracking.store import Store, open_store
from pipeline.tracking.tracker import NullTracker
from pipeline.training.population import Population

STUDY = Path("studies/quickstart.yaml")
POPULATIONS = (1, 8, 16)


def seconds_of(action: Callable[[], object]) -> float:
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def named(name: str) -> Study:
    """The quickstart study under another name: it starts from nothing in the same store."""
    return load_study(STUDY, overrides={"name": name})


def silent(text: str) -> None:
    """Takes the place of messages on stderr."""


def launch(name: str, store: Store, n_trials: int | None, tracked: bool) -> dict[str, Any]:
    """Searches from nothing and returns the seconds of the whole call and of its phases."""
    study = named(f"{name}-{'tracked' if tracked else 'untracked'}")
    started = time.perf_counter()
    found = search(
        study, n_trials, store=store, tracker=None if tracked else NullTracker(), say=silent
    )
    return {"seconds": time.perf_counter() - started, "phases": found["phases"]}


def bench_tracking(store: Store, n_repeats: int, n_trials: int | None) -> dict[str, Any]:
    """Searches with and without MLflow in turn; the order changes from repeat to repeat."""
    for tracked in (True, False):  # imports, the prepared cache, the workers' fork server
        launch("warm", store, 1, tracked)
    launches: dict[bool, list[dict[str, Any]]] = {True: [], False: []}
    for repeat in range(n_repeats):
        for tracked in (True, False) if repeat % 2 == 0 else (False, True):
            launches[tracked].append(launch(f"repeat{repeat}", store, n_trials, tracked))
    seconds = {
        tracked: median(launch["seconds"] for launch in found)
        for tracked, found in launches.items()
    }
    study = named("quickstart")
    return {
        "trials": n_trials or study.spec.search.trials,
        "workers": default_workers(study),
        "seconds_with": seconds[True],
        "seconds_without": seconds[False],
        "cost": seconds[True] / seconds[False] - 1,
        "launches_with": launches[True],
        "launches_without": launches[False],
    }


def bench_population(prepared: Prepared, n_members: int, n_epochs: int) -> dict[str, Any]:
    """Trains the quickstart network on one thread, without evaluating it."""
    study = named("population")
    members = [make_member(study, prepared, number, study.centre()) for number in range(n_members)]
    with one_thread():
        population = Population(members, prepared)
        population.train_epoch(1)  # the first steps allocate
        seconds = [
            seconds_of(lambda epoch=epoch: population.train_epoch(epoch))
            for epoch in range(2, n_epochs + 2)
        ]
    steps = population.steps_per_epoch
    return {"members": n_members, "member_steps_per_second": n_members * steps / median(seconds)}


def bench_command(*arguments: str, n_repeats: int = 5) -> float:
    """Returns the seconds from the start of the interpreter to the end of the command."""
    command = [sys.executable, "-m", "pipeline.cli", *arguments]
    return median(
        seconds_of(lambda: subprocess.run(command, check=True, capture_output=True))
        for _ in range(n_repeats)
    )


def table_of(found: dict[str, Any]) -> Table:
    table = Table(title="Quickstart study", title_justify="left")
    for column in ("what", "found", "goal"):
        table.add_column(column, justify="left" if column == "what" else "right")
    tracking = found["tracking"]
    about = f"{tracking['trials']} trials, {tracking['workers']} workers"
    table.add_row(f"search with MLflow ({about})", f"{tracking['seconds_with']:.1f} s", "")
    table.add_row("search without tracking", f"{tracking['seconds_without']:.1f} s", "")
    table.add_row("cost of tracking", f"{tracking['cost']:+.1%}", "at most 10 %")
    alone = found["populations"][0]["member_steps_per_second"]
    for population in found["populations"]:
        rate = population["member_steps_per_second"]
        table.add_row(
            f"member-steps per second, K = {population['members']}",
            f"{rate:,.0f} ({rate / alone:.1f} x)", "",
        )  # fmt: skip
    table.add_row("a fresh store", f"{found['store_seconds']:.1f} s", "")
    table.add_row("mtl --help", f"{found['help_seconds']:.2f} s", "0.3 s")
    table.add_row("mtl check", f"{found['check_seconds']:.2f} s", "1.5 s")
    return table


def bench_quickstart(n_repeats: int, n_epochs: int = 10) -> dict[str, Any]:
    """Measures all of it in a store of its own."""
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        store = open_store(Path(folder))
        found: dict[str, Any] = {"store_seconds": time.perf_counter() - started}
        prepared = prepare(named("population"), store)
        found["populations"] = [
            bench_population(prepared, n_members, n_epochs) for n_members in POPULATIONS
        ]
        found["help_seconds"] = bench_command("--help")
        found["check_seconds"] = bench_command("check", str(STUDY))
        found["tracking"] = bench_tracking(store, n_repeats, None)
    return found
