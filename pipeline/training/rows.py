"""The train rows of one population: put into an epoch's order, then cut into batches."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from pipeline.models.texts import Texts
from pipeline.training.placement import PlacedPart
from pipeline.training.sampling import Order

BLOCK_BYTES = 64 * 2**20
"""What is put in order at once: one gather for many batches, and bounded memory for mapped data."""


class Batch(NamedTuple):
    """Rows that a step trains on, shared by the members until augmentation makes them differ.

    Attributes:
        numeric: (B, D), or (K, B, D).
        codes: (B, C), or (K, B, C).
        targets: What each loss needs: rows of `TaskLosses.targets`.
        texts: Of the rows.
    """

    numeric: Tensor
    codes: Tensor
    targets: list[Tensor]
    texts: Texts


class Rows:
    """Inputs and targets of the train rows: on the device, in memory, or mapped from the cache.

    Args:
        part: The rows.
        targets: What each loss needs, (N, ...), rows first.
        dtype: Of numbers in a batch.
        device: Where batches are used. Rows that are elsewhere travel there in blocks.
        exponent: How sources are mixed: see `rows_shown`.
        texts: Names of the rows of texts that are read.

    Attributes:
        order: Of the rows in an epoch.
    """

    def __init__(
        self,
        part: PlacedPart,
        targets: Sequence[Tensor],
        dtype: torch.dtype,
        device: torch.device,
        exponent: float = 1.0,
        texts: Collection[str] = (),
    ) -> None:
        self._tensors = [part.numeric, part.codes, *targets]
        self._texts = part.text_rows(texts, dtype)
        self._dtype, self._device = dtype, device
        self.n_rows = len(part)
        self.order = Order(self.n_rows, part.sources, exponent, device)

    def batches(self, order: Tensor, batch_size: int) -> Iterator[Batch]:
        """Yields the rows in the order given, batch by batch."""
        row_bytes = sum(t.element_size() * (t[0].numel() if len(t) else 0) for t in self._tensors)
        n_batches = max(1, BLOCK_BYTES // max(1, row_bytes * batch_size))
        for block in torch.split(order, n_batches * batch_size):
            numeric, codes, *targets = (self._ordered(tensor, block) for tensor in self._tensors)
            for low in range(0, len(block), batch_size):
                high = low + batch_size
                own = [target[low:high] for target in targets]
                texts = self._texts.take(block[low:high])
                yield Batch(numeric[low:high], codes[low:high], own, texts)

    def _ordered(self, tensor: Tensor, order: Tensor) -> Tensor:
        """Returns the rows in order, numbers in the population's dtype, codes as they are."""
        rows = tensor[order.to(tensor.device)].to(self._device)
        return rows.to(self._dtype) if rows.is_floating_point() else rows
