"""One study taken through the whole chain, once for all tests of the stages."""

import pytest
from stage_cases import Chain, chain_study, people

from pipeline import compare, promote, search
from pipeline.promotion.decision import Decision
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
