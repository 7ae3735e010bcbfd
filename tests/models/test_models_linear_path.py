"""The linear model beside the trunk, against a dense product."""

from dataclasses import replace

import torch
from torch import Tensor

from pipeline.models.architecture import Architecture
from pipeline.models.build import MultiTaskModel, build, initialise
from pipeline.models.texts import Sparse, Texts

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
    linear=5,
)
TERMS = Sparse(
    torch.tensor([0, 2, 2, 5, 6]),
    torch.tensor([0, 4, 1, 2, 3, 4]),
    torch.tensor([0.5, 1.0, -1.0, 2.0, 0.25, 3.0], dtype=torch.float64),
)


def model_of(shape: Architecture, seed: int = 0) -> MultiTaskModel:
    model = build(shape, 2, torch.float64)
    initialise(model, [1, 2])
    if model.linear is not None:
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            model.linear.weight.normal_(generator=generator)
    return model


def dense() -> Tensor:
    found = torch.zeros(4, 5, dtype=torch.float64)
    rows = torch.tensor([0, 0, 2, 2, 2, 3])
    return found.index_put((rows, TERMS.items), TERMS.values)


def inputs() -> tuple[Tensor, Tensor]:
    numbers = torch.linspace(-1, 1, 12, dtype=torch.float64).reshape(4, 3)
    return numbers, torch.tensor([[0], [1], [2], [3]])


def test_it_adds_a_product_of_term_weights_to_each_head() -> None:
    for sharing in ("shared_bottom", "separate"):
        shape = replace(SHAPE, sharing=sharing)
        model, plain = model_of(shape), model_of(replace(shape, linear=0))
        assert plain.linear is None
        assert model.linear is not None
        found = model(*inputs(), texts=Texts(terms=TERMS))
        before = plain(*inputs())
        low = 0
        for task, width in SHAPE.heads.items():
            weight = model.linear.weight[:, :, low : low + width]
            expected = before[task] + dense() @ weight
            torch.testing.assert_close(found[task], expected, rtol=0, atol=1e-12)
            low += width


def test_it_starts_at_nothing() -> None:
    model = build(SHAPE, 2, torch.float64)
    initialise(model, [1, 2])
    found = model(*inputs(), texts=Texts(terms=TERMS))
    for task, outputs in model_of(replace(SHAPE, linear=0))(*inputs()).items():
        torch.testing.assert_close(found[task], outputs, rtol=0, atol=1e-12)


def test_each_task_owns_its_columns() -> None:
    assert model_of(SHAPE).owners("linear.weight").tolist() == [0, 0, 1, 2, 2, 2]


def test_tasks_that_write_have_no_part_in_it() -> None:
    writer = {"vocabulary": 8, "read": 4, "write": 3, "width": 2, "beam": 1}
    model = model_of(replace(SHAPE, generators={"first": writer}))
    assert model.owners("linear.weight").tolist() == [1, 2, 2, 2]
    plain = model_of(replace(SHAPE, linear=0))
    features = model.encode(*inputs(), Texts(terms=TERMS))
    outputs = model.decide(features)
    torch.testing.assert_close(outputs[:, :2], plain.decide(features[..., :-4])[:, :2])
    assert not torch.allclose(outputs[:, 2:], plain.decide(features[..., :-4])[:, 2:])
