"""The multi-layer perceptron that trunks and heads are made of."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from pipeline.models.layers import (
    ACTIVATIONS,
    BatchNorm,
    LayerNorm,
    Linear,
    Noise,
    dropout,
    relu_dropout,
)


@dataclass(frozen=True)
class Rates:
    """Dropout of a training step: each member's chances, (K, 1, 1), and the shared noise.

    A chance is None where no member of the population drops there.
    """

    noise: Noise
    inputs: Tensor | None = None
    trunk: Tensor | None = None
    head: Tensor | None = None

    def keep(self, index: Tensor) -> Rates:
        """Returns the chances of the members at `index`."""
        kept = (
            None if chance is None else chance[index]
            for chance in (self.inputs, self.trunk, self.head)
        )
        return Rates(self.noise, *kept)


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
            if noise is None or chance is None:
                x = self.activation(x)
            elif self.activation is ACTIVATIONS["relu"]:
                x = relu_dropout(x, chance, noise, f"{site}.{index}")
            else:
                x = dropout(self.activation(x), chance, noise, f"{site}.{index}")
        return x
