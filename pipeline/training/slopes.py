"""The derivatives of losses, written out for the kinds there are; others are left to autograd."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from pipeline.tasks.base import Kind
from pipeline.tasks.losses import cross_entropy_slopes
from pipeline.tasks.multiclass import Multiclass

Slopes = tuple[Tensor, Tensor]
"""The (K, ..., B) loss of each row, and its derivative by the outputs, (K, ..., B, width)."""


def row_slopes(kind: Kind, outputs: Tensor, target: Tensor, smoothing: Tensor | None) -> Slopes:
    """Returns what `kind.row_loss` does, with its slopes.

    Args:
        kind: Of the task, or of one of those that are computed at once.
        outputs: See `Kind.row_loss`, which has the other arguments too; without a graph.
        target: Likewise.
        smoothing: Likewise.
    """
    # Found by the function that computes the loss, not by the kind: a kind of the user's own that
    # inherits from one of these and changes the loss has a slope of its own.
    known = KNOWN.get(type(kind).row_loss)
    if known is not None:
        return known(kind, outputs, target, smoothing)
    with torch.enable_grad():
        leaf = outputs.detach().requires_grad_()
        rows = kind.row_loss(leaf, target, smoothing)
        (slopes,) = torch.autograd.grad(rows.sum(), leaf)
    return rows.detach(), slopes


def _multiclass(
    kind: Multiclass, outputs: Tensor, target: Tensor, smoothing: Tensor | None
) -> Slopes:
    codes = target.nan_to_num().long()
    return cross_entropy_slopes(outputs, codes, smoothing, kind.info.options["class_weights"])


KNOWN: Mapping[Callable[..., Tensor], Callable[[Any, Tensor, Tensor, Tensor | None], Slopes]] = {
    Multiclass.row_loss: _multiclass,
}
"""From the function that computes a kind's loss to the one that computes its slopes too."""
