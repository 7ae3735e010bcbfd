"""Two pieces of the decoder in fewer passes over memory than the operations they are made of.

Both are sums that autograd would take apart: what it keeps and adds up is many times what is read.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def total_and_chosen(
    x: Tensor, weight: Tensor, bias: Tensor, word: Tensor
) -> tuple[Tensor, Tensor]:
    """Returns the logarithm of the sum of exp(logits), and one logit, for each of P places.

    Args:
        x: (K, P, H), of which the logits are x @ weight + bias.
        weight: (K, H, V).
        bias: (K, 1, V).
        word: (P,) whose logit is wanted.

    Returns:
        Both (K, P).
    """
    found: tuple[Tensor, Tensor] = _TotalAndChosen.apply(x, weight, bias, word)  # type: ignore[no-untyped-call]
    return found


class _TotalAndChosen(torch.autograd.Function):
    """Keeps exp(logits - largest) alone; the slope of the total is that, divided by its sum."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, word: Tensor
    ) -> tuple[Tensor, Tensor]:
        logits = torch.baddbmm(bias, x, weight)  # (K, P, V)
        at = word.expand(len(x), -1).unsqueeze(2)
        chosen = logits.gather(2, at).squeeze(2)
        largest = logits.amax(2, keepdim=True)
        shares = logits.sub_(largest).exp_()
        total = shares.sum(2, keepdim=True)
        ctx.save_for_backward(x, weight, shares, total, at)
        return (largest + total.log()).squeeze(2), chosen

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, of_total: Tensor, of_chosen: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, None]:
        x, weight, shares, total, at = ctx.saved_tensors
        slope = shares * (of_total.unsqueeze(2) / total)
        slope.scatter_add_(2, at, of_chosen.unsqueeze(2))
        return slope @ weight.mT, x.mT @ slope, slope.sum(1, keepdim=True), None


def near_sums(x: Tensor, weight: Tensor, bias: Tensor, reach: int) -> Tensor:
    """Maps each place with its neighbours: a convolution over places, for members.

    Args:
        x: (K, R, S, H); beyond the ends of a row everything is 0.
        weight: (K, (2 * reach + 1) * H, O), of the neighbour `reach` places before first.
        bias: (K, 1, O).
        reach: Neighbours to either side.

    Returns:
        (K, R, S, O).
    """
    n_places = x.shape[2]
    padded = torch.nn.functional.pad(x, (0, 0, reach, reach))  # a row ends where zeros begin
    flat = padded.flatten(1, 2)
    found: Tensor = _NearSums.apply(flat, weight, bias, 2 * reach + 1)  # type: ignore[no-untyped-call]
    whole = torch.nn.functional.pad(found, (0, 0, 0, 2 * reach))
    return whole.reshape(*padded.shape[:3], -1)[:, :, :n_places]


class _NearSums(torch.autograd.Function):
    """One product a neighbour, each over a view that begins one place later."""

    @staticmethod
    def forward(ctx: Any, flat: Tensor, weight: Tensor, bias: Tensor, n_near: int) -> Tensor:
        n_sums = flat.shape[1] - n_near + 1
        parts = weight.reshape(len(weight), n_near, flat.shape[2], -1)
        sums = torch.baddbmm(bias, flat[:, :n_sums], parts[:, 0])
        for i in range(1, n_near):
            sums.baddbmm_(flat[:, i : i + n_sums], parts[:, i])
        ctx.save_for_backward(flat, weight)
        ctx.n_near = n_near
        return sums

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        flat, weight = ctx.saved_tensors
        n_near, n_sums = ctx.n_near, slope.shape[1]
        parts = weight.reshape(len(weight), n_near, flat.shape[2], -1)
        of_flat, of_weight = torch.zeros_like(flat), torch.empty_like(parts)
        for i in range(n_near):
            of_flat[:, i : i + n_sums].baddbmm_(slope, parts[:, i].mT)
            torch.bmm(flat[:, i : i + n_sums].mT, slope, out=of_weight[:, i])
        return of_flat, of_weight.flatten(1, 2), slope.sum(1, keepdim=True), None
