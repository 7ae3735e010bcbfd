"""Multi-gate mixture of experts (Ma et al., KDD 2018)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pipeline.models.experts import mixed
from pipeline.models.layers import Linear
from pipeline.models.sharing import SHARED, Sharing, by_task
from pipeline.models.trunk import MLP, Rates

if TYPE_CHECKING:
    from pipeline.models.architecture import Architecture


class MMoE(Sharing):
    """Experts that all tasks share, mixed for each task by a gate of its own.

    f_t(x) = sum_g softmax(W_t x + b_t)[g] h_g(x), where h_g is expert g, a network of
    `layers`, and W_t the gate of task t. The paper's gate has no b_t; with it a task can prefer
    an expert whatever the input. With one expert this is `shared_bottom`.

    Options: `experts`, the number of h_g.
    """

    def __init__(
        self, architecture: Architecture, n_members: int, n_features: int, dtype: torch.dtype
    ) -> None:
        super().__init__(architecture, n_members, n_features, dtype)
        self.n_branches = int(architecture.options["experts"])
        self._n_tasks = len(architecture.heads)
        self.experts = MLP(
            n_members, (n_features, *architecture.layers), architecture.activation,
            architecture.norm, dtype, self.n_branches,
        )  # fmt: skip
        self.gates = Linear(n_members, n_features, self.n_branches, dtype, self._n_tasks)
        self.width = self.experts.width

    def forward(self, features: Tensor, rates: Rates | None) -> list[Tensor]:
        """Maps (K, B, F) to each task's mixture."""
        chance, noise = (rates.trunk, rates.noise) if rates else (None, None)
        x = features.unsqueeze(1)
        experts = self.experts(x, chance, noise, "experts")  # (K, G, B, W)
        return list(mixed(self.gates(x).softmax(-1), experts).unbind(1))

    def owners(self, name: str) -> Tensor:
        """Returns the task of each gate; experts are shared."""
        return by_task(self._n_tasks) if name.startswith("gates.") else torch.tensor(SHARED)
