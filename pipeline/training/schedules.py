"""Courses of the learning rate: progress through training in, factor out."""

import math

import torch
from torch import Tensor


def constant(progress: Tensor) -> Tensor:
    """Returns 1 throughout."""
    return torch.ones_like(progress)


def cosine(progress: Tensor) -> Tensor:
    """Returns half a cosine from 1 to 0 (Loshchilov and Hutter, 2017, without restarts).

    Args:
        progress: (K, 1) share of the steps after warm-up that are done, in [0, 1].
    """
    return (1 + torch.cos(math.pi * progress)) / 2


def progress_after_warmup(
    step: Tensor | int, n_steps: int, warmup: Tensor
) -> tuple[Tensor, Tensor]:
    """Splits step numbers into warm-up factor and progress after it.

    Args:
        step: From 0; one number, or (..., K, 1) numbers.
        n_steps: Of the whole training.
        warmup: (K, 1) steps of linear warm-up of each member.

    Returns:
        The factor that rises linearly to 1 over the warm-up, and the progress, (..., K, 1) each.
    """
    rising = ((step + 1) / warmup.clamp_min(1)).clamp_max(1)
    progress = ((step - warmup) / (n_steps - warmup).clamp_min(1)).clamp(0, 1)
    return rising, progress
