"""What every strategy of loss weighting is, and what they are made of.

A strategy turns the losses of a step, (K, T), into their weights, (K, T). Where its paper gives a
scalarisation S of a member's losses L, the weights are w_i = dS / dL_i: the gradient of
sum_i w_i L_i, with w held, is that of S, and one backward pass serves all members. What a strategy
learns for itself it updates by the closed form of its gradient, without autograd.

All strategies keep four promises (tests/training/test_training_weighting.py):

- A member's weights depend on its own row alone: an array of any size gives the same, and a
  member whose losses are not finite disturbs no other.
- A task that is not active in a step, because the member gives it weight 0 or because the batch
  has no label of it, gets weight 0, moves nothing, and is not counted: n is the number of active
  tasks. Of the static weights only `fixed` reads more than that.
- Weights are 1 where tasks are alike (at the start, for equal losses, or, where a strategy undoes
  the scale of losses, for losses of 1), as those of `equal` are: learning rate, clipping and
  penalties mean the same under every strategy. Where a paper's weights sum to 1 they sum to n here.
- What is remembered stands in `state`, one row a member, and `save` and `restore` are exact.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.study.spec import WeightsSpec
from pipeline.training.streams import Streams

FLOOR = 1e-8
"""The least that a loss counts where it stands under a fraction or a logarithm."""


@dataclass(frozen=True)
class Step:
    """What a strategy sees of a step.

    Attributes:
        losses: (K, T), without gradient; those of tasks that are not active mean nothing.
        active: (K, T) bool: the member trains the task, and the batch has labels of it.
        lr: (K, 1) learning rates of this step.
        gramian: (K, T, T) inner products of the tasks' gradients with respect to what they
            share; for strategies that ask for it.
    """

    losses: Tensor
    active: Tensor
    lr: Tensor
    gramian: Tensor | None = None


class Weighting(ABC):
    """One strategy, for all members of a population.

    Args:
        specs: The section `weights` of each member.
        weights: (K, T) static weights; above 0 where a member trains a task.
        streams: Shared randomness: the same for every member, whatever the population.
    """

    moves = True
    """Whether weights change from step to step: else `weights` are those of all steps."""

    reads_gramian = False
    """Whether a step needs the gradient of each task."""

    looks_again = False
    """Whether `look` wants the losses of the same batch after the step."""

    def __init__(self, specs: Sequence[WeightsSpec], weights: Tensor, streams: Streams) -> None:
        self.specs = list(specs)
        self.weights = weights
        self.streams = streams
        self.state = self.fresh(weights)
        self._columns: dict[str, Tensor] = {}

    def fresh(self, weights: Tensor) -> dict[str, Tensor]:
        """Returns the state of members that have not trained, by name; each (K, ...)."""
        return {}

    @abstractmethod
    def weigh(self, step: Step) -> Tensor:
        """Returns (K, T) weights of a step's losses, 0 where a task is not active.

        Also moves what the strategy learns from these losses.
        """

    # Most strategies have nothing to do in these two.

    def look(self, step: Step) -> None:  # noqa: B027
        """Sees the losses of the batch that was weighed last, after the parameters moved."""

    def end_epoch(self, losses: Tensor) -> None:  # noqa: B027
        """Sees the (K, T) mean train losses of an epoch; NaN where a task had no labels."""

    def keep(self, index: Tensor) -> None:
        """Goes on with the members at `index` only."""
        self._columns.clear()
        self.specs = [self.specs[int(position)] for position in index]
        self.weights = self.weights[index]
        self.state = {name: values[index] for name, values in self.state.items()}

    def add(self, specs: Sequence[WeightsSpec], weights: Tensor) -> None:
        """Takes members on that have not trained, with their (K, T) static weights."""
        self._columns.clear()
        self.specs += specs
        self.weights = torch.cat([self.weights, weights])
        fresh = self.fresh(weights)
        self.state = {name: torch.cat([self.state[name], fresh[name]]) for name in self.state}

    def save(self) -> dict[str, Tensor]:
        """Returns a copy of what is remembered."""
        return {name: values.clone() for name, values in self.state.items()}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Goes on from what `save` gave for the present members."""
        self.state = {name: state[name].clone() for name in self.state}

    def option(self, name: str, default: float) -> Tensor:
        """Returns each member's (K, 1) value of a key of `weights`; the default for null."""
        if name not in self._columns:
            given = [getattr(spec, name) for spec in self.specs]
            values = [default if value is None else float(value) for value in given]
            self._columns[name] = self.weights.new_tensor(values).unsqueeze(1)
        return self._columns[name]


def shares(scores: Tensor, active: Tensor) -> Tensor:
    """Returns the softmax of (K, T) scores over the active tasks, 0 elsewhere; a row sums to 1."""
    found = torch.softmax(scores.masked_fill(~active, -float("inf")), dim=1)
    return torch.where(active, found, 0)  # also where no task is active


def n_active(active: Tensor) -> Tensor:
    """Returns the (K, 1) number of active tasks."""
    return active.sum(1, keepdim=True)


def inverse(losses: Tensor, active: Tensor) -> Tensor:
    """Returns 1 / L of the active tasks, 0 elsewhere."""
    return torch.where(active, losses.clamp_min(FLOOR).reciprocal(), 0)
