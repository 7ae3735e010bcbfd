"""Slopes that are written out against autograd."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest
import torch
from torch import Tensor

from pipeline.study import catalogue
from pipeline.study.task_spec import TaskSpec
from pipeline.tasks.base import Kind
from pipeline.tasks.multiclass import Multiclass
from pipeline.training.slopes import KNOWN, row_slopes

K, G, N = 3, 2, 40
SMOOTHING = torch.tensor([0.0, 0.1, 0.5], dtype=torch.float64).reshape(K, 1, 1)


class Doubled(Multiclass):
    """A loss of its own, whatever else it inherits."""

    def row_loss(self, outputs: Tensor, target: Tensor, smoothing: Tensor | None) -> Tensor:
        return 2 * super().row_loss(outputs, target, smoothing)


def fitted(kind: str, **values: Any) -> Kind:
    spec = TaskSpec(kind=kind, target="y", **values)
    labels = [float(i % 4) if kind == "regression" else f"c{i % 4 % (2 + 2 * (kind != 'binary'))}"
              for i in range(N)]  # fmt: skip
    known = catalogue.load("kind", kind)
    made: Kind = known(known.fit("y", "y", spec, pd.DataFrame({"y": labels})))
    return made


CASES = [
    fitted("multiclass"), fitted("multiclass", class_weights={"c1": 3.0}),
    Doubled(fitted("multiclass").info), fitted("binary"),
    fitted("binary", class_weights={"c0": 2.0}), fitted("regression"),
    fitted("regression", loss="huber", delta=0.5), fitted("regression", loss="absolute"),
]  # fmt: skip


@pytest.mark.parametrize("smoothing", [None, SMOOTHING])
@pytest.mark.parametrize("kind", CASES, ids=lambda kind: type(kind).__name__)
def test_slopes_are_those_of_autograd(kind: Kind, smoothing: Tensor | None) -> None:
    random = torch.Generator().manual_seed(0)
    outputs = torch.randn(K, G, kind.width, N, generator=random, dtype=torch.float64).mT * 3
    target = torch.randint(2, (G, N), generator=random).double()
    target[0, :5] = float("nan")  # a missing label: finite, and without meaning
    rows, slopes = row_slopes(kind, outputs, target, smoothing)
    leaf = outputs.clone().requires_grad_()
    expected = kind.row_loss(leaf, target, smoothing)
    (reference,) = torch.autograd.grad(expected.sum(), leaf)
    torch.testing.assert_close(rows, expected.detach(), rtol=0, atol=1e-12)
    torch.testing.assert_close(slopes, reference, rtol=0, atol=1e-12)
    assert bool(torch.isfinite(slopes).all())


def test_a_loss_of_ones_own_is_not_taken_for_the_one_that_it_inherits() -> None:
    assert type(CASES[0]).row_loss in KNOWN
    assert Doubled.row_loss not in KNOWN
