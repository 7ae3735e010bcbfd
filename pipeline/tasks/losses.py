"""Losses of classes, written with methods of tensors so that no kind imports torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def softplus(outputs: Tensor) -> Tensor:
    """Returns log(1 + exp(x)); exact for large |x|, and with the right slope at 0."""
    return outputs.logaddexp(outputs.new_zeros(()))


def cross_entropy(
    outputs: Tensor, codes: Tensor, smoothing: Tensor | None, weights: Sequence[float] | None
) -> Tensor:
    """Returns the cross-entropy of each row, as `torch.nn.functional.cross_entropy` defines it.

    With classes C, weights w and smoothing e the loss of a row with label y is
    (1 - e) w_y (-log p_y) + e / C * sum over c of w_c (-log p_c).

    The sum over classes runs over the second last axis of the transposed logits: heads lay their
    outputs out that way, and a softmax over a short last axis is four times slower.

    Args:
        outputs: (K, ..., B, C) logits.
        codes: (..., B) int64 labels.
        smoothing: Of each member, broadcast against the rows; None where no member smooths.
        weights: Weight of each class; None for 1.

    Returns:
        (K, ..., B); the sum over rows divided by the sum of w_y is torch's mean.
    """
    log_p = outputs.mT.log_softmax(dim=-2)  # (K, ..., C, B)
    if weights is not None:
        log_p = log_p * outputs.new_tensor(weights).unsqueeze(-1)
    index = codes.expand(outputs.shape[:-1]).unsqueeze(-2)  # (K, ..., 1, B)
    surprise = -log_p.gather(-2, index).squeeze(-2)  # (K, ..., B)
    if smoothing is None:
        return surprise
    return surprise - smoothing * (log_p.mean(dim=-2) + surprise)


def cross_entropy_slopes(
    outputs: Tensor, codes: Tensor, smoothing: Tensor | None, weights: Sequence[float] | None
) -> tuple[Tensor, Tensor]:
    """Returns what `cross_entropy` does, and its derivative by the outputs, (K, ..., B, C).

    The loss of a row is the sum over c of q_c (-log p_c), so that its slope by output c is
    p_c (sum of q) - q_c, with q_c = (1 - e) w_y [c = y] + (e / C) w_c.
    """
    log_p = outputs.mT.log_softmax(dim=-2)  # (K, ..., C, B)
    index = codes.expand(outputs.shape[:-1]).unsqueeze(-2)  # (K, ..., 1, B)
    if smoothing is None and weights is None:
        rows = -log_p.gather(-2, index).squeeze(-2)
        slopes = log_p.exp_()
        slopes.scatter_add_(-2, index, outputs.new_full((), -1.0).expand(index.shape))
        return rows, slopes.mT
    w = outputs.new_ones(outputs.shape[-1]) if weights is None else outputs.new_tensor(weights)
    e = outputs.new_zeros(1, 1) if smoothing is None else smoothing
    q = (e.unsqueeze(-2) * w.unsqueeze(-1) / len(w)).expand(log_p.shape).clone()
    at_label = ((1 - e) * w[codes]).expand(outputs.shape[:-1])
    q.scatter_add_(-2, index, at_label.unsqueeze(-2))
    rows = -(q * log_p).sum(-2)
    return rows, log_p.exp_().mul_(q.sum(-2, keepdim=True)).sub_(q).mT


def logistic(outputs: Tensor, for_positive: Tensor, for_negative: Tensor) -> Tensor:
    """Returns a * -log(sigmoid(x)) + b * -log(1 - sigmoid(x)) for the shares a and b of a row."""
    return (for_positive + for_negative) * softplus(outputs) - for_positive * outputs


def smoothed(target: Tensor, smoothing: Tensor | None) -> Tensor:
    """Moves targets y in [0, 1] to (1 - e) y + e / 2; None smooths nothing."""
    return target if smoothing is None else target * (1 - smoothing) + smoothing / 2
