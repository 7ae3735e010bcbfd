"""Nothing shared: a trunk of the same width for each task, trained side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pipeline.models.sharing import Sharing, by_task
from pipeline.models.trunk import MLP, Rates

if TYPE_CHECKING:
    from pipeline.models.architecture import Architecture


class Separate(Sharing):
    """One trunk a task, embedding tables included: no task's loss reaches another's parameters.

    What the tasks still have in common is the trial's settings and when training stops.
    """

    own_inputs = True

    def __init__(
        self, architecture: Architecture, n_members: int, n_features: int, dtype: torch.dtype
    ) -> None:
        super().__init__(architecture, n_members, n_features, dtype)
        self.n_branches = len(architecture.heads)
        self._embedding = architecture.embedding
        self.networks = MLP(
            n_members, (n_features, *architecture.layers), architecture.activation,
            architecture.norm, dtype, self.n_branches,
        )  # fmt: skip
        self.width = self.networks.width

    def forward(self, features: Tensor, rates: Rates | None) -> list[Tensor]:
        """Maps each task's (K, T, B, F) to what its head reads."""
        chance, noise = (rates.trunk, rates.noise) if rates else (None, None)
        read = self.networks(features, chance, noise, "trunk")
        return list(read.expand(-1, self.n_branches, -1, -1).unbind(1))

    def owners(self, name: str) -> Tensor:
        """Returns the task of each network."""
        return by_task(self.n_branches)

    def input_owners(self) -> Tensor:
        """Returns the task of each embedding table."""
        return torch.arange(self.n_branches).repeat_interleave(self._embedding)
