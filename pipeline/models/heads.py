"""What tasks own: a head each.

The outputs of all heads are one tensor (K, W, B), W the sum of their widths. The rows stand last
in memory because a loss runs over a few outputs of many rows: over long vectors that is several
times faster.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from pipeline.models.layers import Linear, MemberLayer, dropout
from pipeline.models.trunk import MLP, Rates

if TYPE_CHECKING:
    from pipeline.models.architecture import Architecture


class LinearHeads(MemberLayer):
    """Linear heads that read one tensor, as one product of their summed width.

    Column j of the parameters belongs to task `owners[j]`.

    Args:
        n_members: K.
        n_in: Width of what is read.
        widths: Outputs of each task.
        dtype: Of the parameters.
    """

    def __init__(
        self, n_members: int, n_in: int, widths: tuple[int, ...], dtype: torch.dtype
    ) -> None:
        super().__init__()
        self.widths = list(widths)
        self.owners = tuple(task for task, width in enumerate(widths) for _ in range(width))
        self.weight = nn.Parameter(torch.empty(n_members, n_in, sum(widths), dtype=dtype))
        self.bias = nn.Parameter(torch.empty(n_members, 1, sum(widths), dtype=dtype))

    def initialise(self, member: int, generator: torch.Generator) -> None:
        """Draws each head as `Linear` does, one after the other."""
        bound = 1 / math.sqrt(max(self.weight.shape[1], 1))
        low = 0
        with torch.no_grad():
            for width in self.widths:
                for part in (self.weight, self.bias):
                    own = part[member, :, low : low + width]
                    own.copy_(torch.empty_like(own).uniform_(-bound, bound, generator=generator))
                low += width

    def forward(self, reads: list[Tensor], rates: Rates | None) -> Tensor:
        """Maps (K, B, in) to the outputs of all tasks, (K, W, B)."""
        x = reads[0] if rates is None else dropout(reads[0], rates.head, rates.noise, "head")
        return torch.baddbmm(self.bias, x, self.weight).mT.contiguous()


class Head(nn.Module):
    """Hidden layers, if any, and a linear layer to one task's outputs."""

    def __init__(
        self, architecture: Architecture, n_members: int, n_in: int, n_out: int, dtype: torch.dtype
    ) -> None:
        super().__init__()
        widths = (n_in, *architecture.head_layers)
        self.hidden = MLP(n_members, widths, architecture.activation, architecture.norm, dtype)
        self.output = Linear(n_members, widths[-1], n_out, dtype)

    def forward(self, x: Tensor, rates: Rates | None, site: str) -> Tensor:
        """Maps (K, B, in) to (K, outputs, B)."""
        chance, noise = (rates.head, rates.noise) if rates else (None, None)
        if noise is not None:
            x = dropout(x, chance, noise, site)
        outputs: Tensor = self.output(self.hidden(x, chance, noise, site))
        return outputs.mT


class Heads(nn.ModuleList):
    """Heads of their own parameters, each with what it reads."""

    def forward(self, reads: list[Tensor], rates: Rates | None) -> Tensor:
        """Maps one (K, B, in) for all tasks, or one for each, to their outputs, (K, W, B)."""
        each = reads * len(self) if len(reads) == 1 else reads
        outputs = [
            head(x, rates, f"head.{index}")
            for index, (head, x) in enumerate(zip(self, each, strict=True))
        ]
        return torch.cat(outputs, dim=1)


def make_heads(
    architecture: Architecture, n_members: int, n_in: int, one_read: bool, dtype: torch.dtype
) -> LinearHeads | Heads:
    """Makes the heads of all tasks: one product where they are linear and read one tensor."""
    widths = tuple(architecture.heads.values())
    if one_read and not architecture.head_layers:
        return LinearHeads(n_members, n_in, widths, dtype)
    return Heads(Head(architecture, n_members, n_in, width, dtype) for width in widths)
