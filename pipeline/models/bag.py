"""The encoder `bag`: a document is the mean of learned vectors of its words and their pairs.

As in fastText (Joulin et al., 2017, "Bag of tricks for efficient text classification"), pairs of
words that follow each other have vectors too, which they share by a hash, so that no table of
pairs is kept. With `pool: attention` the mean is weighted: word i weighs exp(q . e_i), with q
learned, so that a few telling words may speak for a long document.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from pipeline.models.layers import LayerNorm, MemberLayer
from pipeline.models.reader import Reader
from pipeline.models.sparse import sparse_product
from pipeline.text.numbering import PAD, UNKNOWN

if TYPE_CHECKING:
    from pipeline.models.trunk import Rates
    from pipeline.study.encoder_spec import EncoderSpec

_FIRST, _SECOND = 0x9E3779B1, 0x85EBCA6B  # odd, below 2**32: of a multiplicative hash
_SHIFT, _BITS = 16, 2**31 - 1  # the bits in the middle of the products are those mixed well


class Table(MemberLayer):
    """Vectors of tokens and pairs, and what an attention looks for in them.

    Args:
        n_members: K.
        n_rows: Tokens, the unknown one first, then buckets of pairs.
        width: D.
        dtype: Of the parameters.
        attention: Whether rows are weighed.
    """

    def __init__(
        self, n_members: int, n_rows: int, width: int, dtype: torch.dtype, attention: bool
    ) -> None:
        super().__init__()
        self.vectors = nn.Parameter(torch.empty(n_members, n_rows, width, dtype=dtype))
        self.query = (
            nn.Parameter(torch.empty(n_members, width, 1, dtype=dtype)) if attention else None
        )

    def initialise(self, member: int, generator: torch.Generator) -> None:
        """Draws vectors from N(0, 1/width); the query starts at 0, which is the plain mean."""
        with torch.no_grad():
            std = 1 / math.sqrt(self.vectors.shape[2])
            self.vectors[member].normal_(0, std, generator=generator)
            if self.query is not None:
                self.query[member] = 0


class Bag(Reader):
    """The mean of a document's vectors, normalised: a short one is as loud as a long one."""

    def __init__(self, n_members: int, shape: Mapping[str, Any], dtype: torch.dtype) -> None:
        super().__init__(n_members, shape, dtype)
        self.width = shape["width"]
        self._n_words, self._buckets = shape["tokens"] - UNKNOWN, shape["buckets"]
        n_rows = self._n_words + self._buckets
        self.table = Table(n_members, n_rows, self.width, dtype, shape["pool"] == "attention")
        self.norm = LayerNorm(n_members, self.width, dtype)

    @classmethod
    def shape_of(cls, spec: EncoderSpec, n_tokens: int) -> dict[str, Any]:
        """Returns the sizes of the table and how it is averaged; see `Reader.shape_of`."""
        return {
            "tokens": n_tokens, "width": spec.embed, "buckets": spec.buckets, "pool": spec.pool
        }  # fmt: skip

    def forward(
        self, tokens: Tensor, rates: Rates | None, site: str, states: Tensor | None = None
    ) -> Tensor:
        """Reads (B, L) or (K, B, L) tokens into (K, B, D)."""
        if tokens.dim() == 2:
            mean = self._mean(tokens, self.table.vectors, self.table.query)
        else:  # members differ: each reads its own
            each = zip(tokens, torch.split(self.table.vectors, 1), self._queries(), strict=True)
            mean = torch.cat([self._mean(*own) for own in each])
        empty = (tokens == PAD).all(-1).unsqueeze(-1)  # (B, 1) or (K, B, 1)
        found: Tensor = self.norm(mean).masked_fill(empty, 0)
        return found

    def _queries(self) -> list[Tensor | None]:
        if self.table.query is None:
            return [None] * len(self.table.vectors)
        return list(torch.split(self.table.query, 1))

    def _mean(self, tokens: Tensor, vectors: Tensor, query: Tensor | None) -> Tensor:
        """Averages the vectors of (B, L) documents for the members of a table."""
        starts, items = self._items(tokens)
        lengths = starts.diff()
        if query is None:
            share = lengths.clamp_min(1).to(vectors.dtype).reciprocal()
            values = torch.repeat_interleave(share, lengths, output_size=len(items))
            return sparse_product(starts, items, values, vectors)
        scores = torch.bmm(vectors, query).squeeze(2)[:, items]  # (K, n)
        return sparse_product(starts, items, _softmax(scores, lengths), vectors)

    def _items(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the rows of the table that documents have: starts (B + 1,) and items (n,)."""
        words, inside = tokens - UNKNOWN, tokens != PAD
        if self._buckets:
            first, second = words[:, :-1], words[:, 1:]
            pairs = (first * _FIRST + second * _SECOND) >> _SHIFT
            pairs = (pairs & _BITS) % self._buckets + self._n_words
            words = torch.cat([words, pairs], dim=1)
            inside = torch.cat([inside, inside[:, 1:]], dim=1)
        starts = torch.cat([tokens.new_zeros(1), inside.sum(1).cumsum(0)])
        return starts, words[inside]


def _softmax(scores: Tensor, lengths: Tensor) -> Tensor:
    """Returns the softmax of (K, n) scores within each of the rows of these lengths."""
    numbers = torch.arange(len(lengths), device=lengths.device)
    row = torch.repeat_interleave(numbers, lengths, output_size=scores.shape[1])
    row = row.expand(scores.shape)
    size = (len(scores), len(lengths))
    largest = scores.detach().new_zeros(size).scatter_reduce_(
        1, row, scores.detach(), "amax", include_self=False
    )  # fmt: skip
    powers = (scores - largest.gather(1, row)).exp()
    total = powers.new_zeros(size).scatter_add(1, row, powers)
    return powers / total.gather(1, row)
