"""Searches whose driver dies in the middle of an array that trains for long."""

import os
import shutil
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from driver_cases import small_study
from kill_cases import Launches
from search_cases import Crash, Launcher, Memory, check, plain

from pipeline.data.prepared import Prepared
from pipeline.driver.beside import RowsBeside
from pipeline.driver.records import TrialRecord
from pipeline.driver.rows import baseline_rows
from pipeline.driver.study_folder import StudyFolder
from pipeline.study.loading import load_study
from pipeline.tracking.tracker import NullTracker
from pipeline.training.population import Population

STUDY = """
name: killed
sources: {digits: {builtin: multidigits}}
tasks:
  left: {kind: multiclass, target: left}
  total: {kind: regression, target: total}
split: {column: split}
model: {layers: [24], dropout: {low: 0.0, high: 0.4}}
weights: {strategy: famo}
train:
  lr: {low: 3.0e-4, high: 1.0e-1, log: true}
  epochs: 40
  batch_size: 64
  patience: 12
  checkpoint_minutes: 0.001
search: {trials: 8, cohort: 8, population: 4, keep: 2, finalists: {k: 1, seeds: 2}}
"""
"""Of one cohort: what a kill costs is all of it, but for checkpoints."""


def models(folder: StudyFolder) -> dict[str, bytes]:
    """Returns the kept models' weights, byte for byte."""
    files = [*folder.path.glob("models/*/weights.npz")]
    assert files, "there is nothing to compare"
    return {path.parent.name: path.read_bytes() for path in files}


class DiesAt:
    """Counts the epochs that arrays train, and dies in one of them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.trained: list[tuple[tuple[int, ...], int]] = []
        self.at: int | None = None
        train_epoch = Population.train_epoch

        def note(population: Population, epoch: int) -> object:
            if len(self.trained) == self.at:
                raise Crash
            numbers = tuple(member.number for member in population.members)
            self.trained.append((numbers, epoch))
            return train_epoch(population, epoch)

        monkeypatch.setattr(Population, "train_epoch", note)


def test_a_search_goes_on_in_the_middle_of_its_arrays(
    prepared: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = small_study(train__checkpoint_minutes=1e-9)
    straight = Launcher(study, prepared, StudyFolder(tmp_path / "straight", "small"))
    dies = DiesAt(monkeypatch)
    expected = plain(straight.launch())
    n_epochs = len(dies.trained)

    for at in (3, 5, n_epochs - 3):
        killed = Launcher(study, prepared, StudyFolder(tmp_path / f"killed{at}", "small"), Memory())
        dies.trained, dies.at = [], at
        with pytest.raises(Crash):
            killed.launch()
        dies.at = None
        found = killed.launch()
        assert plain(found) == expected
        check(killed, found)
        # Of each of two arrays only the epoch that had not been answered is trained again.
        assert len(dies.trained) <= n_epochs + 2
        assert models(killed.folder) == models(straight.folder)
        assert not killed.folder.checkpoints.exists()


@dataclass
class CrashesAt:
    """Dies in a call of a method of study folders, from 0, before it does anything."""

    method: str
    call: int

    def __enter__(self) -> None:
        left = iter(range(self.call))
        save = getattr(StudyFolder, self.method)

        def save_or_die(folder: StudyFolder, *arguments: Any) -> None:
            if next(left, None) is None:
                raise Crash
            save(folder, *arguments)

        self._patch = pytest.MonkeyPatch()
        self._patch.setattr(StudyFolder, self.method, save_or_die)

    def __exit__(self, *error: object) -> None:
        self._patch.undo()


@pytest.mark.parametrize(
    ("method", "call", "n_arrays"),
    [("save_outcome", 0, 2), ("save_outcome", 1, 1), ("save_model", 5, 3),
     ("save_finalists", 0, 3)],
)  # fmt: skip
def test_a_kill_between_the_end_of_arrays_and_their_keeping_costs_no_training(
    method: str,
    call: int,
    n_arrays: int,
    prepared: Prepared,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    study = small_study(train__checkpoint_minutes=1e-9)
    straight = Launcher(study, prepared, StudyFolder(tmp_path / "straight", "small"))
    dies = DiesAt(monkeypatch)
    expected = plain(straight.launch())
    course = dies.trained

    killed = Launcher(study, prepared, StudyFolder(tmp_path / "killed", "small"))
    dies.trained = []
    with CrashesAt(method, call), pytest.raises(Crash):
        killed.launch()
    files = [*(killed.folder.checkpoints / "search").iterdir()]
    assert len(files) == n_arrays, "of what is kept there is none any more"
    found = killed.launch()
    assert dies.trained == course
    assert plain(found) == expected
    check(killed, found)
    assert models(killed.folder) == models(straight.folder)
    assert not killed.folder.checkpoints.exists()


def test_baselines_go_on_in_the_middle_of_their_arrays(
    prepared: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = small_study(train__checkpoint_minutes=1e-9)
    dies = DiesAt(monkeypatch)

    Launcher(study, prepared, StudyFolder(tmp_path / "searched", "small")).launch()

    def searched(name: str) -> StudyFolder:
        shutil.copytree(tmp_path / "searched", tmp_path / name)
        dies.trained = []
        return StudyFolder(tmp_path / name, "small")

    def baselines(folder: StudyFolder) -> None:
        files = StudyFolder(folder.path.parent, "small")  # another driver has read nothing yet
        RowsBeside(study, prepared, files, NullTracker(), lambda said: None, 1).run()

    def outcome(folder: StudyFolder) -> list[Any]:
        plans = baseline_rows(study, prepared)
        rows = [folder.row(plan.name) for plan in plans]
        return [(plain(row.ended()), models(row)) for row in rows]

    straight = searched("straight")
    baselines(straight)
    course, n_epochs = list(dies.trained), len(dies.trained)
    for at in (8, 24, n_epochs - 4):
        killed = searched(f"killed{at}")
        dies.at = at
        with pytest.raises(Crash):
            baselines(killed)
        dies.at = None
        assert [*(killed.checkpoints / "rows").iterdir()]
        baselines(killed)
        # Of each array of the round only the epoch that had not been answered trains again.
        assert {*dies.trained} == {*course}
        assert len(dies.trained) <= n_epochs + 9
        assert outcome(killed) == outcome(straight)
        assert not killed.checkpoints.exists()

    for method, call in (("save_model", 2), ("save_outcome", 0), ("save_finalists", 0)):
        killed = searched(f"{method}{call}")
        with CrashesAt(method, call), pytest.raises(Crash):
            baselines(killed)
        baselines(killed)
        assert dies.trained == course
        assert outcome(killed) == outcome(straight)
        assert not killed.checkpoints.exists()


@pytest.mark.parametrize("n_workers", [1, 2])
def test_where_no_checkpoint_can_be_written_the_search_says_so_once(
    n_workers: int, prepared: Prepared, tmp_path: Path
) -> None:
    study = small_study(train__checkpoint_minutes=1e-9)
    straight = Launcher(study, prepared, StudyFolder(tmp_path / "straight", "small"))
    launcher = Launcher(study, prepared, StudyFolder(tmp_path / "small", "small"))
    launcher.folder.path.mkdir(parents=True)
    launcher.folder.checkpoints.touch()
    found = launcher.launch(n_workers=n_workers)
    assert plain(found) == plain(straight.launch(n_workers=n_workers))
    check(launcher, found)
    assert {trial.state for trial in found} == {"complete"}
    warnings = [said for said in launcher.said if said.startswith("Warning")]
    assert len(warnings) == 1
    assert f"cannot be written to {launcher.folder.checkpoints / 'search'}: " in warnings[0]


def test_the_free_order_writes_none(
    prepared: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = small_study(
        train__checkpoint_minutes=1e-9, search__order="free", search__finalists=None
    )
    launcher = Launcher(study, prepared, StudyFolder(tmp_path, "small"))
    dies = DiesAt(monkeypatch)
    dies.at = 5
    with pytest.raises(Crash):
        launcher.launch()
    assert not launcher.folder.checkpoints.exists()


def test_the_end_of_one_owner_leaves_the_checkpoints_of_others(tmp_path: Path) -> None:
    folder = StudyFolder(tmp_path, "small")
    for owner in ("search", "rows"):
        (folder.checkpoints / owner).mkdir(parents=True)
        (folder.checkpoints / owner / "a.safetensors").touch()
    (folder.checkpoints / "rows" / "000017-ab.safetensors").touch()
    (folder.checkpoints / "rows" / "000004-ab.safetensors").touch()
    folder.drop_checkpoints("search", range(16))
    folder.drop_checkpoints("rows", range(16, 32))
    assert sorted(path.name for path in folder.checkpoints.glob("*/*")) == [
        "000004-ab.safetensors", "a.safetensors", "a.safetensors",
    ]  # fmt: skip
    folder.drop_checkpoints("search")
    assert [path.name for path in folder.checkpoints.iterdir()] == ["rows"]
    folder.drop_checkpoints("rows")
    folder.drop_checkpoints("groups")
    assert not folder.checkpoints.exists()


def test_the_minutes_may_change_on_resume(prepared: Prepared, tmp_path: Path) -> None:
    launcher = Launcher(small_study(), prepared, StudyFolder(tmp_path, "small"))
    launcher.launch(n_trials=2)
    assert len(launcher.launch(n_trials=4, study=small_study(train__checkpoint_minutes=None))) == 4


def trials_of(launches: Launches) -> tuple[list[TrialRecord], dict[str, bytes]]:
    folder = StudyFolder(launches.store / "studies", "killed")
    return plain(folder.ended()), models(folder)


@pytest.mark.slow
def test_a_killed_search_ends_as_if_nothing_had_happened(tmp_path: Path) -> None:
    study = tmp_path / "killed.yaml"
    study.write_text(STUDY)
    straight = Launches(study, tmp_path / "straight" / "store")
    straight.store.parent.mkdir()
    straight.run_to_end(n_workers=1)
    killed = Launches(study, tmp_path / "killed" / "store")
    killed.store.parent.mkdir()
    checkpoints = StudyFolder(killed.store / "studies", "killed").checkpoints / "search"
    seen: set[Path] = set()
    for n_workers, pause in ((2, 0.0), (1, 0.3), (2, 0.6)):
        process = killed.launch(n_workers)
        before = {path: path.stat().st_mtime_ns for path in checkpoints.glob("*")}
        written: dict[Path, int] = before
        while written == before and process.poll() is None:
            time.sleep(0.005)
            written = {p: p.stat().st_mtime_ns for p in checkpoints.glob("[0-9a-f]*")}
        time.sleep(pause)
        assert process.poll() is None, "it ended before it was killed"
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        seen |= {*written}
    assert seen
    killed.run_to_end(n_workers=2)
    assert trials_of(killed) == trials_of(straight)
    assert not checkpoints.exists()
    assert load_study(study).spec.train.checkpoint_minutes == 0.001
