"""Whole studies launched by the command, killed, and what their stores must then hold."""

import os
import random
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import optuna
from mlflow import MlflowClient
from mlflow.entities import ViewType
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

STUDY = """
name: killed
sources: {digits: {builtin: multidigits}}
tasks:
  left: {kind: multiclass, target: left}
  total: {kind: regression, target: total}
split: {column: split}
model: {layers: [24], dropout: {low: 0.0, high: 0.4}}
train:
  lr: {low: 3.0e-4, high: 1.0e-1, log: true}
  epochs: 12
  batch_size: 128
search: {trials: 40, cohort: 4, population: 2, keep: 2%s}
"""

N_TRIALS = 40
N_KILLS = 10
STATUS = {TrialState.COMPLETE: "FINISHED", TrialState.PRUNED: "KILLED", TrialState.FAIL: "FAILED"}


@dataclass(frozen=True)
class Launches:
    """Launches one study again and again in one store.

    Attributes:
        study: The study file.
        store: Where to record; the log stands beside it.
    """

    study: Path
    store: Path

    def launch(self, n_workers: int) -> subprocess.Popen[bytes]:
        with (self.store.parent / "log.txt").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "pipeline.cli", "search", str(self.study),
                 "--store", str(self.store), "--workers", str(n_workers), "--json"],
                start_new_session=True,  # a process group of its own, workers included
                stdout=log, stderr=log,
            )  # fmt: skip

    def log(self) -> str:
        return (self.store.parent / "log.txt").read_text()

    def run_to_end(self, n_workers: int) -> float:
        """Returns the seconds from the first ask to the last tell."""
        process = self.launch(n_workers)
        code = process.wait(timeout=600)
        assert code == 0, self.log()[-3000:]
        return float(re.findall(r'"seconds": ([0-9.]+)', self.log())[-1])

    def wait_for_progress(self, process: subprocess.Popen[bytes]) -> None:
        """Waits until this launch has written to the journal or kept an outcome, or has ended."""
        before = self._written()
        while process.poll() is None and self._written() == before:
            time.sleep(0.02)

    def _written(self) -> int:
        studies = self.store / "studies"
        files = [studies / "killed.journal", *(studies / "killed").glob("cohorts/*.json"),
                 studies / "killed" / "trials.jsonl"]  # fmt: skip
        return sum(file.stat().st_size for file in files if file.exists())

    def trials(self) -> list[FrozenTrial]:
        """Returns what the journal says, read as anybody reads it."""
        backend = JournalFileBackend(str(self.store / "studies" / "killed.journal"))
        return optuna.load_study(study_name="killed", storage=JournalStorage(backend)).get_trials()


def check_store(launches: Launches) -> list[FrozenTrial]:
    """Each trial ended once, in one run of the right state with each of its epochs once."""
    trials = launches.trials()
    assert [t.number for t in trials] == list(range(N_TRIALS))
    assert all(t.state.is_finished() for t in trials)

    client = MlflowClient(f"sqlite:///{launches.store / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("killed")
    assert experiment is not None
    everything = client.search_runs([experiment.experiment_id], run_view_type=ViewType.ALL)
    assert not [run for run in everything if run.info.status == "RUNNING"]
    active = [run for run in everything if run.info.lifecycle_stage == "active"]
    parents = [run for run in active if run.data.tags["kind"] == "study"]
    assert [run.info.status for run in parents] == ["FINISHED"]
    best = client.get_metric_history(parents[0].info.run_id, "best/score")
    steps = [m.step for m in best]
    assert steps == list(range(steps[0], N_TRIALS))  # each trial since the first complete, once
    scores = [m.value for m in best]
    assert scores == sorted(scores)
    assert scores[-1] == max(t.value for t in trials if t.state == TrialState.COMPLETE)
    children = [run for run in active if run.data.tags["kind"] == "trial"]
    assert Counter(int(run.data.tags["trial"]) for run in children) == Counter(range(N_TRIALS))
    for run in children:
        trial = trials[int(run.data.tags["trial"])]
        assert run.info.status == STATUS[trial.state]
        assert (run.data.tags["state"] == "pruned") == ("epoch" in run.data.tags["reason"])
        losses = client.get_metric_history(run.info.run_id, "train/left/loss")
        n_epochs = int(run.data.tags["epochs"])
        assert n_epochs > 0
        assert [m.step for m in losses] == list(range(1, n_epochs + 1))  # each epoch, once
        assert float(run.data.params["train.lr"]) == trial.params["train.lr"]
        assert "seconds/train" in run.data.metrics
    return trials


def workers_of(driver: int) -> list[int]:
    """Returns the children of the driver's fork server."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1])
            grandparent = int(
                (Path("/proc") / str(parent) / "stat").read_text().rsplit(")", 1)[1].split()[1]
            )
        except (OSError, IndexError, ValueError):
            continue  # it ended while we looked
        if grandparent == driver:
            found.append(int(folder.name))
    return found


def kill_again_and_again(launches: Launches, moments: random.Random, seconds: float) -> None:
    """Kills the driver with its workers ten times, then lets the study end."""
    for kill in range(N_KILLS):
        process = launches.launch(n_workers=2)
        if kill % 4 == 1:
            time.sleep(moments.uniform(0.0, 8.0))  # imports, the store, the workers' start
        else:
            launches.wait_for_progress(process)
            time.sleep(moments.uniform(0.0, 0.12) * seconds)
        assert process.poll() is None, "the study ended before it was killed ten times"
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    launches.run_to_end(n_workers=2)


def kill_workers(launches: Launches, moments: random.Random) -> int:
    """Kills one worker after the other while the study runs; returns how many."""
    process = launches.launch(n_workers=2)
    n_kills = 0
    while process.poll() is None:
        time.sleep(moments.uniform(0.2, 1.5))
        workers = workers_of(process.pid)
        if workers and n_kills < N_KILLS:
            os.kill(moments.choice(workers), signal.SIGKILL)
            n_kills += 1
    assert process.returncode == 0, launches.log()[-3000:]
    return n_kills
