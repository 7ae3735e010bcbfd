"""Ctrl-C in a terminal: the runs are closed, the exit code is 130, and the study goes on later."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from cli_cases import mtl, write_case
from mlflow.entities import Run, ViewType

from pipeline.driver.study_folder import StudyFolder
from pipeline.tracking.store import Store

pytestmark = pytest.mark.slow

LONG = (("epochs: 2", "epochs: 150"), ("batch_size: 32", "batch_size: 8, patience: null"),
        ("trials: 4", "trials: 6"))  # fmt: skip


def launch(study: Path, store: Store) -> subprocess.Popen[str]:
    """Starts a search with two workers in a process group of its own, as a terminal does."""
    return subprocess.Popen(
        [sys.executable, "-m", "pipeline.cli", "search", str(study), "--store", str(store.folder),
         "--workers", "2"],
        start_new_session=True, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def runs_of(store: Store, name: str, view: int = ViewType.ACTIVE_ONLY) -> list[Run]:
    client = store.client()
    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        return []
    return list(client.search_runs([experiment.experiment_id], run_view_type=view))


def wait_for_epochs(store: Store, name: str, process: subprocess.Popen[str]) -> None:
    """Waits until the first cohort trains: its runs are open and its workers have imported."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()[1]
        if len(runs_of(store, name)) == 5:
            time.sleep(1.0)
            return
        time.sleep(0.1)
    raise AssertionError("no cohort was started in two minutes")


def test_ctrl_c_closes_the_runs_and_the_study_goes_on(store: Store, tmp_path: Path) -> None:
    study = write_case(tmp_path, "cli_stopped", edits=LONG)
    process = launch(study, store)
    wait_for_epochs(store, "cli_stopped", process)

    # While it runs: it can be looked at, and nobody else may drive it.
    shown = mtl("show", study, "--store", store.folder, "--json").document
    assert (shown["trials"], shown["running"]) == ([], [0, 1, 2, 3])
    second = mtl("search", study, "--store", store.folder)
    assert second.code == 2
    assert "Another command is writing to the study cli_stopped" in second.err

    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Stopping after this epoch" in err
    assert "Run the same command again to go on." in err
    assert "Traceback" not in err
    check_interrupted(store)

    done = mtl("search", study, "--store", store.folder, "--workers", "1")
    assert done.code == 0, done.err
    trials = StudyFolder(store.studies, "cli_stopped").trials()
    assert [trial.number for trial in trials] == list(range(6))
    runs = runs_of(store, "cli_stopped")
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert {run.info.run_id for run in runs} >= {trial.run_id for trial in trials}
    rows = Counter(run.data.tags.get("row") for run in runs)
    # The parent and one a trial; then the finalists, three trials under five fresh seeds.
    assert rows == {None: 7, "finalist": 15}


def check_interrupted(store: Store) -> None:
    """Nothing is RUNNING: the parent and the cohort's four trials were ended as interrupted."""
    runs = runs_of(store, "cli_stopped", ViewType.ALL)
    assert len(runs) == 5
    for run in runs:
        assert (run.info.status, run.data.tags["state"]) == ("KILLED", "interrupted")
    assert sum(run.data.tags["kind"] == "study" for run in runs) == 1


def test_a_second_ctrl_c_stops_at_once(store: Store, tmp_path: Path) -> None:
    study = write_case(tmp_path, "cli_twice", edits=(*LONG, ("batch_size: 8", "batch_size: 1")))
    process = launch(study, store)
    wait_for_epochs(store, "cli_twice", process)
    for _ in range(2):
        os.killpg(process.pid, signal.SIGINT)
        time.sleep(0.05)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert StudyFolder(store.studies, "cli_twice").trials() == []
