"""What every way of sharing offers: the part of a network between its inputs and its heads."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from pipeline.models.architecture import Architecture
    from pipeline.models.trunk import Rates

SHARED = -1
"""Stands for the owner of what the losses of several tasks reach."""


class Sharing(nn.Module, ABC):
    """How tasks share, for K members; a sharing of one's own is a subclass.

    A parameter belongs to a task where no other task's loss reaches it. It rests, with its
    optimizer state, while the task has weight 0 or a batch has no labels of it.

    Args:
        architecture: Of the whole network; `heads` names the tasks, `options` has the keys of
            the section `model` that this sharing reads.
        n_members: K. Every parameter is (K, ...).
        n_features: F, the width of the encoded inputs.
        dtype: Of the parameters.
    """

    member_first = True
    """Told from a stock module, which has no such attribute."""

    width: int
    """What each head reads is this wide; set by the constructor."""

    n_branches = 1
    """How many networks of the trunk's width work side by side: decides how many rows are
    answered at once."""

    one_read = False
    """Whether all heads read the same tensor."""

    own_inputs = False
    """Whether each task has embedding tables of its own: `forward` then gets a task axis."""

    @abstractmethod
    def __init__(
        self, architecture: Architecture, n_members: int, n_features: int, dtype: torch.dtype
    ) -> None:
        super().__init__()

    @abstractmethod
    def forward(self, features: Tensor, rates: Rates | None) -> list[Tensor]:
        """Maps inputs to what the heads read.

        Args:
            features: (K, B, F); with `own_inputs` (K, T, B, F), or (K, 1, B, F) where no input
                is a category.
            rates: Dropout; None when answering.

        Returns:
            (K, B, width) for each task; a list of one where all read the same (`one_read`).
        """

    def owners(self, name: str) -> Tensor:
        """Returns to which task the entries of a parameter belong.

        Args:
            name: Of the parameter, as `named_parameters` of this module gives it.

        Returns:
            Task numbers, `SHARED` for what tasks share; it can be broadcast to the parameter's
            shape without the member axis.
        """
        return torch.tensor(SHARED)

    def input_owners(self) -> Tensor:
        """Returns the owners of the embedding tables, (d,) or (T * d,) with `own_inputs`."""
        return torch.tensor(SHARED)


def by_task(n_tasks: int, n_each: int = 1) -> Tensor:
    """Returns the owners of (T * n, in, out) parameters of which each task has n in a row."""
    return torch.arange(n_tasks).repeat_interleave(n_each).reshape(-1, 1, 1)
