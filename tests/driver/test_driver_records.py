import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from driver_cases import members_of
from hypothesis import given
from hypothesis import strategies as st

from pipeline.data.prepared import Prepared
from pipeline.driver.json_files import JsonLines, read_json, write_json
from pipeline.driver.records import (
    Cohort,
    EpochRecord,
    StudyFolder,
    TrialRecord,
    best_trials,
)
from pipeline.driver.trials import end_of, make_predictor, make_record
from pipeline.study.loading import Study
from pipeline.training.loop import train
from pipeline.training.members import Member, Stop, Trained

HISTORY = [
    EpochRecord(1, 11, {"score": 0.1, "train/size/loss": 0.1 + 0.2}),
    EpochRecord(2, 13, {"train/size/loss": None}),  # diverged: no score, a loss that is not finite
]


@pytest.fixture(scope="module")
def ended(study: Study, prepared: Prepared) -> list[tuple[Member, Trained]]:
    """Member 0 completes, member 1 is pruned after an epoch."""
    members = members_of(study, prepared, 2)
    trained = train(members, prepared, lambda results: {1: Stop("pruned", "below the median")})
    return list(zip(members, trained, strict=True))


@pytest.fixture(scope="module")
def records(ended: list[tuple[Member, Trained]], prepared: Prepared) -> list[TrialRecord]:
    params = {"train.lr": 0.1 + 0.2, "model.layers": "[4]"}  # a float with all its digits
    return [
        make_record(member, trained, prepared, params, HISTORY, f"run{i}", 17)
        for i, (member, trained) in enumerate(ended)
    ]


@pytest.fixture
def folder(tmp_path: Path) -> StudyFolder:
    return StudyFolder(tmp_path / "studies", "small")


def test_a_record_survives_its_way_through_json(records: list[TrialRecord]) -> None:
    for record in records:
        text = json.dumps(record.to_json(), allow_nan=False)
        assert TrialRecord.from_json(json.loads(text)) == record


def test_a_record_says_how_the_trial_ended(records: list[TrialRecord]) -> None:
    complete, pruned = records
    assert (complete.state, complete.epochs) == ("complete", 3)
    assert complete.evaluation is not None
    assert complete.evaluation.mean == pytest.approx(complete.score)
    assert complete.curve == (0.1,)  # up to where it was a number
    assert (pruned.state, pruned.epochs, pruned.reason) == ("pruned", 1, "below the median")
    assert pruned.evaluation is None
    assert sum(complete.weights.values()) == pytest.approx(len(complete.weights))


def test_the_end_that_is_tracked_says_the_same(records: list[TrialRecord]) -> None:
    complete, pruned = records
    assert end_of(complete) == end_of(complete)  # told again after a crash, nothing changes
    assert end_of(complete).metrics["score"] == complete.score
    assert end_of(complete).timestamp_ms == 17
    assert end_of(pruned).reason == "below the median"
    failed = replace(pruned, state="failed", reason="Traceback: ...", score=None)
    assert end_of(failed).traceback == "Traceback: ..."
    assert "score" not in end_of(failed).metrics


def test_a_study_that_was_never_launched_is_empty(folder: StudyFolder) -> None:
    assert not folder.exists()
    assert (folder.record(), folder.cohorts(), folder.trials(), folder.models()) == ({}, [], [], [])
    assert folder.outcome(Cohort(0, 4)) is None
    assert not folder.path.parent.exists()  # looking writes nothing


def test_outcomes_are_read_by_another_driver(
    folder: StudyFolder, records: list[TrialRecord]
) -> None:
    folder.save_record({"settings": {}, "cohorts": []})
    folder.begin(Cohort(0, 2))
    folder.begin(Cohort(0, 2))  # begun again after a kill
    folder.begin(Cohort(2, 6))
    folder.save_outcome(Cohort(0, 2), records)
    again = StudyFolder(folder.path.parent, folder.name)
    assert again.exists()
    assert again.cohorts() == [Cohort(0, 2), Cohort(2, 6)]
    assert again.outcome(Cohort(0, 2)) == records
    assert again.outcome(Cohort(2, 6)) is None
    assert again.trials() == records


def test_a_cohort_names_its_trials() -> None:
    assert list(Cohort(4, 7).numbers) == [4, 5, 6]


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "record.json"
    write_json(path, {"n": 1})
    with pytest.raises(TypeError):
        write_json(path, {"n": 2, "unwritable": object()})
    assert read_json(path) == {"n": 1}
    assert read_json(tmp_path / "absent.json") is None


def test_what_a_killed_driver_wrote_by_half_is_not_read(
    folder: StudyFolder, records: list[TrialRecord]
) -> None:
    folder.save_record({"settings": {}, "cohorts": []})
    folder.begin(Cohort(0, 2))
    folder.save_outcome(Cohort(0, 2), records)
    (whole,) = (folder.path / "cohorts").iterdir()
    whole.rename(whole.with_name(f".{whole.name}.123"))  # killed before the last step
    assert StudyFolder(folder.path.parent, folder.name).trials() == []


def test_models_are_kept_listed_and_dropped(
    folder: StudyFolder, ended: list[tuple[Member, Trained]], prepared: Prepared
) -> None:
    predictor = make_predictor(*ended[0], prepared)
    for number in (10, 2, 2):  # one trial's model may be saved again after a kill
        folder.save_model(f"trial-{number}", predictor)
    (folder.path / "models" / ".trial-3.99").mkdir()  # what a killed driver left
    assert folder.models() == ["trial-10", "trial-2"]
    loaded = folder.load_model("trial-10")
    assert loaded is not None
    for name, values in ended[0][1].parameters.items():
        np.testing.assert_array_equal(loaded.parameters[name], values)
    folder.drop_model("trial-10")
    assert folder.models() == ["trial-2"]
    assert folder.load_model("trial-10") is None


def test_an_archived_study_leaves_its_name_free(
    folder: StudyFolder, records: list[TrialRecord]
) -> None:
    folder.save_record({"settings": {}, "cohorts": [[0, 2]]})
    folder.save_outcome(Cohort(0, 2), records)
    folder.journal.write_text("{}\n")
    assert folder.trials() == records
    folder.archive("small.archived-1")
    assert not folder.exists()
    assert not folder.journal.exists()
    assert folder.trials() == []
    archived = StudyFolder(folder.path.parent, "small.archived-1")
    assert archived.trials() == records
    assert archived.journal.exists()


@given(st.data())
def test_the_best_trials_are_the_complete_ones_with_the_highest_scores(
    records: list[TrialRecord], data: st.DataObject
) -> None:
    ends = data.draw(
        st.lists(
            st.tuples(
                st.sampled_from(["complete", "complete", "pruned", "failed"]),
                st.none() | st.integers(-3, 3).map(float),
            ),
            max_size=12,
        )
    )
    trials = [
        replace(records[0], number=number, state=state, score=score)
        for number, (state, score) in enumerate(ends)
    ]
    count = data.draw(st.integers(1, 6))
    best = best_trials(data.draw(st.permutations(trials)), count)
    eligible = [t for t in trials if t.state == "complete" and t.score is not None]
    assert len(best) == min(count, len(eligible))
    worst = min((t.score for t in best), default=0.0)
    for trial in eligible:
        if trial not in best:
            assert trial.score <= worst
            assert all(t.number < trial.number for t in best if t.score == trial.score)
    assert [t.score for t in best] == sorted((t.score for t in best), reverse=True)


def test_outcomes_come_one_by_one_and_a_torn_line_counts_for_nothing(
    folder: StudyFolder, records: list[TrialRecord]
) -> None:
    second, first = records[1], records[0]
    folder.save_record({"settings": {}, "cohorts": []})
    folder.extend(2)
    folder.extend(4)
    folder.append_outcomes([replace(second, number=2)])
    reader = StudyFolder(folder.path.parent, folder.name)
    assert reader.trials() == [replace(second, number=2)]
    file = folder.path / "trials.jsonl"
    whole = file.read_bytes()
    file.write_bytes(whole + whole[: len(whole) // 2])  # killed within the next line
    again = StudyFolder(folder.path.parent, folder.name)
    assert again.trials() == reader.trials() == [replace(second, number=2)]
    assert again.unfinished() == [0, 1, 3]
    again.append_outcomes([first])
    assert reader.trials() == again.trials() == [first, replace(second, number=2)]
    assert StudyFolder(folder.path.parent, folder.name).trials() == again.trials()
    assert file.read_bytes().count(b"\n") == 2


def test_lines_are_read_once(tmp_path: Path) -> None:
    lines = JsonLines(tmp_path / "deep" / "lines.jsonl")
    assert lines.fresh() == []
    lines.append([{"n": 1}, {"n": 2}])
    assert lines.fresh() == [{"n": 1}, {"n": 2}]
    assert lines.fresh() == []
