"""From the losses of a step to the gradient of all parameters, by the members' strategy."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from pipeline.training.gradients import gramian_of, task_gradients
from pipeline.training.state import FlatState
from pipeline.training.weighting.base import Step, Weighting


class WeightSums:
    """The weights of an epoch's steps, summed where a task was active.

    Args:
        like: (K, T).
    """

    def __init__(self, like: Tensor) -> None:
        self._total = torch.zeros_like(like)
        self._count = torch.zeros_like(like)

    def add(self, weights: Tensor, active: Tensor) -> None:
        """Adds the (K, T) weights of a step."""
        self._total += weights
        self._count += active

    def mean(self) -> Tensor:
        """Returns (K, T); NaN where a task was never active."""
        return self._total / self._count  # 0 / 0 is NaN


def weighted_gradient(state: FlatState, weights: Tensor, losses: Tensor) -> Tensor:
    """Returns the (K, P) gradient of the weighted sum of (K, T) losses, by one backward pass."""
    # A sum, not a gradient given to `backward`: that would import sympy, for half a second.
    total = (weights * losses).sum()
    total.backward()  # type: ignore[no-untyped-call]
    return state.collect_gradient()


def balanced_gradient(
    state: FlatState, weighting: Weighting, losses: Tensor, step: Step
) -> tuple[Tensor, Tensor]:
    """Weighs the gradients of the tasks with respect to what they share.

    What one task owns follows the gradient of that task alone, as in all gradient balancing: a
    head has nothing to balance.

    Args:
        state: The members' parameters.
        weighting: Asked with the Gramian.
        losses: (K, T), with their graph.
        step: Without the Gramian.

    Returns:
        The (K, T) weights and the (K, P) gradient.
    """
    sound = torch.where(step.active, losses, 0)
    gradients = task_gradients(sound, state.tensors)  # (K, T, P)
    shared = state.shared
    gramian = gramian_of(gradients[:, :, shared])
    weights = weighting.weigh(replace(step, gramian=gramian))
    own = gradients.sum(1)
    mixed = torch.bmm(weights.unsqueeze(1), gradients).squeeze(1)
    torch.where(shared, mixed, own, out=state.gradient)
    return weights, state.gradient
