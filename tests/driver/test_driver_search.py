"""The search as a whole, on a study that trains in a moment, with a tracker that only remembers."""

import json
from pathlib import Path

import pytest
from driver_cases import small_study
from search_cases import Crash, Launcher, Watcher, check, plain

from pipeline.data.prepared import Prepared
from pipeline.driver.launch import default_workers, make_pruner
from pipeline.driver.records import TrialRecord
from pipeline.driver.study_folder import StudyFolder
from pipeline.errors import Interrupted, ResumeError
from pipeline.study.loading import Study

N_TRIALS = 6  # a cohort of four and one of two


@pytest.fixture
def launcher(study: Study, prepared: Prepared, tmp_path: Path) -> Launcher:
    return Launcher(study, prepared, StudyFolder(tmp_path, study.spec.name))


@pytest.fixture(scope="module")
def straight(
    study: Study, prepared: Prepared, tmp_path_factory: pytest.TempPathFactory
) -> tuple[list[TrialRecord], int]:
    """The trials of a search without interruption, and how often it called its tracker."""
    folder = StudyFolder(tmp_path_factory.mktemp("straight"), study.spec.name)
    launcher = Launcher(study, prepared, folder)
    trials = launcher.launch()
    check(launcher, trials)
    return trials, launcher.tracker.n_calls


def test_trial_0_is_at_the_centres_with_equal_weights(straight, study) -> None:
    first, *others = straight[0]
    assert first.params == study.centre()
    assert set(first.weights.values()) == {1.0}
    assert all(set(trial.weights.values()) != {1.0} for trial in others)
    assert len({trial.seed for trial in straight[0]}) == N_TRIALS


def test_two_workers_give_the_same_trials(straight, launcher) -> None:
    assert plain(launcher.launch(n_workers=2)) == plain(straight[0])


def test_a_crash_anywhere_loses_and_doubles_nothing(straight, study, prepared, tmp_path) -> None:
    expected, n_calls = straight
    assert n_calls > 20
    for crash_at in range(n_calls):
        folder = StudyFolder(tmp_path / str(crash_at), study.spec.name)
        launcher = Launcher(study, prepared, folder)
        with pytest.raises(Crash):
            launcher.launch(crash_at=crash_at)
        trials = launcher.launch()
        assert plain(trials) == plain(expected), f"crash at call {crash_at}"
        check(launcher, trials)


def test_the_journal_tells_of_nothing_that_could_not_be_kept(
    straight, launcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: StudyFolder, cohort: object, trials: object) -> None:
        raise OSError("No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(StudyFolder, "save_outcome", full)
        with pytest.raises(OSError, match="No space left"):
            launcher.launch()
    told = [json.loads(line) for line in launcher.folder.journal.read_text().splitlines()]
    assert {one["state"] for one in told if one["op_code"] == 6} <= {0}  # running, none ended
    assert plain(launcher.launch()) == plain(straight[0])


def test_ctrl_c_closes_the_runs_and_the_search_goes_on_later(straight, launcher) -> None:
    watcher = Watcher(interrupt_at=1)
    with pytest.raises(Interrupted):
        launcher.launch(watcher=watcher)
    assert watcher.told[-1] == "end"
    assert {run.state for run in launcher.memory.runs.values()} == {"interrupted"}
    trials = launcher.launch()
    assert plain(trials) == plain(straight[0])
    check(launcher, trials)


def test_observers_are_told_everything_in_order(launcher) -> None:
    watcher = Watcher()
    launcher.launch(watcher=watcher)
    events = [event for event in watcher.told if event != "epoch"]
    assert list(dict.fromkeys(events)) == [
        "start 0/6", "start [0, 1, 2, 3]", "done [0, 1, 2, 3]", "start [4, 5]", "done [4, 5]",
        *(f"Finalists of tuned #5, tuned #1, 6 models, epoch {n}/3" for n in (0, 1, 2, 3)), "end",
    ]  # fmt: skip
    again = Watcher()
    launcher.launch(watcher=again)
    assert again.told == ["start 6/6", "end"]


def test_more_trials_are_added_to_the_finished_ones(straight, launcher) -> None:
    assert plain(launcher.launch(n_trials=4)) == plain(straight[0][:4])
    assert plain(launcher.launch(n_trials=6)) == plain(straight[0])


def test_a_timeout_starts_no_further_cohort(straight, launcher) -> None:
    first = launcher.launch(timeout_seconds=1e-9)
    assert first == []
    assert plain(launcher.launch(timeout_seconds=600)) == plain(straight[0])


def test_a_changed_study_is_refused_before_anything_is_asked(launcher) -> None:
    launcher.launch(n_trials=4)
    before = launcher.folder.journal.read_bytes()
    with pytest.raises(ResumeError, match=r"train\.epochs: was 3, now 4"):
        launcher.launch(study=small_study(train__epochs=4))
    assert launcher.folder.journal.read_bytes() == before


def test_keep_may_change_on_resume(launcher) -> None:
    launcher.launch(n_trials=4)
    changed = small_study(search__keep=1)
    trials = launcher.launch(study=changed)
    launcher.study = changed
    check(launcher, trials)


@pytest.mark.parametrize(
    ("epochs", "most"),
    [(7, 7), ({"low": 2, "high": 12}, 12), ({"choices": [9, 20, 4]}, 20)],
    ids=str,
)
def test_rungs_reach_to_the_most_epochs_that_a_trial_may_have(epochs: object, most: int) -> None:
    pruner = make_pruner(small_study(search__pruner="median", train__epochs=epochs))
    assert pruner.n_epochs == most


def test_there_are_no_more_workers_than_arrays() -> None:
    assert default_workers(small_study(search__cohort=8, search__population=8)) == 1
