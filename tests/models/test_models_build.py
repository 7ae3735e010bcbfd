"""Members are drawn from their own seeds, stored, and loaded again."""

import json

import numpy as np
import pytest
import torch
from network_cases import PLAIN, SHAPES, inputs, made

from pipeline.models.architecture import Architecture
from pipeline.models.build import build, initialise, load_member, member_tensors
from pipeline.models.network import MultiTaskModel


def test_a_member_starts_from_its_own_seed_alone() -> None:
    together = build(PLAIN, 3)
    initialise(together, [11, 40, 13])
    alone = build(PLAIN, 1)
    initialise(alone, [40])
    for (name, ours), (_, theirs) in zip(
        member_tensors(together), member_tensors(alone), strict=True
    ):
        assert torch.equal(ours[1], theirs[0]), name
    assert not torch.equal(together.heads.weight[0], together.heads.weight[1])


def stored(model: MultiTaskModel, member: int) -> dict[str, np.ndarray]:
    return {name: t[member].detach().float().numpy() for name, t in member_tensors(model)}


@pytest.mark.parametrize("shape", SHAPES)
def test_a_stored_member_answers_as_before(shape: Architecture) -> None:
    model = build(shape, 3)
    initialise(model, [1, 2, 3])
    numeric, codes = inputs(shape)
    numeric = numeric.float()
    model(numeric, codes)  # moves the running statistics of batch norm
    model.eval()
    again = load_member(Architecture.from_json(json.loads(json.dumps(shape.to_json()))),
                        stored(model, 2))  # fmt: skip
    assert not again.training
    for task, output in again(numeric, codes).items():
        torch.testing.assert_close(output[0], model(numeric, codes)[task][2])


def test_an_architecture_survives_json() -> None:
    for shape in SHAPES:
        again = Architecture.from_json(json.loads(json.dumps(shape.to_json())))
        assert again == shape
        assert list(again.heads) == list(shape.heads)


def test_parameters_that_do_not_fit_are_refused() -> None:
    parameters = stored(made(PLAIN), 0)
    missing = {name: array for name, array in parameters.items() if name != "embedding.table"}
    with pytest.raises(ValueError, match=r"do not fit the architecture: embedding.table"):
        load_member(PLAIN, missing)
    with pytest.raises(ValueError, match=r"do not fit the architecture: odd"):
        load_member(PLAIN, {**parameters, "odd": np.zeros(3)})
    wrong = {**parameters, "embedding.table": np.zeros((2, 3))}
    with pytest.raises(
        ValueError, match=r"embedding.table has another shape: \(2, 3\) and \(8, 3\)"
    ):
        load_member(PLAIN, wrong)
