"""Cross-stitch networks: a trunk a task, whose activations are mixed after every layer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from pipeline.models.layers import MemberLayer
from pipeline.models.sharing import SHARED, Sharing
from pipeline.models.trunk import MLP, Rates

if TYPE_CHECKING:
    from pipeline.models.architecture import Architecture


class Unit(MemberLayer):
    """A cross-stitch unit: task t reads sum_s alpha[t, s] x_s, with alpha learned.

    Args:
        n_members: K.
        n_tasks: T.
        own: alpha[t, t] at the start; the other tasks share the rest to 1 equally.
        dtype: Of the parameters.
    """

    def __init__(self, n_members: int, n_tasks: int, own: float, dtype: torch.dtype) -> None:
        super().__init__()
        self._own = own
        self.alpha = nn.Parameter(torch.empty(n_members, n_tasks, n_tasks, dtype=dtype))

    def initialise(self, member: int, generator: torch.Generator) -> None:
        """Starts where the option `stitch` says; nothing is drawn."""
        n_tasks = self.alpha.shape[1]
        with torch.no_grad():
            self.alpha[member] = (1 - self._own) / max(n_tasks - 1, 1)
            self.alpha[member].fill_diagonal_(self._own if n_tasks > 1 else 1.0)

    def forward(self, x: Tensor) -> Tensor:
        """Mixes (K, T, B, F) over the tasks."""
        return torch.bmm(self.alpha, x.flatten(2)).view_as(x)


class CrossStitch(Sharing):
    """Networks of their own, mixed linearly after each layer (Misra et al., CVPR 2016).

    x_t <- sum_s alpha[t, s] x_s for each task t, where x_s is what the layer of task s gave and
    alpha one T x T matrix a layer. The paper has a matrix for each channel of a convolution; a
    layer here is one channel. Units start at `stitch` for a task's own activation, near the
    convex combination that the paper found best (0.9 and 0.1), and are not held to sum to 1.

    Embedding tables are each task's own too: with units at the identity this is `separate`.
    Through the units every loss reaches every network, so a task owns only what it reads last:
    its row of the last unit, and its head.
    """

    own_inputs = True

    def __init__(
        self, architecture: Architecture, n_members: int, n_features: int, dtype: torch.dtype
    ) -> None:
        super().__init__(architecture, n_members, n_features, dtype)
        self.n_branches = len(architecture.heads)
        self.networks = MLP(
            n_members, (n_features, *architecture.layers), architecture.activation,
            architecture.norm, dtype, self.n_branches,
        )  # fmt: skip
        self.units = nn.ModuleList(
            Unit(n_members, self.n_branches, float(architecture.options["stitch"]), dtype)
            for _ in architecture.layers
        )
        self.width = self.networks.width

    def forward(self, features: Tensor, rates: Rates | None) -> list[Tensor]:
        """Maps each task's (K, T, B, F) to what its head reads."""
        chance, noise = (rates.trunk, rates.noise) if rates else (None, None)
        x = features
        for index, unit in enumerate(self.units):
            x = unit(self.networks.layer(index, x, chance, noise, "trunk"))
        return list(x.unbind(1))

    def owners(self, name: str) -> Tensor:
        """Returns the task of each row of the last unit; all else is shared."""
        if name.startswith(f"units.{len(self.units) - 1}."):
            return torch.arange(self.n_branches).unsqueeze(1)
        return torch.tensor(SHARED)
