"""Losses against torch's own, per member, and where floating point is thin."""

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.study.task_spec import TaskSpec
from pipeline.tasks.base import Kind
from pipeline.tasks.binary import Binary
from pipeline.tasks.losses import softplus
from pipeline.tasks.multiclass import Multiclass
from pipeline.tasks.multilabel import Multilabel
from pipeline.tasks.regression import Regression

SMOOTHING = torch.tensor([[0.0], [0.1], [0.7]], dtype=torch.float64)

quick = settings(max_examples=25, deadline=None)
seeds = st.integers(0, 2**32 - 1)


def outputs_of(kind: Kind, seed: int, n_rows: int) -> torch.Tensor:
    random = np.random.default_rng(seed)
    return torch.tensor(3 * random.normal(size=(3, n_rows, kind.width)))


def reduced(kind: Kind, outputs: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """The (K,) mean as training takes it: weighted losses over weights."""
    loss = kind.row_loss(outputs, target, SMOOTHING)
    weight = kind.row_weight(target)
    return loss.mean(dim=1) if weight is None else loss.sum(dim=1) / weight.sum()


@quick
@given(seeds, st.booleans())
def test_multiclass_is_torch_cross_entropy(seed: int, weighted: bool) -> None:
    labels = pd.DataFrame({"y": list("abca") * 5})
    weights = {"a": 0.5, "c": 3.0} if weighted else None
    kind = Multiclass(
        Multiclass.fit("t", "t", TaskSpec("multiclass", "y", class_weights=weights), labels)
    )
    target, outputs = torch.from_numpy(kind.encode(labels)), outputs_of(kind, seed, 20)
    weight = torch.tensor([0.5, 1.0, 3.0], dtype=torch.float64) if weighted else None
    expected = [
        F.cross_entropy(member, target.long(), weight=weight, label_smoothing=float(share))
        for member, share in zip(outputs, SMOOTHING, strict=True)
    ]
    torch.testing.assert_close(reduced(kind, outputs, target), torch.stack(expected))


@quick
@given(seeds, st.booleans())
def test_binary_is_torch_cross_entropy_of_two_classes(seed: int, weighted: bool) -> None:
    labels = pd.DataFrame({"y": ["n", "y", "n", "n"] * 5})
    weights = {"y": 3.0} if weighted else None
    kind = Binary(Binary.fit("t", "t", TaskSpec("binary", "y", class_weights=weights), labels))
    target, outputs = torch.from_numpy(kind.encode(labels)), outputs_of(kind, seed, 20)
    weight = torch.tensor([1.0, 3.0 if weighted else 1.0], dtype=torch.float64)
    two = torch.cat([torch.zeros_like(outputs), outputs], dim=-1)
    expected = [
        F.cross_entropy(member, target.long(), weight=weight, label_smoothing=float(share))
        for member, share in zip(two, SMOOTHING, strict=True)
    ]
    torch.testing.assert_close(reduced(kind, outputs, target), torch.stack(expected))


@quick
@given(seeds, st.booleans())
def test_multilabel_is_torch_binary_cross_entropy(seed: int, weighted: bool) -> None:
    labels = pd.DataFrame({"a": [0, 1, 1, 1] * 5, "b": [0, 1, 0, 0] * 5})
    spec = TaskSpec("multilabel", ["a", "b"], class_weights="balanced" if weighted else None)
    kind = Multilabel(Multilabel.fit("t", "t", spec, labels))
    target, outputs = torch.from_numpy(kind.encode(labels)), outputs_of(kind, seed, 20)
    weight = torch.tensor([1 / 3, 3.0], dtype=torch.float64) if weighted else None
    expected = [
        F.binary_cross_entropy_with_logits(
            member, target.double() * (1 - share) + share / 2, pos_weight=weight
        )
        for member, share in zip(outputs, SMOOTHING, strict=True)
    ]
    torch.testing.assert_close(reduced(kind, outputs, target), torch.stack(expected))


@quick
@given(
    seeds, st.sampled_from([("squared", 1.0), ("absolute", 1.0), ("huber", 0.3), ("huber", 2.0)])
)
def test_regression_is_torch_on_standardised_numbers(seed: int, loss: tuple[str, float]) -> None:
    labels = pd.DataFrame({"y": np.random.default_rng(seed).normal(50, 9, 20)})
    spec = TaskSpec("regression", "y", loss=loss[0], delta=loss[1])
    kind = Regression(Regression.fit("t", "t", TaskSpec("regression", "y"), labels)).with_spec(spec)
    outputs = outputs_of(kind, seed, 20)
    numbers = labels["y"].to_numpy()
    standard = torch.from_numpy((numbers - numbers.mean()) / numbers.std())
    torch_loss = {
        "squared": F.mse_loss,
        "absolute": F.l1_loss,
        "huber": lambda x, y: F.huber_loss(x, y, delta=loss[1]),
    }[loss[0]]
    expected = torch.stack([torch_loss(member[:, 0], standard) for member in outputs])
    found = reduced(kind, outputs, torch.from_numpy(kind.encode(labels)))
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


def test_softplus_is_exact_and_smooth_everywhere() -> None:
    points = torch.tensor([-1e4, -30.0, -1.0, 0.0, 1.0, 30.0, 1e4], requires_grad=True)
    found = softplus(points)
    torch.testing.assert_close(found, F.softplus(points, threshold=50.0))
    (slope,) = torch.autograd.grad(found.sum(), points)
    torch.testing.assert_close(slope, points.sigmoid())


@pytest.mark.parametrize("size", [1e3, 1e30])
def test_huge_logits_have_finite_losses(size: float) -> None:
    labels = pd.DataFrame({"y": ["n", "y", "n", "n"]})
    kind = Binary(Binary.fit("t", "t", TaskSpec("binary", "y"), labels))
    outputs = torch.tensor([[[size], [size], [-size], [-size]]], requires_grad=True)
    loss = kind.row_loss(outputs, torch.from_numpy(kind.encode(labels)), torch.zeros(1, 1))
    torch.testing.assert_close(loss.detach(), torch.tensor([[size, 0.0, 0.0, 0.0]]))
    loss.sum().backward()
    assert outputs.grad is not None
    torch.testing.assert_close(outputs.grad[0, :, 0], torch.tensor([1.0, 0.0, 0.0, 0.0]))
