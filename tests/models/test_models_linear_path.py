"""What linear models say beside the trunk, against a sum written out."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from pipeline.models.architecture import Architecture
from pipeline.models.build import build, initialise
from pipeline.models.network import MultiTaskModel

SHAPE = Architecture(
    sharing="shared_bottom",
    layers=(6,),
    activation="relu",
    norm="none",
    head_layers=(),
    embedding=2,
    n_numeric=3,
    n_codes=(4,),
    heads={"first": 2, "second": 1, "third": 3},
)
LINEAR = replace(SHAPE, n_numeric=3 + 5, linear=("first", "third"))
SCALES = torch.tensor([[0.5, -1.0], [0.0, 2.0]], dtype=torch.float64)


def model_of(shape: Architecture) -> MultiTaskModel:
    model = build(shape, 2, torch.float64)
    initialise(model, [1, 2])
    return model


def inputs() -> tuple[Tensor, Tensor, Tensor]:
    numbers = torch.linspace(-1, 1, 12, dtype=torch.float64).reshape(4, 3)
    said = torch.linspace(-3, 2, 20, dtype=torch.float64).reshape(4, 5)
    return numbers, said, torch.tensor([[0], [1], [2], [3]])


@pytest.mark.parametrize("sharing", ["shared_bottom", "separate"])
def test_what_is_said_is_added_to_its_own_head_alone(sharing: str) -> None:
    numbers, said, codes = inputs()
    model, plain = (model_of(replace(shape, sharing=sharing)) for shape in (LINEAR, SHAPE))
    assert plain.linear is None
    assert model.linear is not None
    with torch.no_grad():
        model.linear.scale.copy_(SCALES)
    found, before = model(torch.cat([numbers, said], dim=1), codes), plain(numbers, codes)
    torch.testing.assert_close(found["second"], before["second"], rtol=0, atol=1e-12)
    for place, (task, own) in enumerate({"first": said[:, :2], "third": said[:, 2:]}.items()):
        expected = before[task] + (1 + SCALES[:, place, None, None]) * own
        torch.testing.assert_close(found[task], expected, rtol=0, atol=1e-12)


def test_it_starts_with_the_model_as_it_was_fitted() -> None:
    model = model_of(LINEAR)
    assert model.linear is not None
    assert not model.linear.scale.any()


def test_each_task_owns_its_scale() -> None:
    assert model_of(LINEAR).owners("linear.scale").tolist() == [0, 2]


def test_its_tasks_come_back_from_json() -> None:
    assert Architecture.from_json({**LINEAR.to_json(), "linear": ["first", "third"]}) == LINEAR
