import inspect
from hashlib import sha256

import pytest
import torch
from torch import nn

from pipeline.errors import StudyError
from pipeline.study.catalogue import CATALOGUE, entry, load, names
from pipeline.study.seeds import derive_seed
from pipeline.study.task_spec import TaskSpec
from pipeline.tasks.base import Kind
from pipeline.training.optimizers import Optimizer
from pipeline.training.weighting.base import Weighting

ENTRIES = [(role, name) for role in CATALOGUE for name in names(role)]


def _fits(role: str, name: str, found: object) -> bool:
    """Tells whether what an entry names has the shape that its role asks for."""
    if role == "kind":
        return (
            issubclass(found, Kind)  # type: ignore[arg-type]
            and found.name == name
            and tuple(found.metrics) == entry(role, name).metrics
            and set(entry(role, name).options) <= set(TaskSpec.__dataclass_fields__)  # type: ignore[attr-defined]
        )
    if role == "sharing":
        parameters = list(inspect.signature(found).parameters)  # type: ignore[arg-type]
        return (
            issubclass(found, nn.Module)  # type: ignore[arg-type]
            and parameters == ["architecture", "n_members", "n_features", "dtype"]
        )
    if role == "strategy":
        return issubclass(found, Weighting) and not inspect.isabstract(found)  # type: ignore[arg-type]
    if role == "optimizer":
        return issubclass(found, Optimizer) and not inspect.isabstract(found)  # type: ignore[arg-type]
    if role == "schedule":
        factors = found(torch.tensor([[0.0], [0.5], [1.0]]))  # type: ignore[operator]
        return factors.shape == (3, 1) and float(factors[0]) == 1
    return callable(found)


@pytest.mark.parametrize(("role", "name"), ENTRIES)
def test_each_entry_loads_and_has_the_shape_of_its_role(role: str, name: str) -> None:
    assert _fits(role, name, load(role, name))
    assert entry(role, name).about


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(StudyError, match=r"`optimizer` is unknown. Found adma. .*`adam`"):
        load("optimizer", "adma")


def test_a_seed_is_the_head_of_a_sha256() -> None:
    digest = sha256(b"7/3/initial").hexdigest()
    assert derive_seed(7, 3, "initial") == int(digest[:16], 16) // 2
    assert derive_seed(0, "order") == 5231958647509549229  # for ever: old studies resume


def test_seeds_of_different_names_differ() -> None:
    parts = [(seed, trial, word) for seed in range(5) for trial in range(20) for word in "ab"]
    seeds = {derive_seed(*part) for part in parts}
    assert len(seeds) == len(parts)
    assert all(0 <= seed < 2**63 for seed in seeds)
