"""A small study with its data, and two of its members that ended."""

import pytest
from driver_cases import members_of, prepare_small, small_study

from pipeline.data.prepared import Prepared
from pipeline.driver.records import EpochRecord, TrialRecord
from pipeline.driver.trials import make_record
from pipeline.study.loading import Study
from pipeline.training.loop import train
from pipeline.training.members import Member, Stop, Trained

HISTORY = [
    EpochRecord(1, 11, {"score": 0.1, "train/size/loss": 0.1 + 0.2}),
    EpochRecord(2, 13, {"train/size/loss": None}),  # diverged: no score, a loss that is not finite
]


@pytest.fixture(scope="session")
def study() -> Study:
    return small_study()


@pytest.fixture(scope="session")
def prepared(study: Study, tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return prepare_small(study, tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def ended(study: Study, prepared: Prepared) -> list[tuple[Member, Trained]]:
    """Member 0 completes, member 1 is pruned after an epoch."""
    members = members_of(study, prepared, 2)
    trained = train(members, prepared, lambda results: {1: Stop("pruned", "below the median")})
    return list(zip(members, trained, strict=True))


@pytest.fixture(scope="session")
def records(ended: list[tuple[Member, Trained]], prepared: Prepared) -> list[TrialRecord]:
    params = {"train.lr": 0.1 + 0.2, "model.layers": "[4]"}  # a float with all its digits
    return [
        make_record(member, trained, prepared, params, HISTORY, f"run{i}", 17)
        for i, (member, trained) in enumerate(ended)
    ]
