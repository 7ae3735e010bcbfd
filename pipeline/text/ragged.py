"""Rows of different lengths as three flat arrays, as in a sparse matrix of compressed rows."""

import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

TERMS = "terms"
"""Name of the rows of term weights among the rows of texts."""

_ROWS = 1024  # taken at once
_LARGE = 2**26  # bytes


@dataclass(frozen=True)
class Ragged:
    """N rows of items.

    Attributes:
        starts: (N + 1,) int64: row i has the items from `starts[i]` up to `starts[i + 1]`.
        items: (n,) int32: columns of a sparse matrix, or words of a vocabulary.
        values: (n,) float32 beside them; None where each counts 1. Of tokens, (n, D) float16 states
            of a pretrained model.
    """

    starts: NDArray[np.int64]
    items: NDArray[np.int32]
    values: NDArray[np.floating[Any]] | None = None

    def __len__(self) -> int:
        return len(self.starts) - 1

    @property
    def lengths(self) -> NDArray[np.int64]:
        """(N,) items of each row."""
        return np.diff(self.starts)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Returns the flat arrays by name."""
        values = {} if self.values is None else {"values": self.values}
        return {"starts": self.starts, "items": self.items, **values}

    def take(self, rows: NDArray[Any]) -> "Ragged":
        """Returns the rows at these positions, in this order."""
        lengths = self.lengths[rows]
        starts = from_lengths(lengths)
        items = np.empty(starts[-1], self.items.dtype)
        values = (
            None
            if self.values is None
            else room((int(starts[-1]), *self.values.shape[1:]), self.values.dtype)
        )
        for low in range(0, len(lengths), _ROWS):  # places take more memory than what they name
            part = slice(low, low + _ROWS)
            own = from_lengths(lengths[part])
            shift = self.starts[:-1][rows[part]] - own[:-1]
            places = np.arange(own[-1]) + np.repeat(shift, lengths[part])
            inside = slice(starts[low], starts[low] + own[-1])
            items[inside] = self.items[places]
            if values is not None and self.values is not None:
                values[inside] = self.values[places]
        return Ragged(starts, items, values)

    def cut(self, most: int) -> "Ragged":
        """Returns rows of at most so many items, the first ones."""
        lengths = np.minimum(self.lengths, most)
        starts = from_lengths(lengths)
        places = np.arange(starts[-1]) + np.repeat(self.starts[:-1] - starts[:-1], lengths)
        values = None if self.values is None else self.values[places]
        return Ragged(starts, self.items[places], values)

    @classmethod
    def joined(cls, parts: Sequence["Ragged"]) -> "Ragged":
        """Puts rows below each other."""
        if not parts:
            return cls(np.zeros(1, np.int64), np.zeros(0, np.int32), None)
        ends = np.cumsum([0, *(len(part.items) for part in parts)])
        starts = [part.starts[:-1] + end for part, end in zip(parts, ends[:-1], strict=True)]
        values = [part.values for part in parts if part.values is not None]
        return cls(
            np.concatenate([*starts, ends[-1:]]).astype(np.int64),
            np.concatenate([part.items for part in parts]),
            np.concatenate(values) if values else None,
        )


def room(shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
    """Returns an array to be filled; a large one lies in a file that ends with it.

    The system writes out what it has no memory for, so that states of many documents are bounded
    by the disk alone.
    """
    if int(np.prod(shape)) * np.dtype(dtype).itemsize < _LARGE:
        return np.empty(shape, dtype)
    with tempfile.TemporaryFile(prefix="states-") as file:
        return np.memmap(file, dtype=dtype, mode="w+", shape=shape)


def from_lengths(lengths: Iterable[int] | NDArray[Any]) -> NDArray[np.int64]:
    """Returns the starts of rows of these lengths."""
    return np.concatenate([[0], np.cumsum(np.asarray(lengths, dtype=np.int64))]).astype(np.int64)
