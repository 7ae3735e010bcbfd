"""One study taken through the whole chain, once for all tests of the stages."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from stage_cases import chain_study, people

from pipeline import compare, prepare, promote, search
from pipeline.comparison.readings import Readings
from pipeline.data.prepared import Prepared
from pipeline.driver.records import StudyFolder, TrialRecord
from pipeline.promotion.gates import Decision
from pipeline.study.loading import Study
from pipeline.tracking.store import Store


@dataclass
class Chain:
    """The study, its data, its place, and what its stages returned."""

    study: Study
    frame: pd.DataFrame
    store: Store
    found: dict[str, dict[str, Any]] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)

    @property
    def where(self) -> dict[str, Any]:
        return {"store": self.store, "tables": {"people": self.frame}, "say": self.said.append}

    @property
    def folder(self) -> StudyFolder:
        return StudyFolder(self.store.studies, self.study.spec.name)

    @property
    def trials(self) -> list[TrialRecord]:
        return self.folder.trials()

    @property
    def prepared(self) -> Prepared:
        return prepare(self.study, self.store, {"people": self.frame})

    @property
    def n_readings(self) -> int:
        return len(Readings(self.folder).all())

    def trial(self, number: int) -> TrialRecord:
        return self.trials[number]

    def ended_as(self, state: str) -> list[TrialRecord]:
        return [trial for trial in self.trials if trial.state == state]

    def files(self) -> dict[Path, bytes]:
        """What the store holds, but for locks and the database, which reading may touch."""
        return {
            path: path.read_bytes()
            for path in sorted(self.store.folder.rglob("*"))
            if path.is_file() and path.suffix != ".lock" and not path.name.startswith("mlflow.db")
        }


@pytest.fixture(scope="session")
def chain(store: Store) -> Iterator[Chain]:
    """The study after four trials, and then after eight."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(store.folder)  # a test that takes the default store must not write elsewhere
        made = Chain(chain_study(), people(), store)
        made.found["first"] = search(made.study, 4, n_workers=1, **made.where)
        made.found["search"] = search(made.study, n_workers=1, **made.where)
        states = {trial.state for trial in made.trials}
        assert states == {"complete", "pruned", "diverged"}, "the tests need all three"
        yield made


@pytest.fixture(scope="session")
def compared(chain: Chain) -> Chain:
    """The study after its comparison on test."""
    chain.found["compare"] = compare(chain.study, **chain.where)
    return chain


@pytest.fixture(scope="session")
def promoted(compared: Chain) -> tuple[Chain, Decision]:
    """The study after the promotion of its best trial."""
    return compared, promote(compared.study, **compared.where)
