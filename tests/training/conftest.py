from collections.abc import Iterator

import pytest
import torch
from training_data import make_prepared

from pipeline.data.prepared import Prepared


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Small steps are slower on several threads, and sums may differ."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def prepared() -> Prepared:
    return make_prepared()


@pytest.fixture(scope="session")
def complete() -> Prepared:
    """The same rows with every label."""
    return make_prepared(missing=0.0)
