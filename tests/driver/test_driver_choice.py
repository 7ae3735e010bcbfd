"""Which model a search ends with, from records made by hand."""

from pathlib import Path
from typing import Any

import pytest

from pipeline.driver.choice import Choice, choose, missing_finalists
from pipeline.driver.records import Cohort, TrialRecord
from pipeline.driver.study_folder import StudyFolder
from pipeline.study.search_spec import FinalistsSpec

SPEC = FinalistsSpec(k=2, seeds=3)


def record(number: int, score: float | None, replicate: int = 0, **values: Any) -> TrialRecord:
    found: dict[str, Any] = {
        "number": number, "params": {}, "weights": {}, "seed": 0, "state": "complete",
        "reason": "", "score": score, "evaluation": None, "curve": (), "epochs": 1,
        "best_epoch": 1, "n_parameters": 1, "seconds": 0.0, "run_id": "", "ended_ms": 0,
        "replicate": replicate,
    }  # fmt: skip
    return TrialRecord(**{**found, **values})


@pytest.fixture
def folder(tmp_path: Path) -> StudyFolder:
    """Four trials; by valid 2 is best, then 0."""
    made = StudyFolder(tmp_path, "chosen")
    trials = [record(0, 0.7), record(1, 0.5), record(2, 0.9), record(3, 0.99, state="pruned")]
    made.begin(Cohort(0, 4))
    made.save_outcome(Cohort(0, 4), trials)
    return made


def retrain(folder: StudyFolder, number: int, *scores: float | None) -> None:
    folder.save_finalists(
        number,
        [
            record(number, score, replicate, state="complete" if score is not None else "diverged")
            for replicate, score in enumerate(scores, start=1)
        ],
    )


def chosen(folder: StudyFolder) -> Choice:
    found = choose(StudyFolder(folder.path.parent, folder.name), SPEC)
    assert found is not None
    return found


def test_without_finalists_the_best_trial_is_shipped(folder: StudyFolder) -> None:
    for spec in (None, SPEC):
        found = choose(folder, spec)
        assert found is not None
        assert (found.shipped.key, found.retrained, found.candidates) == ("trial-2", False, {})
    retrain(folder, 2, 0.8, 0.8, 0.8)  # the other finalist may still be better
    assert not chosen(folder).retrained
    assert [trial.number for trial in missing_finalists(folder, SPEC)] == [0]
    assert missing_finalists(folder, None) == []


def test_the_best_mean_over_seeds_is_chosen_and_its_median_seed_shipped(
    folder: StudyFolder,
) -> None:
    retrain(folder, 2, 0.90, 0.60, 0.60)  # best trial, one lucky seed
    retrain(folder, 0, 0.75, 0.71, 0.73)
    found = chosen(folder)
    assert found.candidates == pytest.approx({2: 0.7, 0: 0.73})
    assert (found.shipped.key, found.shipped.label) == ("trial-0-seed-3", "#0 seed 3")
    assert [seed.replicate for seed in found.seeds] == [1, 2, 3]
    assert found.mean == pytest.approx(0.73)


def test_a_configuration_that_fails_under_a_seed_is_not_chosen(folder: StudyFolder) -> None:
    retrain(folder, 2, 0.9, None, 0.9)
    retrain(folder, 0, 0.6, 0.7, 0.5)
    assert chosen(folder).shipped.key == "trial-0-seed-1"
    retrain(folder, 0, 0.6, None, None)  # the other fails more often
    assert [seed.key for seed in chosen(folder).seeds] == ["trial-2-seed-1", "trial-2-seed-3"]
    assert chosen(folder).shipped.key == "trial-2-seed-1"  # of two equals the first


def test_where_every_finalist_fails_the_best_trial_is_shipped(folder: StudyFolder) -> None:
    retrain(folder, 2, None, None, None)
    retrain(folder, 0, None, None, None)
    assert (chosen(folder).shipped.key, chosen(folder).retrained) == ("trial-2", False)


def test_of_equal_means_the_better_trial_stays_first(folder: StudyFolder) -> None:
    retrain(folder, 2, 0.5, 0.6, 0.7)
    retrain(folder, 0, 0.7, 0.6, 0.5)
    assert chosen(folder).shipped.key == "trial-2-seed-2"


def test_negative_scores_are_ranked_too(folder: StudyFolder) -> None:
    retrain(folder, 2, -3.0, -3.0, -3.0)
    retrain(folder, 0, -2.0, -1.0, -2.5)
    assert chosen(folder).shipped.key == "trial-0-seed-1"


def test_nothing_complete_nothing_chosen(tmp_path: Path) -> None:
    assert choose(StudyFolder(tmp_path, "empty"), SPEC) is None
