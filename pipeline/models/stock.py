"""A trunk of the user's that is a plain torch module: one member after the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from pipeline.models.layers import MemberLayer, Noise
from pipeline.models.sharing import Sharing

if TYPE_CHECKING:
    from pipeline.models.architecture import Architecture
    from pipeline.models.trunk import Rates

_STATISTICS = "running_"


class Stock(Sharing, MemberLayer):
    """Runs a module of (B, F) to (B, width) for each member, with that member's parameters.

    An array of K members costs K runs, so `arrays_of` makes arrays of one. Whatever the module
    draws (its own `Dropout`) comes from torch's generator, seeded at each step from the common
    noise, so that a member sees the same luck in every array. Buffers named `running_...` belong
    to a member; others are constants, made alike in every process.
    """

    module: ClassVar[type[nn.Module]]
    """What to run; made as `module(n_features, **options)`."""

    one_read = True

    def __init__(
        self, architecture: Architecture, n_members: int, n_features: int, dtype: torch.dtype
    ) -> None:
        super().__init__(architecture, n_members, n_features, dtype)
        self._arguments = (n_features, dict(architecture.options), dtype)
        with seeded(0):
            self.trunk = self._fresh()
            self.width = _width(self.trunk, n_features, dtype)
        stacked: dict[int, nn.Parameter] = {}  # a parameter used twice stays one
        for part in self.trunk.modules():
            for held, name in _places(part):
                every = held[name].detach().expand(n_members, *held[name].shape).clone()
                if held is part._parameters:
                    held[name] = stacked.setdefault(id(held[name]), nn.Parameter(every))
                else:
                    held[name] = every

    def _fresh(self) -> nn.Module:
        n_features, options, dtype = self._arguments
        return self.module(n_features, **options).to(dtype)

    def initialise(self, member: int, generator: torch.Generator) -> None:
        """Makes the module anew from a seed of the member's own and copies what it drew."""
        seed = int(torch.randint(2**62, (), generator=generator))
        with seeded(seed), torch.no_grad():
            fresh = dict(_own_tensors(self._fresh()))
            for name, stacked in _own_tensors(self.trunk):
                stacked[member] = fresh[name]

    def forward(self, features: Tensor, rates: Rates | None) -> list[Tensor]:
        """Maps (K, B, F) to what each head reads: one tensor for all, as a list of one."""
        seed = 0 if rates is None else noise_seed(rates.noise, "stock")
        # A stock BatchNorm refuses a training batch of one row; ours takes its running values.
        self.trunk.train(self.training and features.shape[1] > 1)
        given = []
        for member, x in enumerate(features):
            own = [
                (held, name, held[name][member])
                for part in self.trunk.modules() for held, name in _places(part)
            ]  # fmt: skip
            with seeded(seed), standing_in(own):
                given.append(self.trunk(x))
        return [torch.stack(given)]


@cache
def as_sharing(found: type[nn.Module]) -> type[Sharing]:
    """Returns a sharing for what a study names: itself where it is one, else `Stock` of it."""
    if issubclass(found, Sharing):
        return found
    return type(f"Stock{found.__name__}", (Stock,), {"module": found})


def _places(part: nn.Module) -> Iterator[tuple[dict[str, Any], str]]:
    """Yields where a module, without those inside it, holds tensors that belong to a member."""
    tensors: dict[str, Any] = part._parameters
    yield from ((tensors, name) for name in list(tensors) if tensors[name] is not None)
    buffers: dict[str, Any] = part._buffers
    for name in list(buffers):
        if buffers[name] is not None and name.startswith(_STATISTICS):
            yield buffers, name


def _own_tensors(trunk: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from trunk.named_parameters()
    for name, buffer in trunk.named_buffers():
        if name.rpartition(".")[2].startswith(_STATISTICS):
            yield name, buffer


def _width(trunk: nn.Module, n_features: int, dtype: torch.dtype) -> int:
    """Asks two rows what the module gives."""
    trunk.eval()
    with torch.no_grad():
        read: Any = trunk(torch.zeros(2, n_features, dtype=dtype))
    trunk.train()
    if not isinstance(read, Tensor) or read.dim() != 2 or len(read) != 2:
        found = tuple(read.shape) if isinstance(read, Tensor) else type(read).__name__
        raise ValueError(f"it must map (2, {n_features}) to (2, width), but gave {found}")
    return int(read.shape[1])


def noise_seed(noise: Noise, site: str) -> int:
    """Draws a seed of torch's generator for a step, common to all members."""
    high, low = (noise.uniform(site, (2,)).double() * 2**24).long().tolist()
    return int(high * 2**24 + low)


@contextmanager
def standing_in(tensors: Sequence[tuple[dict[str, Any], str, Tensor]]) -> Iterator[None]:
    """Puts one member's tensors where a module holds others, for a moment.

    Not by `torch.func.functional_call`, which leaves a module that stands in two places with the
    tensors of the last call.

    Args:
        tensors: Where each stands (a module's own dictionary and its key), and what stands there.
    """
    before = [held[name] for held, name, _ in tensors]
    try:
        for held, name, tensor in tensors:
            held[name] = tensor
        yield
    finally:
        for (held, name, _), tensor in zip(tensors, before, strict=True):
            held[name] = tensor


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seeds torch's generator for a moment."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
