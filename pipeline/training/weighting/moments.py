"""The Adam update of what a strategy learns for itself, task by task."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

BETAS = (0.9, 0.999)
EPSILON = 1e-8
NAMES = ("mean", "square", "steps")


def fresh_moments(weights: Tensor) -> dict[str, Tensor]:
    """Returns the moments of (K, T) values that have not moved."""
    return {name: torch.zeros_like(weights) for name in NAMES}


def move(
    values: Tensor, gradient: Tensor, moments: Mapping[str, Tensor], active: Tensor, lr: Tensor
) -> None:
    """Moves (K, T) values by one step of Adam (Kingma and Ba, 2015), in place.

    As `torch.optim.Adam` with its defaults moves each of them alone: a task that is not active
    keeps its value, its moments and its count of steps.

    Args:
        values: Moved in place where active.
        gradient: (K, T).
        moments: `mean`, `square` and `steps`, likewise.
        active: (K, T) bool.
        lr: (K, 1).
    """
    first, second = BETAS
    mean, square, steps = (moments[name] for name in NAMES)
    gradient = torch.where(active, gradient, 0)
    steps += active
    mean.copy_(torch.where(active, torch.lerp(mean, gradient, 1 - first), mean))
    square.copy_(torch.where(active, torch.lerp(square, gradient * gradient, 1 - second), square))
    count = steps.clamp_min(1)
    root = (square / (1 - second**count)).sqrt() + EPSILON
    values -= torch.where(active, lr * mean / (1 - first**count) / root, 0)
