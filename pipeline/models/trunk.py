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
    text: Tensor | None = None

    def keep(self, index: Tensor) -> Rates:
        """Returns the chances of the members at `index`."""
        kept = (
            None if chance is None else chance[index]
            for chance in (self.inputs, self.trunk, self.head, self.text)
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
        n_groups: G, networks that work side by side in each member; None for one.
    """

    def __init__(
        self, n_members: int, widths: tuple[int, ...], activation: str, norm: str,
        dtype: torch.dtype, n_groups: int | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        pairs = list(pairwise(widths))
        self.layers = nn.ModuleList(Linear(n_members, *pair, dtype, n_groups) for pair in pairs)
        norms = {"layer": LayerNorm, "batch": BatchNorm}
        self.norms = nn.ModuleList(
            norms[norm](n_members, width, dtype, n_groups) for _, width in pairs if norm != "none"
        )
        self.activation = ACTIVATIONS[activation]
        self.width = widths[-1]

    def forward(self, x: Tensor, chance: Tensor | None, noise: Noise | None, site: str) -> Tensor:
        """Maps (K, B, in) to (K, B, out), or with groups (K, G or 1, B, in) to (K, G, B, out)."""
        for index in range(len(self.layers)):
            x = self.layer(index, x, chance, noise, site)
        return x

    def layer(
        self, index: int, x: Tensor, chance: Tensor | None, noise: Noise | None, site: str
    ) -> Tensor:
        """Goes through one layer; see `forward`."""
        x = self.layers[index](x)
        if self.norms:
            x = self.norms[index](x)
        if noise is None or chance is None:
            return self.activation(x)
        if self.activation is ACTIVATIONS["relu"]:
            return relu_dropout(x, chance, noise, f"{site}.{index}")
        return dropout(self.activation(x), chance, noise, f"{site}.{index}")
