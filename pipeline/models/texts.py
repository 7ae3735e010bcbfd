"""The texts of a batch of rows as tensors: tokens side by side, and their states."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from pipeline.text.numbering import PAD
from pipeline.text.ragged import Ragged

LENGTH_STEP = 16
"""Rows are padded to a multiple of this: noise is drawn ahead for each shape that there is."""


@dataclass(frozen=True)
class Sparse:
    """B rows of tokens, as in `Ragged`.

    Attributes:
        starts: (B + 1,) int64.
        items: (n,) int64 tokens.
        values: (n, D) states of them; (0,) where there are none.
    """

    starts: Tensor
    items: Tensor
    values: Tensor


@dataclass(frozen=True)
class Texts:
    """The texts of B rows.

    Attributes:
        tokens: Encoder to (B, L) int64 tokens, `PAD` behind the last; or (K, B, L) where
            augmentation made members differ. L is a multiple of `LENGTH_STEP`, at least one.
        states: Encoder to (B, L, D) states of its tokens, of a pretrained model.
    """

    tokens: Mapping[str, Tensor] = field(default_factory=dict)
    states: Mapping[str, Tensor] = field(default_factory=dict)


NO_TEXTS = Texts()


class TextRows:
    """Texts of many rows, from which those of a batch are taken.

    The arrays may be mapped from the cache: a batch copies what it needs.

    Args:
        texts: Name to rows of a part, or of a table to answer.
        names: Which of them are read: see `Architecture.texts`.
        dtype: Of states in a batch.
        device: Where batches are used. Rows that must travel go there once, as a whole.
    """

    def __init__(
        self,
        texts: Mapping[str, Ragged],
        names: Collection[str],
        dtype: torch.dtype = torch.float32,
        device: torch.device | None = None,
    ) -> None:
        self._arrays = {
            name: {key: torch.from_numpy(array).to(device)
                   for key, array in texts[name].arrays().items()}
            for name in names
        }  # fmt: skip
        self._dtype = dtype

    def take(self, rows: Tensor) -> Texts:
        """Returns the texts of the rows at these positions, (B,) int64."""
        if not self._arrays:
            return NO_TEXTS
        found = {name: self._take(arrays, rows) for name, arrays in self._arrays.items()}
        return Texts(
            {name: _padded(sparse, sparse.items) for name, sparse in found.items()},
            {name: _padded(sparse, sparse.values) for name, sparse in found.items()
             if sparse.values.dim() == 2},
        )  # fmt: skip

    def _take(self, arrays: Mapping[str, Tensor], rows: Tensor) -> Sparse:
        starts, items = arrays["starts"], arrays["items"]
        low = starts[rows]
        lengths = starts[rows + 1] - low
        own = torch.cat([lengths.new_zeros(1), lengths.cumsum(0)])
        shift = torch.repeat_interleave(low - own[:-1], lengths)
        places = torch.arange(len(shift), device=shift.device) + shift
        values = arrays["values"][places] if "values" in arrays else items.new_zeros(0)
        return Sparse(own, items[places].to(torch.int64), values.to(self._dtype))


def _padded(rows: Sparse, values: Tensor) -> Tensor:
    """Returns what stands in each row side by side, (B, L, ...), 0 (`PAD`) behind the last."""
    lengths = rows.starts.diff()
    longest = int(lengths.max()) if len(lengths) else 0
    width = max(1, -(-longest // LENGTH_STEP)) * LENGTH_STEP
    padded = values.new_full((len(lengths), width, *values.shape[1:]), PAD)
    inside = torch.arange(width, device=lengths.device) < lengths[:, None]
    padded[inside] = values
    return padded
