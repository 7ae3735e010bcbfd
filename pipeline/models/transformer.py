"""The encoder `transformer`: a small pre-norm transformer, learned from scratch with the trunk.

The encoder of Vaswani et al. (2017) with the normalisation before each part (Xiong et al., 2020,
"On layer normalization in the transformer architecture"), which needs no warm-up: x + attention of
the normalised x, then x + two linear maps with a GELU between, four times as wide. Vectors of
places are learned. What is said of a document is a mean over its tokens, plain or weighed by a
learned query.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from pipeline.models.layers import LayerNorm, Linear, MemberLayer, dropout
from pipeline.models.reader import Reader, blocks
from pipeline.text.numbering import PAD, UNKNOWN

if TYPE_CHECKING:
    from pipeline.models.trunk import Rates
    from pipeline.study.encoder_spec import EncoderSpec

_WIDER = 4
"""How much wider the layer inside the feed-forward part is, as in Vaswani et al."""
_TOKENS = 2**14
"""Tokens of all members, padding among them, that are read at once where no gradient is wanted."""


class Tokens(MemberLayer):
    """Vectors of tokens and of places, and what an attention looks for at the end.

    Args:
        n_members: K.
        n_tokens: Tokens, the unknown one first.
        n_places: Most tokens of a document.
        width: D.
        dtype: Of the parameters.
        attention: Whether the last states are weighed.
    """

    def __init__(
        self, n_members: int, n_tokens: int, n_places: int, width: int, dtype: torch.dtype,
        attention: bool,
    ) -> None:  # fmt: skip
        super().__init__()
        self.vectors = nn.Parameter(torch.empty(n_members, n_tokens, width, dtype=dtype))
        self.places = nn.Parameter(torch.empty(n_members, n_places, width, dtype=dtype))
        self.query = (
            nn.Parameter(torch.empty(n_members, width, 1, dtype=dtype)) if attention else None
        )

    def initialise(self, member: int, generator: torch.Generator) -> None:
        """Draws vectors from N(0, 1/width); the query starts at 0, which is the plain mean."""
        with torch.no_grad():
            std = 1 / math.sqrt(self.vectors.shape[2])
            for part in (self.vectors, self.places):
                part[member].normal_(0, std, generator=generator)
            if self.query is not None:
                self.query[member] = 0

    def forward(self, tokens: Tensor) -> Tensor:
        """Maps (B, L), or (K, B, L) where members differ, to (K, B, L, D)."""
        rows = (tokens - UNKNOWN).clamp_min(0)  # what is padded is masked later
        each = rows.unbind(0) if rows.dim() == 3 else [rows] * len(self.vectors)
        # Unbound, not indexed: the gradient of each index would be as large as the whole table.
        found = torch.stack([
            nn.functional.embedding(own, table)
            for own, table in zip(each, self.vectors.unbind(0), strict=True)
        ])  # fmt: skip
        return found + self.places[:, None, : rows.shape[-1]]


class Block(nn.Module):
    """Attention, then a feed-forward part, each on top of what it reads.

    Args:
        n_members: K.
        width: D.
        n_heads: Heads, each of which reads D // heads numbers.
        dtype: Of the parameters.
    """

    def __init__(self, n_members: int, width: int, n_heads: int, dtype: torch.dtype) -> None:
        super().__init__()
        self._n_heads, self._head_width = n_heads, max(1, width // n_heads)
        inside = self._n_heads * self._head_width
        self.first_norm = LayerNorm(n_members, width, dtype)
        self.enter = Linear(n_members, width, 3 * inside, dtype)
        self.leave = Linear(n_members, inside, width, dtype)
        self.second_norm = LayerNorm(n_members, width, dtype)
        self.widen = Linear(n_members, width, _WIDER * width, dtype)
        self.narrow = Linear(n_members, _WIDER * width, width, dtype)

    def forward(self, x: Tensor, shown: Tensor, rates: Rates | None, site: str) -> Tensor:
        """Maps (K, B * L, D) to the same.

        Args:
            x: States of the tokens.
            shown: (K or 1, B, L) whether a token may be looked at; of each document at least one.
            rates: Dropout of a training step.
            site: Begins the names of its streams of noise.
        """
        x = x + _dropped(self._attend(self.first_norm(x), shown), rates, f"{site}.attention")
        inner = nn.functional.gelu(self.widen(self.second_norm(x)))
        return x + _dropped(self.narrow(inner), rates, f"{site}.forward")

    def _attend(self, x: Tensor, shown: Tensor) -> Tensor:
        n_members, (_, n_rows, length) = len(x), shown.shape
        size = (n_members, n_rows, length, 3, self._n_heads, self._head_width)
        three = self.enter(x).view(size).permute(3, 0, 1, 4, 2, 5).flatten(1, 2)
        mask = shown.expand(n_members, -1, -1).flatten(0, 1)[:, None, None]  # (K * B, 1, 1, L)
        query, key, value = three[0], three[1], three[2]  # (K * B, heads, L, numbers)
        read = nn.functional.scaled_dot_product_attention(query, key, value, mask)
        inside = self._n_heads * self._head_width
        joined = read.transpose(1, 2).reshape(n_members, n_rows * length, inside)
        found: Tensor = self.leave(joined)
        return found


class Transformer(Reader):
    """Tokens and places, blocks, a last normalisation, a mean."""

    def __init__(self, n_members: int, shape: Mapping[str, Any], dtype: torch.dtype) -> None:
        super().__init__(n_members, shape, dtype)
        self.width = shape["width"]
        self.tokens = Tokens(
            n_members, shape["tokens"] - UNKNOWN, shape["places"], self.width, dtype,
            shape["pool"] == "attention",
        )  # fmt: skip
        self.blocks = nn.ModuleList(
            Block(n_members, self.width, shape["heads"], dtype) for _ in range(shape["depth"])
        )
        self.norm = LayerNorm(n_members, self.width, dtype)

    @classmethod
    def shape_of(cls, spec: EncoderSpec, n_tokens: int) -> dict[str, Any]:
        """Returns the sizes; see `Reader.shape_of`."""
        return {
            "tokens": n_tokens, "places": spec.max_tokens, "width": spec.embed,
            "depth": spec.depth, "heads": spec.heads, "pool": spec.pool,
        }  # fmt: skip

    def forward(
        self, tokens: Tensor, rates: Rates | None, site: str, states: Tensor | None = None
    ) -> Tensor:
        """Reads (B, L) or (K, B, L) tokens into (K, B, D)."""
        if torch.is_grad_enabled() or tokens.dim() == 3:
            return self._read(tokens, rates, site)
        found = self.norm.scale.new_empty(len(self.norm.scale), len(tokens), self.width)
        for rows, length in blocks((tokens != PAD).sum(1), _TOKENS // len(found)):
            found[:, rows] = self._read(tokens[rows, :length], rates, site)
        return found

    def _read(self, tokens: Tensor, rates: Rates | None, site: str) -> Tensor:
        tokens = tokens[..., : self.tokens.places.shape[1]]  # padded to more than is ever read
        present = tokens != PAD
        first = torch.arange(tokens.shape[-1], device=tokens.device) == 0
        shown = present | first  # attention among nothing is not a number
        if shown.dim() == 2:
            present, shown = present.unsqueeze(0), shown.unsqueeze(0)
        x = self.tokens(tokens)  # (K, B, L, D)
        n_members, n_rows, length, _ = x.shape
        x = _dropped(x.flatten(1, 2), rates, f"{site}.tokens")
        for index, block in enumerate(self.blocks):
            x = block(x, shown, rates, f"{site}.{index}")
        x = self.norm(x)
        scores = x.new_zeros(())
        if self.tokens.query is not None:
            scores = torch.bmm(x, self.tokens.query).view(n_members, n_rows, length)
        hidden = torch.where(shown, 0.0, -math.inf).to(x.dtype)
        weight = (scores + hidden).softmax(2).expand(n_members, -1, -1)
        mean: Tensor = (
            weight.unsqueeze(2) @ x.view(n_members, n_rows, length, self.width)
        ).squeeze(2)
        return mean.masked_fill(~present.any(2).unsqueeze(2), 0)


def _dropped(x: Tensor, rates: Rates | None, site: str) -> Tensor:
    return x if rates is None else dropout(x, rates.text, rates.noise, site)
