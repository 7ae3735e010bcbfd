"""Layers for K members at once: weights (K, in, out), one batched product for all.

Each layer has a twin in `torch.nn` whose values it reproduces member by member (tested).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


class Noise(Protocol):
    """Where dropout gets its uniform numbers from: shared by all members of a population."""

    def uniform(self, site: str, shape: tuple[int, ...]) -> Tensor:
        """Returns numbers in [0, 1) from the stream that belongs to `site`."""


class MemberLayer(nn.Module):
    """A layer that can draw the initial parameters of one member from that member's generator."""

    def initialise(self, member: int, generator: torch.Generator) -> None:
        """Draws the parameters of row `member`, independent of all other members."""
        raise NotImplementedError


class Linear(MemberLayer):
    """Affine map; `torch.nn.Linear` for members, with its default initialisation."""

    def __init__(self, n_members: int, n_in: int, n_out: int, dtype: torch.dtype) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(n_members, n_in, n_out, dtype=dtype))
        self.bias = nn.Parameter(torch.empty(n_members, 1, n_out, dtype=dtype))

    def initialise(self, member: int, generator: torch.Generator) -> None:
        """Draws from U(-1/sqrt(in), 1/sqrt(in)), as `torch.nn.Linear` does."""
        bound = 1 / math.sqrt(max(self.weight.shape[1], 1))
        with torch.no_grad():
            self.weight[member].uniform_(-bound, bound, generator=generator)
            self.bias[member].uniform_(-bound, bound, generator=generator)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (K, B, in) to (K, B, out)."""
        return torch.baddbmm(self.bias, x, self.weight)


class Embedding(MemberLayer):
    """One table for all categorical columns, each with its own range of rows.

    Args:
        n_members: K.
        n_codes: Codes of each column.
        width: d, the width of a category's vector.
        dtype: Of the table.
    """

    offsets: Tensor

    def __init__(
        self, n_members: int, n_codes: tuple[int, ...], width: int, dtype: torch.dtype
    ) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.empty(n_members, sum(n_codes), width, dtype=dtype))
        starts = [sum(n_codes[:column]) for column in range(len(n_codes))]
        self.register_buffer("offsets", torch.tensor(starts, dtype=torch.int64), persistent=False)

    def initialise(self, member: int, generator: torch.Generator) -> None:
        """Draws from N(0, 1/width), so that a category weighs as much as one number.

        Codes 0 (unseen) and 1 (missing) start at zero: where train has none of them they are
        never trained, and say nothing rather than something random.
        """
        with torch.no_grad():
            std = 1 / math.sqrt(self.table.shape[2])
            self.table[member].normal_(0, std, generator=generator)
            self.table[member, torch.cat([self.offsets, self.offsets + 1])] = 0

    def forward(self, codes: Tensor) -> Tensor:
        """Maps (B, C) codes, or (K, B, C) where members differ, to (K, B, C * d)."""
        rows = codes.to(torch.int64) + self.offsets
        if rows.dim() == 2:
            return self.table[:, rows].flatten(2)
        members = torch.arange(len(rows)).reshape(-1, 1, 1)
        return self.table[members, rows].flatten(2)


class LayerNorm(MemberLayer):
    """Normalises the features of each row; `torch.nn.LayerNorm` for members."""

    def __init__(self, n_members: int, width: int, dtype: torch.dtype) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.empty(n_members, 1, width, dtype=dtype))
        self.shift = nn.Parameter(torch.empty(n_members, 1, width, dtype=dtype))

    def initialise(self, member: int, generator: torch.Generator) -> None:
        """Starts as the identity."""
        with torch.no_grad():
            self.scale[member] = 1
            self.shift[member] = 0

    def forward(self, x: Tensor) -> Tensor:
        """Maps (K, B, F) to (K, B, F)."""
        normal = nn.functional.layer_norm(x, x.shape[-1:])
        return torch.addcmul(self.shift, normal, self.scale)


class BatchNorm(LayerNorm):
    """Normalises each feature over the batch; `torch.nn.BatchNorm1d` for members.

    The running statistics are buffers (K, 1, F): they move with the member like a parameter.
    """

    running_mean: Tensor
    running_var: Tensor
    momentum = 0.1  # the share of a new batch in the running statistics, as in torch.nn

    def __init__(self, n_members: int, width: int, dtype: torch.dtype) -> None:
        super().__init__(n_members, width, dtype)
        self.register_buffer("running_mean", torch.zeros(n_members, 1, width, dtype=dtype))
        self.register_buffer("running_var", torch.ones(n_members, 1, width, dtype=dtype))

    def forward(self, x: Tensor) -> Tensor:
        """Maps (K, B, F) to (K, B, F); a training batch of one row uses the running values."""
        n_rows = x.shape[1]
        if self.training and n_rows > 1:
            mean = x.mean(1, keepdim=True)
            var = x.var(1, keepdim=True, correction=0)
            with torch.no_grad():
                unbiased = var * (n_rows / (n_rows - 1))
                self.running_mean.lerp_(mean, self.momentum)
                self.running_var.lerp_(unbiased, self.momentum)
        else:
            mean, var = self.running_mean, self.running_var
        return torch.addcmul(self.shift, (x - mean) * (var + 1e-5).rsqrt(), self.scale)


def dropout(x: Tensor, chance: Tensor | None, noise: Noise, site: str) -> Tensor:
    """Drops activations, each member with its own chance, by noise that members share.

    Member k keeps an activation where u < 1 - chance[k] and scales it by 1 / (1 - chance[k]).
    Each member's own law is that of `torch.nn.Dropout`; sharing u costs 1/K of drawing for each,
    compares members under the same luck, and makes a member independent of its population.

    Args:
        x: (K, B, F), or (1, B, F) where all members see the same values.
        chance: (K, 1, 1) chances; None where no member drops.
        noise: The population's noise.
        site: Name of the place, so that each place has a stream of its own.
    """
    if chance is None:
        return x
    return x * _scaled_mask(_uniform(x, noise, site), 1 - chance)


FUSED_NUMBERS = 2**17
"""From this size on one pass less over memory is worth more than a function call in Python."""


def relu_dropout(x: Tensor, chance: Tensor, noise: Noise, site: str) -> Tensor:
    """Returns `dropout(relu(x), ...)`, bit by bit, in fewer passes over memory; see `dropout`."""
    uniform, kept = _uniform(x, noise, site), 1 - chance
    if x.numel() < FUSED_NUMBERS:
        return x.relu() * _scaled_mask(uniform, kept)
    result: Tensor = _ReluDropout.apply(x, uniform, kept)  # type: ignore[no-untyped-call]
    return result


class _ReluDropout(torch.autograd.Function):
    """Rectifier and dropout at once: where the result is 0 so is the slope, elsewhere 1 / kept."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, uniform: Tensor, kept: Tensor) -> Tensor:
        scale = kept.reciprocal()
        y = _mask(uniform, kept).mul_(x).relu_().mul_(scale)
        ctx.save_for_backward(y, scale)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        y, scale = ctx.saved_tensors
        return torch.ops.aten.threshold_backward(gradient, y, 0).mul_(scale), None, None


def _uniform(x: Tensor, noise: Noise, site: str) -> Tensor:
    """Returns (B, F) numbers that stay below 2 when a chance to be kept, at most 1, is added."""
    uniform = noise.uniform(site, tuple(x.shape[1:])).to(x.device, x.dtype)
    return uniform.clamp_max(1 - 2**-23)


def _mask(uniform: Tensor, kept: Tensor) -> Tensor:
    """Returns (K, B, F): 1 where u >= 1 - kept, else 0; arithmetic is faster than a bool mask."""
    return torch.add(uniform, kept).floor_()


def _scaled_mask(uniform: Tensor, kept: Tensor) -> Tensor:
    """Returns (K, B, F): 1 / kept where the mask is 1, else 0."""
    return _mask(uniform, kept).mul_(kept.reciprocal())


ACTIVATIONS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "relu": nn.functional.relu,
    "gelu": nn.functional.gelu,
    "silu": nn.functional.silu,
    "tanh": torch.tanh,
    "leaky_relu": nn.functional.leaky_relu,
}
