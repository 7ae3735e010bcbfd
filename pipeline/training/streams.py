"""Random streams of a population: named, restarted each epoch, shared by all members."""

from collections.abc import Mapping

import torch
from torch import Tensor

from pipeline.study.seeds import derive_seed


class Streams:
    """Batch order, dropout and augmentation noise.

    Each place that needs noise has a stream of its own, so that skipping one (no member drops
    there) shifts no other; each epoch restarts them, so that an epoch can be trained without the
    ones before. Nothing depends on how many members there are.

    Args:
        seed: Of all streams.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._epoch = 0
        self._generators: dict[str, torch.Generator] = {}

    def start(self, epoch: int) -> None:
        """Restarts every stream for an epoch."""
        self._epoch = epoch
        self._generators.clear()

    def _generator(self, site: str) -> torch.Generator:
        generator = self._generators.get(site)
        if generator is None:
            generator = torch.Generator().manual_seed(derive_seed(self._seed, self._epoch, site))
            self._generators[site] = generator
        return generator

    def position(self) -> dict[str, Tensor]:
        """Returns how far each stream is, for `rewind`."""
        return {site: generator.get_state() for site, generator in self._generators.items()}

    def rewind(self, position: Mapping[str, Tensor]) -> None:
        """Goes back to a position of this epoch: the same numbers are drawn again."""
        for site in self._generators.keys() - position.keys():
            del self._generators[site]  # not begun then
        for site, state in position.items():
            self._generators[site].set_state(state)

    def uniform(self, site: str, shape: tuple[int, ...]) -> Tensor:
        """Returns numbers in [0, 1)."""
        return torch.rand(shape, generator=self._generator(site))

    def normal(self, site: str, shape: tuple[int, ...]) -> Tensor:
        """Returns standard normal numbers."""
        return torch.randn(shape, generator=self._generator(site))

    def integer(self, site: str) -> int:
        """Returns a number in [0, 2**63), such as a seed."""
        return int(torch.randint(2**63 - 1, (), generator=self._generator(site)))

    def permutation(self, site: str, n_rows: int) -> Tensor:
        """Returns the numbers below `n_rows` in random order."""
        return torch.randperm(n_rows, generator=self._generator(site))
