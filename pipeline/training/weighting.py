"""Loss weights: the lambda of each task and member."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from pipeline.study.spec import WeightsSpec
from pipeline.tasks.base import TaskInfo


class Weighting(Protocol):
    """How a population's losses are weighted, step by step."""

    def weigh(self, losses: Tensor) -> Tensor:
        """Returns (K, T) weights for the (K, T) losses of a step, without gradient."""

    def keep(self, index: Tensor) -> None:
        """Goes on with the members at `index` only."""

    def add(self, weights: Tensor) -> None:
        """Takes members on, with their (K, T) weights."""


class Fixed:
    """The same weights throughout: searched, given, or equal.

    Args:
        weights: (K, T).
    """

    def __init__(self, weights: Tensor) -> None:
        self.weights = weights

    def weigh(self, losses: Tensor) -> Tensor:
        """Returns the weights."""
        return self.weights

    def keep(self, index: Tensor) -> None:
        """Goes on with the members at `index` only."""
        self.weights = self.weights[index]

    def add(self, weights: Tensor) -> None:
        """Takes members on, with their (K, T) weights."""
        self.weights = torch.cat([self.weights, weights])


def task_weights(spec: WeightsSpec, tasks: Sequence[TaskInfo]) -> tuple[float, ...]:
    """Returns each task's weight, scaled to sum to the number of tasks.

    A task made by `per` carries the weight of the task that the file declares.

    Args:
        spec: The section, with one trial's values.
        tasks: The prepared tasks.
    """
    raw = [float(spec.values.get(task.declared, 1.0)) for task in tasks]
    total = sum(raw)
    return tuple(weight * len(raw) / total for weight in raw)


def alone_weights(n_tasks: int, task: int) -> tuple[float, ...]:
    """Returns weight 1 for one task and 0 for the rest: the member that learns it alone."""
    return tuple(float(index == task) for index in range(n_tasks))


def stack_weights(weights: Sequence[Sequence[float]], dtype: torch.dtype) -> Tensor:
    """Returns the members' weights as (K, T)."""
    return torch.tensor(list(map(list, weights)), dtype=dtype)
