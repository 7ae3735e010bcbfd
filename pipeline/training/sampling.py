"""In which order an epoch shows the train rows, and how often those of each source."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.training.devices import CPU
from pipeline.training.streams import Streams


def rows_shown(sizes: Sequence[int], exponent: float) -> list[int]:
    """Divides an epoch of N rows, N the sum of the sizes, among sources.

    A source of n_s rows gets the share p_s = n_s**a / sum over sources r of n_r**a (Arivazhagan
    et al., 2019, "Massively multilingual neural machine translation in the wild", where a = 1/T),
    in whole rows by largest remainder, of equal ones the first.

    Args:
        sizes: Train rows of each source, each above 0.
        exponent: a: 1 is proportional, 0 uniform.

    Returns:
        Rows of each source in an epoch: N in all, each less than one row from N * p_s.
    """
    counts = np.array(sizes, dtype=np.float64)
    quotas = counts.sum() * counts**exponent / (counts**exponent).sum()
    shown = np.floor(quotas).astype(np.int64)
    missing = sum(sizes) - int(shown.sum())
    shown[np.argsort(shown - quotas, kind="stable")[:missing]] += 1
    return [int(number) for number in shown]


class Order:
    """The order of the rows in each epoch.

    An epoch is as long as there are train rows, whatever the mix: a source above its proportional
    share repeats rows, one below it leaves out others in every epoch. The rows of a source stand
    equally often in an epoch, but for one time more or less, and all are shuffled: a batch has
    the mix on average.

    Args:
        n_rows: N, the train rows.
        sources: (N,) number of each row's source; None where there is one source.
        exponent: See `rows_shown`; at 1 every row stands once in every epoch.
        device: Where the order is used.
    """

    def __init__(
        self,
        n_rows: int,
        sources: NDArray[np.int32] | None = None,
        exponent: float = 1.0,
        device: torch.device = CPU,
    ) -> None:
        self.n_rows = n_rows
        self._sources: list[tuple[Tensor, int]] = []  # rows of a source, how many of them to show
        if sources is not None and exponent != 1:
            own = [np.flatnonzero(sources == number) for number in np.unique(sources)]
            shown = rows_shown([len(rows) for rows in own], exponent)
            tensors = (torch.from_numpy(rows).to(device) for rows in own)
            self._sources = list(zip(tensors, shown, strict=True))

    def draw(self, streams: Streams, site: str) -> Tensor:
        """Returns the (N,) rows of the streams' epoch, in order."""
        picked = []
        for rows, n_shown in self._sources:
            n_passes, n_more = divmod(n_shown, len(rows))
            more = streams.permutation(site, len(rows))[:n_more]
            picked += [rows.repeat(n_passes), rows[more]]
        order = streams.permutation(site, self.n_rows)
        return torch.cat(picked)[order] if picked else order
