"""One study taken through the whole chain, once for all tests of the stages; sessions of it."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from stage_cases import Chain, chain_study, people

from pipeline import compare, prepare, promote, search
from pipeline.driver.study_folder import StudyFolder
from pipeline.promotion.decision import Decision
from pipeline.stages.session import Session
from pipeline.tracking.store import Store


@pytest.fixture(scope="session")
def chain(store: Store) -> Chain:
    """The study after four trials, and then after eight."""
    made = Chain(chain_study(), people(), store)
    made.found["first"] = search(made.study, 4, n_workers=1, **made.where)
    made.found["search"] = search(made.study, n_workers=1, **made.where)
    states = {trial.state for trial in made.trials}
    assert states == {"complete", "pruned", "diverged"}, "the tests need all three"
    return made


@pytest.fixture(scope="session")
def compared(chain: Chain) -> Chain:
    """The study after its comparison on test."""
    chain.found["compare"] = compare(chain.study, n_workers=1, **chain.where)
    return chain


@pytest.fixture(scope="session")
def promoted(compared: Chain) -> tuple[Chain, Decision]:
    """The study after the promotion of its best trial."""
    return compared, promote(compared.study, **compared.where)


@pytest.fixture
def session_on(tmp_path: Path, store: Store) -> Callable[[str], Session]:
    """Opens a study as if its device were there."""
    study = chain_study()
    prepared = prepare(study, store, {"people": people()})
    folder = StudyFolder(tmp_path, "chain")

    def open_on(device: str) -> Session:
        return Session(study, prepared, store, folder, {}, device=torch.device(device))

    return open_on
