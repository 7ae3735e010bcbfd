"""Everyone who is measured: each runs in a process of its own and prints one line of JSON.

Imports (those of the server that worker processes are forked from, too), the prepared data and
the creation of stores are outside the time that counts, for all alike: it runs from the first ask
to the last tell.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import mlflow
import optuna
import torch
from torch import Tensor

from pipeline import search
from pipeline.data.prepare import open_prepared
from pipeline.data.prepared import Prepared
from pipeline.driver.fork_server import start_ahead, worker_context
from pipeline.driver.launch import default_workers
from pipeline.driver.study_folder import StudyFolder
from pipeline.tracking.store import open_store
from pipeline.tracking.tracker import NullTracker
from tests.benchmarks.stock import Params, train_plainly, train_with_loader, weights_of
from tests.benchmarks.workload import N_TASKS, Workload

Found = dict[str, Any]
"""`seconds` in all and, for each trial in the order of their ends, (second of its end, score)."""

FORKABLE_SECONDS = 30.0
"""At most until the server of worker processes has imported what it imports."""


def suggest(trial: optuna.trial.Trial) -> Params:
    """Draws from the space of the study file."""
    return {
        "dropout": trial.suggest_float("dropout", 0.05, 0.5),
        "lr": trial.suggest_float("lr", 1e-4, 3e-2, log=True),
        "weight_decay": trial.suggest_float("weight_decay", 1e-5, 1.0, log=True),
        **{f"w{t}": trial.suggest_float(f"w{t}", 0.1, 10, log=True) for t in range(1, N_TASKS)},
    }


def tutorial(workload: Workload, folder: Path, prepared: Prepared, n_trials: int,
             pruner: optuna.pruners.BasePruner) -> Found:  # fmt: skip
    """(a): `optimize` on SQLite, a DataLoader, a call of MLflow for each metric and epoch."""
    mlflow.set_tracking_uri(f"sqlite:///{folder}/tutorial-mlflow.db")
    mlflow.set_experiment("tutorial")
    study = optuna.create_study(
        storage=f"sqlite:///{folder}/tutorial-optuna.db", direction="maximize", pruner=pruner,
        sampler=optuna.samplers.TPESampler(seed=workload.seed),
    )  # fmt: skip
    ends: list[tuple[float, float]] = []

    def objective(trial: optuna.trial.Trial) -> float:
        torch.manual_seed(workload.seed * 1000 + trial.number)
        params = suggest(trial)
        with mlflow.start_run(nested=True, run_name=f"trial-{trial.number}"):
            mlflow.log_params(dict(params))
            weights = torch.tensor(weights_of(params))

            def log(epoch: int, losses: list[float], accuracies: list[float]) -> None:
                for task in range(N_TASKS):
                    mlflow.log_metric(f"train/t{task}/loss", losses[task], step=epoch)
                    mlflow.log_metric(f"valid/t{task}/accuracy", accuracies[task], step=epoch)
                mean = sum(accuracies) / N_TASKS
                mlflow.log_metric("score", mean, step=epoch)
                trial.report(mean, epoch)
                best[0] = max(best[0], mean)
                if trial.should_prune():
                    raise optuna.TrialPruned

            best = [0.0]
            try:
                return train_with_loader(
                    workload, prepared.parts, params, lambda losses: (weights * losses).sum(), log
                )
            finally:
                ends.append((time.perf_counter() - started, best[0]))

    started = time.perf_counter()
    with mlflow.start_run(run_name="study"):
        study.optimize(objective, n_trials=n_trials)
    return {"seconds": time.perf_counter() - started, "ends": ends}


def plain_share(
    workload: Workload, cache: str, trials: list[Params], pipe: Any, device: str
) -> None:
    """Trains some of the trials in a process of one thread, once it is told to begin."""
    torch.set_num_threads(1)
    prepared = open_prepared(Path(cache))
    if device != "cpu":  # the first use of a GPU loads its libraries
        train_plainly(replace(workload, epochs=1), prepared.parts, trials[0], device)
    pipe.send("ready")
    pipe.recv()
    pipe.send([train_plainly(workload, prepared.parts, params, device) for params in trials])


def sequential(
    workload: Workload, prepared: Prepared, n_trials: int, n_processes: int, device: str
) -> Found:
    """(b): the best plain loop, in as many processes as cores, each with its share of trials."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=workload.seed))
    trials = [suggest(study.ask()) for _ in range(n_trials)]
    context = get_context("spawn")
    pipes = []
    for share in range(n_processes):
        ours, theirs = context.Pipe()
        arguments = (workload, str(prepared.folder), trials[share::n_processes], theirs, device)
        context.Process(target=plain_share, args=arguments, daemon=True).start()
        pipes.append(ours)
    for pipe in pipes:
        pipe.recv()
    started = time.perf_counter()
    for pipe in pipes:
        pipe.send("go")
    scores = [score for pipe in pipes for score in pipe.recv()]
    seconds = time.perf_counter() - started
    return {"seconds": seconds, "ends": [(seconds, score) for score in scores]}


def torchjd_loop(workload: Workload, prepared: Prepared, n_trials: int) -> Found:
    """(c): torchjd's Constant scalarizer in a DataLoader loop, without tracking."""
    from torchjd.scalarization import Constant

    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=workload.seed))
    trials = [suggest(study.ask()) for _ in range(n_trials)]
    ends = []
    started = time.perf_counter()
    for params in trials:
        combine: Callable[[Tensor], Tensor] = Constant(torch.tensor(weights_of(params)))
        score = train_with_loader(
            workload, prepared.parts, params, combine, lambda epoch, losses, found: None
        )
        ends.append((time.perf_counter() - started, score))
    return {"seconds": time.perf_counter() - started, "ends": ends}


def start_workers_once() -> None:
    """Lets the server of worker processes import what it imports, as the other imports are done."""
    start_ahead()
    process = worker_context().Process(target=time.sleep, args=(0,))  # type: ignore[attr-defined]
    process.start()
    process.join(FORKABLE_SECONDS)


def ours(
    workload: Workload, folder: Path, n_trials: int, keys: str, tracked: bool, device: str
) -> Found:
    """(d), (e): this project, with everything on unless it is not tracked."""
    store = open_store(folder / "store")
    study = workload.study(folder, name=f"ours-{time.time_ns()}", search=keys)
    start_workers_once()
    started_ms = time.time() * 1e3
    found = search(
        study, n_trials, store=store, tracker=None if tracked else NullTracker(),
        say=lambda text: None, device=device,
    )  # fmt: skip
    trials = StudyFolder(store.studies, study.spec.name).trials()
    ends = [((trial.ended_ms - started_ms) / 1e3, trial.score or 0.0) for trial in trials]
    seen = [
        ((epoch.timestamp_ms - started_ms) / 1e3, epoch.metrics.get("score") or 0.0)
        for trial in trials
        for epoch in trial.history
    ]
    return {
        "seconds": found["seconds"], "ends": ends, "seen": seen, "phases": found["phases"],
        "whole_seconds": time.time() - started_ms / 1e3, "workers": default_workers(study),
        "trained_on": sorted({trial.device for trial in trials}),
        "population": StudyFolder(store.studies, study.spec.name).record().get(
            "population" if device == "cpu" else f"population_on_{device}"
        ),
    }  # fmt: skip


def run(
    name: str,
    workload: Workload,
    folder: Path,
    n_trials: int,
    n_cores: int,
    device: str = "cpu",
) -> Found:
    """Runs one competitor; those that train on a GPU too, on `device`."""
    warnings.simplefilter("ignore")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    prepared = workload.prepared(folder)
    projects: Mapping[str, tuple[str, bool]] = {
        "d": (", pruner: none, population: 1", True),
        "e": (", pruner: none", True),
        "e-untracked": (", pruner: none", False),
        **{f"e{n}": (f", pruner: none, cohort: {n}", True) for n in (32, 64, 256, 1024)},
        "e64-untracked": (", pruner: none, cohort: 64", False),
        "e-pruned": ("", True),
        "e32-pruned": (", cohort: 32", True),
        "e-free": (", cohort: 32, order: free, pruner: halving", True),
    }
    if name in projects:
        keys, tracked = projects[name]
        return ours(workload, folder, n_trials, keys, tracked, device)
    if name == "a":
        return tutorial(workload, folder, prepared, n_trials, optuna.pruners.NopPruner())
    if name == "a-pruned":
        return tutorial(workload, folder, prepared, n_trials, optuna.pruners.MedianPruner())
    if name == "b":
        return sequential(workload, prepared, n_trials, n_cores, device)
    if name == "b-one":
        return sequential(workload, prepared, n_trials, 1, device)
    return torchjd_loop(workload, prepared, n_trials)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name")
    parser.add_argument("workload", type=json.loads)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--trials", type=int, required=True)
    parser.add_argument("--cores", type=int, required=True)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    workload = Workload(**options.workload)
    found = run(
        options.name, workload, options.folder, options.trials, options.cores, options.device
    )
    used = [resource.getrusage(who).ru_maxrss for who in
            (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]  # fmt: skip
    print(json.dumps({**found, "trials": options.trials, "megabytes": max(used) // 1024}))


if __name__ == "__main__":
    main()
