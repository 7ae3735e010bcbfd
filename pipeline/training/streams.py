"""Random streams of a population: named, restarted each epoch, shared by all members."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

from pipeline.study.seeds import derive_seed
from pipeline.training.devices import CPU

BLOCK_NUMBERS = 2**18
BLOCK_DRAWS = 64
"""Most numbers, and most draws, of a block: one call, and one copy to a GPU, for many steps."""

HIGHEST = 1 - 2**-23
"""Largest uniform number: added to a chance to be kept, at most 1, it stays below 2 in float32."""


@dataclass(frozen=True)
class Position:
    """How far each stream is.

    Attributes:
        states: Of the generators.
        blocks: Draws at hand, and how many of them are used.
    """

    states: Mapping[str, Tensor]
    blocks: Mapping[tuple[str, tuple[int, ...]], tuple[Tensor, int]]


class Streams:
    """Batch order, dropout and augmentation noise.

    Each place that needs noise has a stream of its own, so that skipping one (no member drops
    there) shifts no other; each epoch restarts them, so that an epoch can be trained without the
    ones before. Nothing depends on how many members there are. Numbers are drawn on the CPU
    whatever the device, so that every device trains under the same luck.

    Args:
        seed: Of all streams.
        dtype: Of the noise.
        device: Where it is used.
    """

    def __init__(
        self,
        seed: int,
        dtype: torch.dtype = torch.float32,
        device: torch.device = CPU,
    ) -> None:
        self._seed = seed
        self._dtype = dtype
        self.device = device
        self._epoch = 0
        self._generators: dict[str, torch.Generator] = {}
        self._blocks: dict[tuple[str, tuple[int, ...]], tuple[Tensor, int]] = {}

    def start(self, epoch: int) -> None:
        """Restarts every stream for an epoch."""
        self._epoch = epoch
        self._generators.clear()
        self._blocks.clear()

    def _generator(self, site: str) -> torch.Generator:
        generator = self._generators.get(site)
        if generator is None:
            generator = torch.Generator(CPU).manual_seed(derive_seed(self._seed, self._epoch, site))
            self._generators[site] = generator
        return generator

    def position(self) -> Position:
        """Returns how far each stream is, for `rewind`."""
        states = {site: generator.get_state() for site, generator in self._generators.items()}
        return Position(states, dict(self._blocks))

    def rewind(self, position: Position) -> None:
        """Goes back to a position of this epoch: the same numbers are drawn again."""
        for site in self._generators.keys() - position.states.keys():
            del self._generators[site]  # not begun then
        for site, state in position.states.items():
            self._generators[site].set_state(state)
        self._blocks = dict(position.blocks)

    def uniform(self, site: str, shape: tuple[int, ...]) -> Tensor:
        """Returns numbers in [0, `HIGHEST`]."""
        return self._next(site, shape, torch.rand)

    def number(self, site: str) -> float:
        """Returns a number in [0, `HIGHEST`]."""
        return float(self._next(site, (), torch.rand, CPU))

    def normal(self, site: str, shape: tuple[int, ...]) -> Tensor:
        """Returns standard normal numbers."""
        return self._next(site, shape, torch.randn)

    def _next(
        self,
        site: str,
        shape: tuple[int, ...],
        draw: Callable[..., Tensor],
        device: torch.device | None = None,
    ) -> Tensor:
        """Returns the next draw of a site's block, which is filled anew when it is used up."""
        block, used = self._blocks.get((site, shape), (None, 0))
        if block is None:
            n_draws = max(1, min(BLOCK_DRAWS, BLOCK_NUMBERS // max(1, prod(shape))))
            block, used = draw((n_draws, *shape), generator=self._generator(site), device=CPU), 0
            if draw is torch.rand:
                block.clamp_(max=HIGHEST)
            block = block.to(device or self.device, self._dtype)
        if used + 1 < len(block):
            self._blocks[site, shape] = (block, used + 1)
        else:  # large draws of many shapes, as of texts, must not all be kept
            self._blocks.pop((site, shape), None)
        return block[used]

    def integer(self, site: str) -> int:
        """Returns a number in [0, 2**63), such as a seed."""
        return int(torch.randint(2**63 - 1, (), generator=self._generator(site), device=CPU))

    def permutation(self, site: str, n_rows: int) -> Tensor:
        """Returns the numbers below `n_rows` in random order."""
        drawn = torch.randperm(n_rows, generator=self._generator(site), device=CPU)
        return drawn.to(self.device)
