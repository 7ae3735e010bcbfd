"""Whole studies killed at random moments and resumed: nothing lost, nothing doubled."""

import random
from pathlib import Path

import pytest
from kill_cases import STUDY, Launches, check_store, kill_again_and_again, kill_workers
from optuna.trial import FrozenTrial

pytestmark = pytest.mark.slow
Straight = tuple[Launches, float]


def straight_run(folder: Path, keys: str) -> Straight:
    """Runs the study without interruption by one worker; returns also its seconds."""
    study = folder / "killed.yaml"
    study.write_text(STUDY % keys)
    launches = Launches(study, folder / "store")
    return launches, launches.run_to_end(n_workers=1)


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> Straight:
    """What every other run in the fixed order must equal."""
    return straight_run(tmp_path_factory.mktemp("straight"), "")


@pytest.fixture(scope="module")
def free(tmp_path_factory: pytest.TempPathFactory) -> Straight:
    """A run in the free order."""
    return straight_run(tmp_path_factory.mktemp("free"), ", order: free, pruner: halving")


def same(trials: list[FrozenTrial], expected: list[FrozenTrial]) -> None:
    assert [t.params for t in trials] == [t.params for t in expected]
    assert [t.state for t in trials] == [t.state for t in expected]
    assert [t.values for t in trials] == [t.values for t in expected]


def test_two_workers_give_the_same_parameters(straight: Straight, tmp_path: Path) -> None:
    launches, _ = straight
    again = Launches(launches.study, tmp_path / "store")
    again.run_to_end(n_workers=2)
    same(check_store(again), check_store(launches))


def test_killed_driver_loses_and_doubles_nothing(straight: Straight, tmp_path: Path) -> None:
    launches, seconds = straight
    killed = Launches(launches.study, tmp_path / "store")
    kill_again_and_again(killed, random.Random(7), seconds)
    same(check_store(killed), launches.trials())


def test_killed_worker_is_replaced(straight: Straight, tmp_path: Path) -> None:
    launches, _ = straight
    killed = Launches(launches.study, tmp_path / "store")
    assert kill_workers(killed, random.Random(3)) >= 3
    same(check_store(killed), launches.trials())


def test_in_the_free_order_a_killed_driver_loses_and_doubles_nothing(
    free: Straight, tmp_path: Path
) -> None:
    launches, seconds = free
    check_store(launches)
    killed = Launches(launches.study, tmp_path / "store")
    kill_again_and_again(killed, random.Random(11), seconds)
    check_store(killed)


def test_in_the_free_order_a_killed_worker_is_replaced(free: Straight, tmp_path: Path) -> None:
    killed = Launches(free[0].study, tmp_path / "store")
    assert kill_workers(killed, random.Random(5)) >= 3
    check_store(killed)
