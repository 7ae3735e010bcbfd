"""Whole studies killed at random moments and resumed: nothing lost, nothing doubled."""

import os
import random
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import optuna
import pytest
from mlflow import MlflowClient
from mlflow.entities import ViewType
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

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
search: {trials: 40, cohort: 4, population: 2, keep: 2}
"""

N_TRIALS = 40
N_KILLS = 10
STATUS = {TrialState.COMPLETE: "FINISHED", TrialState.PRUNED: "KILLED", TrialState.FAIL: "FAILED"}

pytestmark = pytest.mark.slow


def launch(study: Path, store: Path, n_workers: int) -> subprocess.Popen[bytes]:
    with (store.parent / "log.txt").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "pipeline.cli", "search", str(study), "--store", str(store),
             "--workers", str(n_workers), "--json"],
            start_new_session=True,  # a process group of its own, workers included
            stdout=log, stderr=log,
        )  # fmt: skip


def run_to_end(study: Path, store: Path, n_workers: int) -> float:
    """Returns the seconds from the first ask to the last tell."""
    process = launch(study, store, n_workers)
    code = process.wait(timeout=600)
    log = (store.parent / "log.txt").read_text()
    assert code == 0, log[-3000:]
    found = re.findall(r'"seconds": ([0-9.]+)', log)
    return float(found[-1])


def wait_for_progress(store: Path, process: subprocess.Popen[bytes]) -> None:
    """Waits until this launch has written to the journal, or has ended."""
    journal = store / "studies" / "killed.journal"
    before = journal.stat().st_size if journal.exists() else 0
    cohorts = len(list((store / "studies" / "killed" / "cohorts").glob("*.json")))
    while process.poll() is None:
        if journal.exists() and journal.stat().st_size > before:
            return
        if len(list((store / "studies" / "killed" / "cohorts").glob("*.json"))) > cohorts:
            return
        time.sleep(0.02)


def journal_of(store: Path) -> list[optuna.trial.FrozenTrial]:
    storage = JournalStorage(JournalFileBackend(str(store / "studies" / "killed.journal")))
    return optuna.load_study(study_name="killed", storage=storage).get_trials()


def check_store(store: Path, expected: list[optuna.trial.FrozenTrial]) -> None:
    trials = journal_of(store)
    assert [t.number for t in trials] == list(range(N_TRIALS))
    assert all(t.state.is_finished() for t in trials)
    assert [t.params for t in trials] == [t.params for t in expected]
    assert [t.state for t in trials] == [t.state for t in expected]
    assert [t.values for t in trials] == [t.values for t in expected]

    client = MlflowClient(f"sqlite:///{store / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("killed")
    assert experiment is not None
    everything = client.search_runs([experiment.experiment_id], run_view_type=ViewType.ALL)
    assert not [run for run in everything if run.info.status == "RUNNING"]
    active = [run for run in everything if run.info.lifecycle_stage == "active"]
    parents = [run for run in active if run.data.tags["kind"] == "study"]
    assert [run.info.status for run in parents] == ["FINISHED"]
    best = client.get_metric_history(parents[0].info.run_id, "best/score")
    first = next(t.number for t in trials if t.state == TrialState.COMPLETE)
    assert [m.step for m in best] == list(range(first, N_TRIALS))  # each trial, once
    children = [run for run in active if run.data.tags["kind"] == "trial"]
    assert Counter(int(run.data.tags["trial"]) for run in children) == Counter(range(N_TRIALS))
    for run in children:
        trial = trials[int(run.data.tags["trial"])]
        assert run.info.status == STATUS[trial.state]
        losses = client.get_metric_history(run.info.run_id, "train/left/loss")
        n_epochs = int(run.data.tags["epochs"])
        assert n_epochs > 0
        assert [m.step for m in losses] == list(range(1, n_epochs + 1))  # each epoch, once
        assert float(run.data.params["train.lr"]) == trial.params["train.lr"]
        assert "seconds/train" in run.data.metrics


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, float]:
    """The study run without interruption by one worker: what every other run must equal."""
    folder = tmp_path_factory.mktemp("straight")
    study = folder / "killed.yaml"
    study.write_text(STUDY)
    return study, folder / "store", run_to_end(study, folder / "store", n_workers=1)


def test_two_workers_give_the_same_parameters(
    straight: tuple[Path, Path, float], tmp_path: Path
) -> None:
    study, store, _ = straight
    run_to_end(study, tmp_path / "store", n_workers=2)
    check_store(store, journal_of(store))
    check_store(tmp_path / "store", journal_of(store))


def test_killed_driver_loses_and_doubles_nothing(
    straight: tuple[Path, Path, float], tmp_path: Path
) -> None:
    study, store, seconds = straight
    killed = tmp_path / "store"
    moments = random.Random(7)
    for kill in range(N_KILLS):
        process = launch(study, killed, n_workers=2)
        if kill % 4 == 1:
            time.sleep(moments.uniform(0.0, 8.0))  # imports, the store, the workers' start
        else:
            wait_for_progress(killed, process)
            time.sleep(moments.uniform(0.0, 0.12) * seconds)
        assert process.poll() is None, "the study ended before it was killed ten times"
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    run_to_end(study, killed, n_workers=2)
    check_store(killed, journal_of(store))


def test_killed_worker_is_replaced(straight: tuple[Path, Path, float], tmp_path: Path) -> None:
    study, store, _ = straight
    process = launch(study, tmp_path / "store", n_workers=2)
    moments = random.Random(3)
    n_kills = 0
    while process.poll() is None:
        time.sleep(moments.uniform(0.2, 1.5))
        workers = _workers_of(process.pid)
        if workers and n_kills < N_KILLS:
            os.kill(moments.choice(workers), signal.SIGKILL)
            n_kills += 1
    assert process.returncode == 0, (tmp_path / "log.txt").read_text()[-3000:]
    assert n_kills >= 3
    check_store(tmp_path / "store", journal_of(store))


def _workers_of(driver: int) -> list[int]:
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
