"""This project against what people use today, side by side.

`make bench` runs this from the root of the repository, prints tables and writes bench.json. Each
competitor runs in its own process on the same prepared data; repeats take turns, and medians are
shown. The machine may be busy with other things: the ratios say more than the seconds.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from pipeline.errors import InputError
from pipeline.tracking.store import open_store
from pipeline.training.devices import find_device
from tests.benchmarks.asking import bench_asking
from tests.benchmarks.features import bench_features, features_table, news
from tests.benchmarks.overhead import bench_overhead, overhead_table
from tests.benchmarks.quickstart import bench_quickstart, table_of
from tests.benchmarks.serving import bench_serving, serving_table
from tests.benchmarks.workload import Workload

CELLS = (Workload(64, 64), Workload(128, 256), Workload(256, 256))
ABOUT = {
    "a": "tutorial: Optuna on SQLite, DataLoader, MLflow's fluent calls",
    "a-pruned": "the same with MedianPruner",
    "b": "best plain loop, a process a core, no tracking",
    "b-one": "the same in one process",
    "c": "torchjd Constant in a DataLoader loop, no tracking",
    "d": "this project, arrays of one member",
    "e": "this project at its defaults (cohorts of 16)",
    "e32": "this project, cohorts of 32",
    "e64": "this project, one cohort of 64",
    "e64-untracked": "the same without MLflow",
    "e32-pruned": "this project, cohorts of 32, median pruner",
    "e-free": "this project, free order, 32 at once, halving",
}
TRIALS = {"a": 8, "b": 32, "c": 8, "d": 32}  # of those that train one after the other; else 64
GOALS = {64: {"a": 25.0, "b": 5.0}, 128: {"b": 2.2}, 256: {"b": 1.8}}
GPU_CELLS = (Workload(64, 64), Workload(256, 256))
GPU_TRIALS = {"b-one": 8, "e64": 64, "e256": 256, "e1024": 1024}
"""Trials of each competitor on a GPU: one whole cohort, since trials of a cohort share arrays."""
GPU_ABOUT = {
    "b-one": "best plain loop, trials one after the other, no tracking",
    **{f"e{n}": f"this project, cohorts of {n}, everything on" for n in (64, 256, 1024)},
}
GPU_GOALS = {64: 30.0}
WITHIN = 0.002  # of the tutorial's best score: what counts as reaching it


def measure(
    name: str, workload: Workload, folder: Path, n_trials: int, device: str = "cpu"
) -> dict[str, Any]:
    """Runs a competitor in a process of its own and returns what it found."""
    for left in folder.glob("tutorial*.db*"):
        left.unlink()
    command = [
        sys.executable, "-W", "ignore", "-m", "tests.benchmarks.competitors", name,
        json.dumps(asdict(workload)), str(folder), "--trials", str(n_trials),
        "--cores", str(os.cpu_count() or 1), "--device", device,
    ]  # fmt: skip
    # As a user would run them: only what sets its own threads is given one thread.
    environment = {k: v for k, v in os.environ.items() if k != "OMP_NUM_THREADS"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        raise RuntimeError(f"{name} failed:\n{done.stderr}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def in_folder(workload: Workload, action: Callable[[Path], Any]) -> Any:
    """Runs an action in a folder with the prepared table and a store."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        workload.write_table(folder)
        open_store(folder / "store")
        workload.prepared(folder)
        return action(folder)


def throughput(workload: Workload, names: list[str], n_repeats: int) -> dict[str, Any]:
    """Trials per minute of each competitor in one cell."""

    def action(folder: Path) -> dict[str, list[dict[str, Any]]]:
        found: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
        for repeat in range(n_repeats):
            for name in names if repeat % 2 == 0 else reversed(names):
                found[name].append(measure(name, workload, folder, TRIALS.get(name, 64)))
        return found

    runs = in_folder(workload, action)
    return {
        "workload": asdict(workload),
        "competitors": {
            name: {
                "per_minute": median(60 * run["trials"] / run["seconds"] for run in found),
                "megabytes": max(run["megabytes"] for run in found),
                "waiting": waiting(found),
                "runs": found,
            }
            for name, found in runs.items()
        },
    }


def waiting(runs: Sequence[Mapping[str, Any]]) -> float | None:
    """Returns the share of a search in which a worker of this project had nothing to train."""
    shares = [run["phases"]["wait"] / run["seconds"] for run in runs if "phases" in run]
    return median(shares) if shares else None


def throughput_table(found: Mapping[str, Any]) -> Table:
    work = found["workload"]
    title = f"Trunk {work['width']}-{work['width']}, batches of {work['batch']}, "
    table = Table(title=title + f"{work['epochs']} epochs, 4 tasks", title_justify="left")
    for column in ("who", "trials a minute", "x (a)", "x (b)", "workers wait", "MB"):
        table.add_column(column, justify="left" if column == "who" else "right")
    rates = {name: one["per_minute"] for name, one in found["competitors"].items()}
    for name, rate in rates.items():
        times = [f"{rate / rates[other]:.1f}" if other in rates else "" for other in "ab"]
        memory = str(found["competitors"][name]["megabytes"])
        waits = found["competitors"][name]["waiting"]
        waited = "" if waits is None else f"{waits:.1%}"
        table.add_row(f"({name}) {ABOUT[name]}", f"{rate:.0f}", *times, waited, memory)
    goals = GOALS.get(work["width"], {})
    table.add_row(
        "goal of this project", "", *(str(goals.get(other, "")) for other in "ab"), "5 %", ""
    )
    return table


def bench_gpu(n_repeats: int, cells: Sequence[Workload] = GPU_CELLS) -> dict[str, Any]:
    """Trials per minute on this machine's GPU, beside trials one after the other on it.

    Returns:
        The device's name and the cells; or, without a GPU, why it was skipped.
    """
    try:
        device = find_device("cuda")
    except InputError as error:
        return {"skipped": str(error)}
    return {
        "device": torch.cuda.get_device_name(device),
        "torch": torch.__version__,
        "cells": [gpu_cell(cell, n_repeats, "cuda") for cell in cells],
    }


def gpu_cell(
    workload: Workload,
    n_repeats: int,
    device: str,
    trials: Mapping[str, int] = GPU_TRIALS,
) -> dict[str, Any]:
    """One cell: every competitor's rates, repeats in turn."""

    def action(folder: Path) -> dict[str, list[dict[str, Any]]]:
        found: dict[str, list[dict[str, Any]]] = {name: [] for name in trials}
        for repeat in range(n_repeats):
            for name in trials if repeat % 2 == 0 else reversed(trials):
                found[name].append(measure(name, workload, folder, trials[name], device))
        return found

    runs = in_folder(workload, action)
    rates = {
        name: median(60 * run["trials"] / run["seconds"] for run in found)
        for name, found in runs.items()
    }
    return {"workload": asdict(workload), "per_minute": rates, "runs": runs}


def gpu_table(found: Mapping[str, Any]) -> Table | str:
    if "skipped" in found:
        return f"GPU part skipped. {found['skipped']}"
    table = Table(title=f"On {found['device']}, torch {found['torch']}", title_justify="left")
    for column in ("width, batch", "who", "members at once", "trials a minute", "x one by one"):
        table.add_column(column, justify="left" if column == "who" else "right")
    for cell in found["cells"]:
        work, rates = cell["workload"], cell["per_minute"]
        for name, rate in rates.items():
            at_once = str(cell["runs"][name][0].get("population") or 1)
            times = f"{rate / rates['b-one']:.1f}"
            table.add_row(
                f"{work['width']}, {work['batch']}", f"({name}) {GPU_ABOUT[name]}", at_once,
                f"{rate:.0f}", times,
            )  # fmt: skip
        goal = GPU_GOALS.get(work["width"])
        if goal is not None:
            table.add_row("", "goal of this project", "", "", f"{goal:.0f}")
    return table


def reached(ends: list[list[float]], goal: float) -> float | None:
    """Returns the second at which a score was reached; None where it was not.

    Args:
        ends: (second, score) of ends of trials, or of evaluated epochs.
        goal: The score.
    """
    return min((at for at, score in ends if score >= goal), default=None)


def time_to_score(workload: Workload, seeds: range) -> list[dict[str, Any]]:
    """How soon this project reaches the best of the tutorial's 64 trials, seed by seed."""

    def action(folder: Path) -> list[dict[str, Any]]:
        rows = []
        for seed in seeds:
            cell = Workload(**{**asdict(workload), "seed": seed})
            runs = {name: measure(name, cell, folder, 64) for name in ("a", "a-pruned")}
            goal = max(score for _, score in runs["a"]["ends"]) - WITHIN
            own = measure("e32-pruned", cell, folder, 256)
            rows.append(
                {
                    "seed": seed,
                    "goal": goal,
                    "seconds": reached(own["ends"], goal),
                    "seen_seconds": reached(own["seen"], goal),
                    "a": runs["a"]["seconds"],
                    "a-pruned": runs["a-pruned"]["seconds"],
                }
            )
        return rows

    rows: list[dict[str, Any]] = in_folder(workload, action)
    return rows


def score_table(rows: list[dict[str, Any]]) -> Table:
    table = Table(title="Time to the tutorial's best score less 0.002", title_justify="left")
    columns = ("seed", "score", "epoch seen", "trial ended", "(a)", "(a')", "(a) / ended",
               "(a') / ended")  # fmt: skip
    for column in columns:
        table.add_column(column, justify="right")
    for row in rows:
        own = row["seconds"]
        ratios = [f"{row[n] / own:.0f}" if own else "not reached" for n in ("a", "a-pruned")]
        table.add_row(
            str(row["seed"]), f"{row['goal']:.4f}",
            *(f"{row[n]:.1f} s" if row[n] else "" for n in ("seen_seconds", "seconds")),
            f"{row['a']:.0f} s", f"{row['a-pruned']:.0f} s", *ratios,
        )  # fmt: skip
    return table


def asking_table(rows: list[dict[str, Any]]) -> Table:
    table = Table(title="Asking and telling", title_justify="left")
    for column in ("trials", "ours, ms a trial", "stock in memory, ms a trial", "ratio"):
        table.add_column(column, justify="right")
    for row in rows:
        each = [1e3 * row[who] / row["trials"] for who in ("ours", "stock")]
        table.add_row(
            str(row["trials"]), *(f"{value:.2f}" for value in each), f"{each[0] / each[1]:.2f}"
        )
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parts = (
        "throughput", "score", "asking", "overhead", "quickstart", "serving", "features", "gpu",
    )  # fmt: skip
    parser.add_argument("--part", choices=parts, action="append", help="by default all")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each competitor")
    parser.add_argument("--seeds", type=int, default=5, help="seeds of the time to a score")
    parser.add_argument("-o", "--output", type=Path, default=Path("bench.json"))
    options = parser.parse_args()
    chosen, show = options.part or parts, Console(width=110).print
    found: dict[str, Any] = {
        "machine": {"python": platform.python_version(), "cores": os.cpu_count(),
                    "load": os.getloadavg()[0]},
    }  # fmt: skip
    if "throughput" in chosen:
        found["throughput"] = []
        for cell in CELLS:
            names = ["a", "b", "c", "d", "e", "e32", "e64", "e64-untracked"]
            names = names if cell.width == CELLS[0].width else ["b", "d", "e", "e32"]
            found["throughput"].append(throughput(cell, names, options.repeats))
            show(throughput_table(found["throughput"][-1]))
    if "score" in chosen:
        found["score"] = time_to_score(CELLS[0], range(options.seeds))
        show(score_table(found["score"]))
    if "asking" in chosen:
        found["asking"] = bench_asking()
        show(asking_table(found["asking"]))
    if "overhead" in chosen:
        found["overhead"] = bench_overhead(options.repeats)
        show(overhead_table(found["overhead"]))
    if "quickstart" in chosen:
        found["quickstart"] = bench_quickstart(options.repeats)
        show(table_of(found["quickstart"]))
    if "serving" in chosen:
        found["serving"] = bench_serving()
        show(serving_table(found["serving"]))
    if "gpu" in chosen:
        found["gpu"] = bench_gpu(options.repeats)
        show(gpu_table(found["gpu"]))
    if "features" in chosen:
        texts = news()
        if texts is None:
            show("Features: not measured, since the shared news or the encoder is absent.")
        else:
            found["features"] = bench_features(texts)
            show(features_table(found["features"]))
    options.output.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
