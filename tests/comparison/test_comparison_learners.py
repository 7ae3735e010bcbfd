"""Subsets of tasks as members of arrays: what is kept, what a kill costs, what a task alone is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from synthetic import TASKS, synthetic_study, synthetic_tables

from pipeline import prepare
from pipeline.comparison.learner_training import train_learners
from pipeline.comparison.learners import Learner, Learners
from pipeline.data.prepared import Prepared
from pipeline.driver.backend import Event, InProcess, one_thread
from pipeline.driver.launch import make_backend
from pipeline.driver.study_folder import StudyFolder
from pipeline.errors import Interrupted, TrainingError
from pipeline.study.loading import Study
from pipeline.tracking.tracker import NullTracker
from pipeline.training.loop import train
from pipeline.training.members import EpochResult
from pipeline.training.population import Population

LEARNERS = [
    Learner(tasks, seed) for seed in (1, 2) for tasks in ((0, 1, 2, 3), (0,), (1,), (0, 1), (0, 2))
]
STUDY = synthetic_study(1.0, 5, train__epochs=4, search__population=3)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    tables = synthetic_tables(1.0, 5, n_valid=60, n_test=60)
    return prepare(STUDY, tmp_path_factory.mktemp("cache"), tables)


@pytest.fixture
def make(prepared: Prepared, tmp_path: Path) -> Callable[..., Learners]:
    def made(study: Study = STUDY, params: dict[str, Any] | None = None) -> Learners:
        return Learners(
            study, prepared, StudyFolder(tmp_path, "synthetic"), params or {}, NullTracker()
        )

    return made


def run(learners: Learners, backend: InProcess, n_workers: int = 1, stop: Any = bool) -> Any:
    return train_learners(learners, LEARNERS, backend, n_workers, stop, lambda said: None)


class Counting(InProcess):
    """Counts the arrays that were submitted, and stops answering after some events."""

    def __init__(self, prepared: Prepared, most: int = 10**9) -> None:
        super().__init__(prepared)
        self.submitted: list[int] = []
        self._left = most

    def submit(self, arrays: Any, pauses: Any = None) -> None:
        self.submitted += [len(members) for members in arrays.values()]
        super().submit(arrays, pauses)

    def receive(self) -> Event | None:
        self._left -= 1
        if self._left < 0:
            raise OSError("the process was killed")
        return super().receive()


def test_a_learner_scores_what_it_scores_alone_each_task_at_its_best_epoch(
    make: Callable[..., Learners], prepared: Prepared
) -> None:
    learners = make()
    found = run(learners, InProcess(prepared))
    for learner in LEARNERS[:4]:
        curves: list[EpochResult] = []
        with one_thread():
            result = train(
                [learners.member(0, learner)], prepared,
                lambda epochs: curves.extend(epochs) or {},  # noqa: B023
            )[0]  # fmt: skip
        best = [max(epoch.valid[TASKS[task]] for epoch in curves) for task in learner.tasks]
        assert found[learner].scores == pytest.approx(best, abs=1e-5)
        outputs = learners.outputs(learner, "test")
        assert [*outputs] == [TASKS[task] for task in learner.tasks]
        assert found[learner].epochs == result.epochs


def test_the_weights_of_its_tasks_are_those_of_a_task_alone(
    make: Callable[..., Learners],
) -> None:
    learners = make()
    assert learners.member(0, Learner((1,), 1)).weights == (0, 1, 0, 0)
    assert learners.member(0, Learner((1, 3), 1)).weights == (0, 1, 0, 1)
    same = [learners.member(0, Learner(tasks, 2)) for tasks in ((0,), (0, 1))]
    assert same[0].seed == same[1].seed
    assert same[0].stream == same[1].stream
    assert same[0].stream != learners.member(0, Learner((0,), 1)).stream


def test_arrays_that_ended_are_not_trained_again(
    make: Callable[..., Learners], prepared: Prepared
) -> None:
    first = run(make(), InProcess(prepared))
    again = Counting(prepared)
    assert run(make(), again) == first
    assert again.submitted == []


@pytest.mark.parametrize("n_workers", [1, 2])
def test_a_kill_loses_no_more_than_an_array_a_worker(
    make: Callable[..., Learners], prepared: Prepared, n_workers: int
) -> None:
    killed = Counting(prepared, most=14)
    with pytest.raises(OSError, match="killed"):
        run(make(), killed, n_workers)
    kept = len(list((make().path).glob("*.json")))
    assert kept >= len(killed.submitted) - n_workers > 0
    resumed = Counting(prepared)
    found = run(make(), resumed, n_workers)
    assert len(resumed.submitted) == 4 - kept
    straight = run(make(params={}), InProcess(prepared))
    assert found == straight


def test_an_array_that_ended_and_was_not_kept_is_not_trained_again(
    prepared: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = synthetic_study(
        1.0, 5, train__epochs=4, search__population=3, train__checkpoint_minutes=1e-9
    )
    trained: list[tuple[list[int], int]] = []
    train_epoch = Population.train_epoch

    def note(population: Population, epoch: int) -> Any:
        trained.append(([member.number for member in population.members], epoch))
        return train_epoch(population, epoch)

    monkeypatch.setattr(Population, "train_epoch", note)

    def learned(name: str) -> Any:
        folder = StudyFolder(tmp_path / name, "synthetic")
        learners = Learners(study, prepared, folder, {}, NullTracker())
        backend = InProcess(prepared, checkpoints=folder.checkpoints / "groups")
        found = run(learners, backend)
        assert not [*(folder.checkpoints / "groups").iterdir()], "each goes when it is kept"
        return found, [learners.outputs(one, "test") for one in LEARNERS]

    expected = learned("straight")
    course, trained[:] = list(trained), []
    with monkeypatch.context() as patched:
        patched.setattr(Learners, "_save_model", None)
        with pytest.raises(TypeError):
            learned("killed")
    found = learned("killed")
    assert trained == course
    np.testing.assert_equal(found, expected)


def test_how_many_arrays_have_ended_is_told(
    make: Callable[..., Learners], prepared: Prepared
) -> None:
    told: list[tuple[str, int, int]] = []
    backend = InProcess(prepared)
    for _ in range(2):  # the second time nothing is left to tell of
        train_learners(
            make(), LEARNERS, backend, 1, bool, lambda said: None, lambda *far: told.append(far)
        )
    what = "Training 10 models of groups, arrays"
    assert told == [(what, done, 4) for done in range(5)]


def test_results_do_not_depend_on_workers(prepared: Prepared, tmp_path: Path) -> None:
    found = []
    for n_workers in (1, 2):
        folder = StudyFolder(tmp_path / str(n_workers), "synthetic")
        learners = Learners(STUDY, prepared, folder, {}, NullTracker())
        backend = make_backend(prepared, n_workers)
        try:
            trained = run(learners, backend, n_workers)
        finally:
            backend.close()
        found.append([trained[learner].scores for learner in LEARNERS])
    assert found[0] == found[1]


def test_another_setting_has_files_of_its_own(make: Callable[..., Learners]) -> None:
    assert make().key == make(params={"train.lr": 0.016}).key  # the centre of the range
    assert make().key != make(params={"train.lr": 0.02}).key


def test_stopping_ends_with_interrupted(make: Callable[..., Learners], prepared: Prepared) -> None:
    with pytest.raises(Interrupted):
        run(make(), InProcess(prepared), stop=lambda: True)


def test_a_learner_that_diverges_is_an_error_that_names_it(
    make: Callable[..., Learners], prepared: Prepared
) -> None:
    study = synthetic_study(1.0, 5, train__epochs=4, train__lr=1e12, train__optimizer="sgd")
    with pytest.raises(TrainingError, match=r"seed 1 ended as diverged .* `train.lr`"):
        run(make(study), InProcess(prepared))


def test_models_go_when_they_are_no_longer_needed(
    make: Callable[..., Learners], prepared: Prepared
) -> None:
    learners = make()
    run(learners, InProcess(prepared))
    outputs = learners.outputs(LEARNERS[0], "valid")
    assert all(np.isfinite(found).all() for found in outputs.values())
    learners.drop_models()
    assert not (learners.path / "models").exists()
