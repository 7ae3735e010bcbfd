"""The words of a source as the decoder `generator` reads them, and where they stand first.

It is read by two layers that see two words to either side, not by a recurrent network: all places
at once.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pipeline.models.decoder import PAD, UNKNOWN
from pipeline.models.layers import Linear, MemberLayer
from pipeline.models.passes import near_sums

_REACH = 2  # words to either side that a reading layer sees


class WordVectors(MemberLayer):
    """Vectors of words and of places in the source, and the bias for runs.

    Args:
        n_members: K.
        n_words: V.
        n_places: S, words of the source that are read.
        width: H.
        dtype: Of the parameters.
    """

    def __init__(
        self, n_members: int, n_words: int, n_places: int, width: int, dtype: torch.dtype
    ) -> None:
        super().__init__()

        def parameter(*sizes: int) -> nn.Parameter:
            return nn.Parameter(torch.empty(n_members, *sizes, dtype=dtype))

        self.table = parameter(n_words, width)
        self.place = parameter(n_places, width)
        self.follow = parameter(1, 1)

    def initialise(self, member: int, generator: torch.Generator) -> None:
        """Draws words and places from N(0, 0.1); runs start with a bias of 2."""
        with torch.no_grad():
            for part in (self.table, self.place):
                part[member].normal_(0, 0.1, generator=generator)
            self.follow[member] = 2.0

    def forward(self, words: Tensor) -> Tensor:
        """Maps (B, L) numbers of words, or (K, B, L) where members differ, to (K, B, L, H)."""
        known = torch.where(words < self.table.shape[1], words, UNKNOWN)
        if known.dim() == 2:
            return self.table[:, known]
        members = torch.arange(len(known), device=known.device).reshape(-1, 1, 1)
        return self.table[members, known]


@dataclass(frozen=True)
class Reading:
    """A source as the decoder sees it; R rows, of K members.

    Attributes:
        words: (R, S) numbers.
        states: (K, R, S, H).
        hidden: (R, S) true where there is no word.
    """

    words: Tensor
    states: Tensor
    hidden: Tensor

    def repeated(self, times: int) -> Reading:
        """Returns each row several times, one after the other."""
        return Reading(
            self.words.repeat_interleave(times, 0),
            self.states.repeat_interleave(times, 1),
            self.hidden.repeat_interleave(times, 0),
        )


def reading_layers(n_members: int, width: int, dtype: torch.dtype) -> tuple[Linear, Linear]:
    """Makes the two layers that `read` takes, for states of a width."""
    near, far = (Linear(n_members, (2 * _REACH + 1) * width, width, dtype) for _ in range(2))
    return near, far


def read(vectors: WordVectors, layers: Iterable[Linear], source: Tensor) -> Reading:
    """Reads (R, S) words."""
    hidden = source == PAD
    states = vectors(source) + vectors.place[:, None, : source.shape[1]]  # (K, R, S, H)
    for layer in layers:
        shown = states.masked_fill(hidden[..., None], 0)
        states = states + torch.tanh(near_sums(shown, layer.weight, layer.bias, _REACH))
    # A row without a word has its first place shown, so that its attention is a number.
    first = torch.arange(hidden.shape[1], device=hidden.device) == 0
    hidden = hidden & ~(hidden.all(1, keepdim=True) & first)
    return Reading(source, states, hidden)


def first_places(words: Tensor) -> Tensor:
    """Returns the place where the word of each place of (R, S) stands first."""
    return (words[:, :, None] == words[:, None]).to(torch.uint8).argmax(2)


def shifted(words: Tensor) -> Tensor:
    """Returns the word before each place of (R, S), PAD before the first."""
    return torch.cat([torch.zeros_like(words[:, :1]), words[:, :-1]], dim=1)
