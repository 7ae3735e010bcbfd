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
        """Returns numbers from the stream that belongs to `site`, on the population's device.

        They lie in [0, 1 - 2**-23]: the next one would round to 2 when 1 is added in float32.
        """


class MemberLayer(nn.Module):
    """A layer that can draw the initial parameters of one member from that member's generator."""

    def initialise(self, member: int, generator: torch.Generator) -> None:
        """Draws the parameters of row `member`, independent of all other members."""
        raise NotImplementedError


class Linear(MemberLayer):
    """Affine map; `torch.nn.Linear` for members, with its default initialisation.

    Args:
        n_members: K.
        n_in: Width of what is read.
        n_out: Width of the result.
        dtype: Of the parameters.
        n_groups: G, maps that work side by side in each member, such as experts; weights are then
            (K, G, in, out). None for one map, with weights (K, in, out).
    """

    def __init__(
        self, n_members: int, n_in: int, n_out: int, dtype: torch.dtype,
        n_groups: int | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        lead = _lead(n_members, n_groups)
        self.weight = nn.Parameter(torch.empty(*lead, n_in, n_out, dtype=dtype))
        self.bias = nn.Parameter(torch.empty(*lead, 1, n_out, dtype=dtype))

    def initialise(self, member: int, generator: torch.Generator) -> None:
        """Draws from U(-1/sqrt(in), 1/sqrt(in)), as `torch.nn.Linear` does."""
        bound = 1 / math.sqrt(max(self.weight.shape[-2], 1))
        with torch.no_grad():
            self.weight[member].uniform_(-bound, bound, generator=generator)
            self.bias[member].uniform_(-bound, bound, generator=generator)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (K, B, in) to (K, B, out).

        With groups: (K, G, B, in), or (K, 1, B, in) where all read the same, to (K, G, B, out).
        """
        if self.weight.dim() == 3:
            return torch.baddbmm(self.bias, x, self.weight)
        groups = self.weight.shape[:2]
        each = x.expand(*groups, -1, -1).flatten(0, 1)
        flat = torch.baddbmm(self.bias.flatten(0, 1), each, self.weight.flatten(0, 1))
        return flat.view(*groups, *flat.shape[1:])


class Embedding(MemberLayer):
    """One table for all categorical columns, each with its own range of rows.

    Args:
        n_members: K.
        n_codes: Codes of each column.
        width: d, the width of a category's vector.
        dtype: Of the table.
        n_tables: Tables beside each other, one a task where tasks share none.
    """

    offsets: Tensor

    def __init__(
        self, n_members: int, n_codes: tuple[int, ...], width: int, dtype: torch.dtype,
        n_tables: int = 1,
    ) -> None:  # fmt: skip
        super().__init__()
        self.n_tables = n_tables
        shape = (n_members, sum(n_codes), n_tables * width)
        self.table = nn.Parameter(torch.empty(shape, dtype=dtype))
        starts = [sum(n_codes[:column]) for column in range(len(n_codes))]
        self.register_buffer("offsets", torch.tensor(starts, dtype=torch.int64), persistent=False)

    def initialise(self, member: int, generator: torch.Generator) -> None:
        """Draws from N(0, 1/width), so that a category weighs as much as one number.

        Codes 0 (unseen) and 1 (missing) start at zero: where train has none of them they are
        never trained, and say nothing rather than something random.
        """
        with torch.no_grad():
            std = 1 / math.sqrt(self.table.shape[2] // self.n_tables)
            self.table[member].normal_(0, std, generator=generator)
            self.table[member, torch.cat([self.offsets, self.offsets + 1])] = 0

    def forward(self, codes: Tensor) -> Tensor:
        """Maps (B, C) codes, or (K, B, C) where members differ, to (K, B, C * tables * d)."""
        rows = codes.to(torch.int64) + self.offsets
        if rows.dim() == 2:
            return self.table[:, rows].flatten(2)
        members = torch.arange(len(rows), device=rows.device).reshape(-1, 1, 1)
        return self.table[members, rows].flatten(2)


class LayerNorm(MemberLayer):
    """Normalises the features of each row; `torch.nn.LayerNorm` for members (and groups)."""

    def __init__(
        self, n_members: int, width: int, dtype: torch.dtype, n_groups: int | None = None
    ) -> None:
        super().__init__()
        shape = (*_lead(n_members, n_groups), 1, width)
        self.scale = nn.Parameter(torch.empty(shape, dtype=dtype))
        self.shift = nn.Parameter(torch.empty(shape, dtype=dtype))

    def initialise(self, member: int, generator: torch.Generator) -> None:
        """Starts as the identity."""
        with torch.no_grad():
            self.scale[member] = 1
            self.shift[member] = 0

    def forward(self, x: Tensor) -> Tensor:
        """Maps (K, B, F), or (K, G, B, F), to the same shape."""
        normal = nn.functional.layer_norm(x, x.shape[-1:])
        return torch.addcmul(self.shift, normal, self.scale)


class BatchNorm(LayerNorm):
    """Normalises each feature over the batch; `torch.nn.BatchNorm1d` for members.

    The running statistics are buffers (K, 1, F), or (K, G, 1, F): they move with the member like
    a parameter.
    """

    running_mean: Tensor
    running_var: Tensor
    momentum = 0.1  # the share of a new batch in the running statistics, as in torch.nn

    def __init__(
        self, n_members: int, width: int, dtype: torch.dtype, n_groups: int | None = None
    ) -> None:
        super().__init__(n_members, width, dtype, n_groups)
        self.register_buffer("running_mean", torch.zeros_like(self.scale.data))
        self.register_buffer("running_var", torch.ones_like(self.scale.data))

    def forward(self, x: Tensor) -> Tensor:
        """Maps (K, ..., B, F) to the same; a training batch of one row uses the running values."""
        x = x.to(self.running_mean.dtype)  # under autocast statistics stay exact
        n_rows = x.shape[-2]
        if self.training and n_rows > 1:
            mean = x.mean(-2, keepdim=True)
            var = x.var(-2, keepdim=True, correction=0)
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
        x: (K, B, F), or (1, B, F) where all members see the same values; (K, G, B, F) for groups,
            each of which has noise of its own.
        chance: (K, 1, 1) chances; None where no member drops.
        noise: The population's noise.
        site: Name of the place, so that each place has a stream of its own.
    """
    if chance is None:
        return x
    return x * keep_mask(noise.uniform(site, tuple(x.shape[1:])), chance)


FUSED_NUMBERS = 2**17
"""From this size on one pass less over memory is worth more than a function call in Python."""


def relu_dropout(x: Tensor, chance: Tensor, noise: Noise, site: str) -> Tensor:
    """Returns `dropout(relu(x), ...)`, bit by bit, in fewer passes over memory; see `dropout`."""
    uniform = noise.uniform(site, tuple(x.shape[1:]))
    if x.numel() < FUSED_NUMBERS:
        return x.relu() * keep_mask(uniform, chance)
    result: Tensor = _ReluDropout.apply(x, uniform, chance)  # type: ignore[no-untyped-call]
    return result


class _ReluDropout(torch.autograd.Function):
    """Rectifier and dropout at once: where the result is 0 so is the slope, elsewhere 1 / kept."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, uniform: Tensor, chance: Tensor) -> Tensor:
        scale = 1 / (1 - _like(chance, uniform))
        y = _kept(uniform, chance).mul_(x).relu_().mul_(scale)
        ctx.save_for_backward(y, scale)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        y, scale = ctx.saved_tensors
        return torch.ops.aten.threshold_backward(gradient, y, 0).mul_(scale), None, None


def _lead(n_members: int, n_groups: int | None) -> tuple[int, ...]:
    """Returns the first axes of a parameter."""
    return (n_members,) if n_groups is None else (n_members, n_groups)


def keep_mask(uniform: Tensor, chance: Tensor, out: Tensor | None = None) -> Tensor:
    """Returns what drops activations that it is multiplied by.

    Args:
        uniform: (B, F), or (G, B, F) for groups, shared by the members.
        chance: (K, 1, 1).
        out: Where the result goes.

    Returns:
        (K, B, F), or (K, G, B, F): 1 / (1 - chance) where kept, else 0.
    """
    kept = _kept(uniform, chance, out)
    return kept.mul_((1 - _like(chance, uniform)).reciprocal_())


def _kept(uniform: Tensor, chance: Tensor, out: Tensor | None = None) -> Tensor:
    """Returns 1 where u >= chance, else 0, as numbers: faster than a bool mask."""
    if out is None:
        out = uniform.new_empty(len(chance), *uniform.shape)
    return torch.ge(uniform, _like(chance, uniform), out=out)


def _like(chance: Tensor, uniform: Tensor) -> Tensor:
    """Returns each member's chance with as many axes as what it is applied to."""
    return chance.reshape(-1, *(1,) * uniform.dim())


ACTIVATIONS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "relu": nn.functional.relu,
    "gelu": nn.functional.gelu,
    "silu": nn.functional.silu,
    "tanh": torch.tanh,
    "leaky_relu": nn.functional.leaky_relu,
}
