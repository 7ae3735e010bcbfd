"""Hard parameter sharing: one trunk for all tasks (Caruana, 1997)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pipeline.models.sharing import Sharing
from pipeline.models.trunk import MLP, Rates

if TYPE_CHECKING:
    from pipeline.models.architecture import Architecture


class SharedBottom(Sharing):
    """One trunk whose output every head reads."""

    one_read = True

    def __init__(
        self, architecture: Architecture, n_members: int, n_features: int, dtype: torch.dtype
    ) -> None:
        super().__init__(architecture, n_members, n_features, dtype)
        widths = (n_features, *architecture.layers)
        self.trunk = MLP(n_members, widths, architecture.activation, architecture.norm, dtype)
        self.width = self.trunk.width

    def forward(self, features: Tensor, rates: Rates | None) -> list[Tensor]:
        """Maps (K, B, F) to what each head reads: here one tensor for all, as a list of one."""
        chance, noise = (rates.trunk, rates.noise) if rates else (None, None)
        return [self.trunk(features, chance, noise, "trunk")]
