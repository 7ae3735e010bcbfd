"""Experts and gates: networks side by side, and each task's own mixture of what they give."""

from __future__ import annotations

import torch
from torch import Tensor


def mixed(shares: Tensor, experts: Tensor) -> Tensor:
    """Mixes experts, row by row: out[k, t, b] = sum_g shares[k, t, b, g] experts[k, g, b].

    Args:
        shares: (K, T, B, G), summing to 1 over the experts where they are all that is mixed.
        experts: (K, G, B, W) that all tasks read, or (K, T, G, B, W) of each task's own.

    Returns:
        (K, T, B, W).
    """
    if experts.dim() == 4:
        return torch.einsum("ktbg,kgbw->ktbw", shares, experts)
    # A task has few experts of its own: too little work for as many products as rows.
    return (shares.movedim(-1, 2).unsqueeze(-1) * experts).sum(2)
