"""A study on disk: what one driver kept, another reads."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.data.prepared import Prepared
from pipeline.driver.records import Cohort, TrialRecord
from pipeline.driver.study_folder import StudyFolder
from pipeline.driver.trials import make_predictor
from pipeline.training.members import Member, Trained


@pytest.fixture
def folder(tmp_path: Path) -> StudyFolder:
    return StudyFolder(tmp_path / "studies", "small")


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
