"""Tasks computed at once against each task by itself."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from pipeline.study import catalogue
from pipeline.study.task_spec import TaskSpec
from pipeline.tasks.base import Kind
from pipeline.training.augmentation import Mixing
from pipeline.training.losses import TaskLosses

N_ROWS, K = 24, 3
SMOOTHING = torch.tensor([[0.0], [0.1], [0.5]], dtype=torch.float64)


def kind_of(name: str, kind: str, labels: int, weights: dict[str, float] | None = None) -> Kind:
    spec = TaskSpec(kind=kind, target=name, class_weights=weights)
    values = [float(i % 7) if kind == "regression" else f"c{i % labels}" for i in range(N_ROWS)]
    fitted = catalogue.load("kind", kind)
    made: Kind = fitted(fitted.fit(name, name, spec, pd.DataFrame({name: values})))
    return made


# Alike are a and c; b has weights, d is binary, e a regression, f has another number of classes.
KINDS = [
    kind_of("a", "multiclass", 4), kind_of("b", "multiclass", 4, {"c1": 2.0}),
    kind_of("c", "multiclass", 4), kind_of("d", "binary", 2), kind_of("e", "regression", 0),
    kind_of("f", "multiclass", 3), kind_of("g", "binary", 2),
]  # fmt: skip


def targets(missing: dict[str, float]) -> list[Tensor]:
    random = np.random.default_rng(3)
    found = []
    for kind in KINDS:
        top = max(2, len(kind.info.classes))
        target = random.integers(top, size=N_ROWS).astype(np.float64)
        target[random.random(N_ROWS) < missing.get(kind.info.name, 0.0)] = np.nan
        found.append(torch.from_numpy(target))
    return found


def outputs() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return {
        kind.info.name: torch.randn(
            K, N_ROWS, kind.width, generator=generator, dtype=torch.float64, requires_grad=True
        )
        for kind in KINDS
    }


def together(given: dict[str, Tensor]) -> Tensor:
    """The outputs of all tasks as heads give them, (K, W, B)."""
    return torch.cat([output.mT for output in given.values()], dim=1)


def one_by_one(given: dict[str, Tensor], labels: list[Tensor], smoothing: Tensor | None) -> Tensor:
    """The mean over labelled rows, weighted as a class says, task by task and member by member."""
    columns = []
    for kind, target in zip(KINDS, labels, strict=True):
        rows = ~target.isnan()
        if not bool(rows.any()):
            columns.append(torch.zeros(K, dtype=torch.float64))
            continue
        loss = kind.row_loss(given[kind.info.name][:, rows], target[rows], smoothing)
        weight = kind.row_weight(target[rows])
        columns.append(loss.mean(1) if weight is None else loss.sum(1) / weight.sum())
    return torch.stack(columns, dim=1)


@pytest.mark.parametrize("smoothing", [None, SMOOTHING])
@pytest.mark.parametrize(
    "missing", [{}, {"a": 0.5, "d": 0.3}, {"a": 0.5, "b": 0.2, "c": 0.9, "e": 0.4, "f": 1.0}]
)
def test_tasks_computed_at_once_have_the_losses_that_they_have_alone(
    missing: dict[str, float], smoothing: Tensor | None
) -> None:
    labels, given = targets(missing), outputs()
    losses = TaskLosses(KINDS, labels)
    found, labelled = losses(together(given), losses.targets, smoothing, None)
    expected = one_by_one(given, labels, smoothing)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    if missing:
        assert labelled is not None
        assert labelled.tolist() == [int((~target.isnan()).sum()) for target in labels]
    else:
        assert labelled is None
    wanted = list(given.values())
    slopes = torch.autograd.grad(found.sum(), wanted, allow_unused=True)
    others = torch.autograd.grad(expected.sum(), wanted, allow_unused=True)
    for slope, other, output in zip(slopes, others, wanted, strict=True):
        ours = torch.zeros_like(output) if slope is None else slope
        theirs = torch.zeros_like(output) if other is None else other
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)


def test_alike_tasks_are_one_call(monkeypatch: pytest.MonkeyPatch) -> None:
    labels, given = targets({}), outputs()
    losses = TaskLosses(KINDS, labels)
    shapes = []
    for kind in {type(kind) for kind in KINDS}:
        inner = kind.row_loss

        def watched(self, out, target, smoothing, inner=inner):  # type: ignore[no-untyped-def]
            shapes.append((type(self).__name__, out.shape[1]))
            return inner(self, out, target, smoothing)

        monkeypatch.setattr(kind, "row_loss", watched)
    losses(together(given), losses.targets, None, None)
    assert sorted(shapes) == [
        ("Binary", 2), ("Multiclass", 1), ("Multiclass", 1), ("Multiclass", 2), ("Regression", 1),
    ]  # fmt: skip


def test_mixup_mixes_the_losses_of_both_labels() -> None:
    labels, given = targets({}), outputs()
    losses = TaskLosses(KINDS, labels)
    share = torch.tensor([0.2, 0.5, 1.0], dtype=torch.float64).reshape(-1, 1, 1)
    other = torch.randperm(N_ROWS, generator=torch.Generator().manual_seed(2))
    found, _ = losses(together(given), losses.targets, None, Mixing(share, other))
    own = one_by_one(given, labels, None)
    swapped = one_by_one(given, [target[other] for target in labels], None)
    expected = share[:, :, 0] * own + (1 - share[:, :, 0]) * swapped
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
