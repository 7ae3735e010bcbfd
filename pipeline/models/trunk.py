"""The multi-layer perceptron that trunks and heads are made of."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from pipeline.models.layers import ACTIVATIONS, BatchNorm, LayerNorm, Linear, Noise, dropout


@dataclass(frozen=True)
class Rates:
    """Dropout of a training step: each member's chances, (K, 1, 1), and the shared noise.

    A chance is None where no member of the population drops there.
    """

    noise: Noise
    inputs: Tensor | None = None
    trunk: Tensor | None = None
    head: Tensor | None = None


class MLP(nn.Module):
    """Layers of: linear, normalisation, activation, dropout.

    Args:
        n_members: K.
        widths: Of the input and of each layer.
        activation: Key of `ACTIVATIONS`.
        norm: `none`, `layer` or `batch`.
        dtype: Of the parameters.
    """

    def __init__(
        self, n_members: int, widths: tuple[int, ...], activation: str, norm: str,
        dtype: torch.dtype,
    ) -> None:  # fmt: skip
        super().__init__()
        pairs = list(pairwise(widths))
        self.layers = nn.ModuleList(Linear(n_members, *pair, dtype) for pair in pairs)
        norms = {"layer": LayerNorm, "batch": BatchNorm}
        self.norms = nn.ModuleList(
            norms[norm](n_members, width, dtype) for _, width in pairs if norm != "none"
        )
        self.activation = ACTIVATIONS[activation]
        self.width = widths[-1]

    def forward(self, x: Tensor, chance: Tensor | None, noise: Noise | None, site: str) -> Tensor:
        """Maps (K, B, in) to (K, B, out)."""
        for index, layer in enumerate(self.layers):
            x = layer(x)
            if self.norms:
                x = self.norms[index](x)
            x = self.activation(x)
            if noise is not None:
                x = dropout(x, chance, noise, f"{site}.{index}")
        return x
