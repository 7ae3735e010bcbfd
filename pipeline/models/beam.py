"""Beam search: of the texts that a decoder could write, the likeliest that a narrow look finds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.models.decoder import END, PAD

_LENGTH_PENALTY = 0.8  # alpha of Wu et al. (2016), section 7
_NEVER = -1e9  # log chance of what must not be chosen

Advance = Callable[[Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]
"""Moves (K, R * beam, H) states on by the (K, R * beam) words written last: the next states, and
the (K, R * beam, C) log chances and words of what may follow."""


def search(advance: Advance, state: Tensor, beam: int, n_words: int) -> Tensor:
    """Returns the (K, R, T) words of texts, PAD from the end on.

    Texts of different lengths are compared by their log chance divided by
    ((5 + length) / 6) ** 0.8 (Wu et al., 2016).

    Args:
        advance: What a decoder says of the next word; those of a row stand side by side.
        state: (K, R, H) in which the texts begin.
        beam: Texts kept of each row; 1 takes the likeliest word each time.
        n_words: T, the end included.
    """
    n_members, n_rows, width = state.shape
    kept = _Kept.fresh(state, beam, n_words)
    state = state.repeat_interleave(beam, 1)  # (K, R * beam, H)
    first = beam * torch.arange(n_rows, device=state.device)[:, None]
    word = torch.full(state.shape[:2], PAD, dtype=torch.int64, device=state.device)
    for position in range(n_words):
        state, chances, words = advance(state, word)
        parent, chosen = kept.extend(
            chances.reshape(*kept.scores.shape, -1), words.reshape(n_members, n_rows, -1), position
        )
        at = (parent + first).flatten(1).unsqueeze(-1).expand(-1, -1, width)
        state, word = state.gather(1, at), chosen.flatten(1)
        if bool(kept.done.all()):
            break
    return kept.best()


@dataclass
class _Kept:
    """The texts that are kept of each row.

    Attributes:
        texts: (K, R, beam, T) words, PAD from the end on.
        scores: (K, R, beam) log chances.
        done: (K, R, beam) whether a text has its end.
        lengths: (K, R, beam) words, the end included.
    """

    texts: Tensor
    scores: Tensor
    done: Tensor
    lengths: Tensor

    @classmethod
    def fresh(cls, state: Tensor, beam: int, n_words: int) -> _Kept:
        """Returns empty texts of the rows that (K, R, H) states begin."""
        size = (*state.shape[:2], beam)
        scores = state.new_full(size, _NEVER)
        scores[:, :, 0] = 0  # the first step has one text to go on from
        return cls(
            state.new_full((*size, n_words), PAD, dtype=torch.int64),
            scores,
            state.new_zeros(size, dtype=torch.bool),
            state.new_zeros(size),
        )

    def extend(self, chances: Tensor, words: Tensor, position: int) -> tuple[Tensor, Tensor]:
        """Keeps the likeliest texts that are longer by a word.

        Args:
            chances: (K, R, beam, C) log chances of what may follow each text.
            words: (K, R, beam * C) these words.
            position: Of the word.

        Returns:
            (K, R, beam) the text that each one continues, and its word.
        """
        n_choices = chances.shape[-1]
        chances = chances.masked_fill(self.done.unsqueeze(-1), _NEVER)
        chances[..., 0].masked_fill_(self.done, 0)  # a text that ended stays as it is
        total = (self.scores.unsqueeze(-1) + chances).flatten(2)
        self.scores, best = total.topk(self.scores.shape[2], dim=2)
        parent = best // n_choices
        word = words.gather(2, best)
        self.texts = self.texts.gather(2, parent.unsqueeze(-1).expand(self.texts.shape))
        done, lengths = self.done.gather(2, parent), self.lengths.gather(2, parent)
        self.texts[..., position] = torch.where(done | (word == END), PAD, word)
        self.lengths = lengths + (~done).to(lengths.dtype)
        self.done = done | (word == END)
        return parent, word

    def best(self) -> Tensor:
        """Returns the (K, R, T) words of each row's best text."""
        penalty = ((5 + self.lengths) / 6) ** _LENGTH_PENALTY
        winner = (self.scores / penalty.to(self.scores.dtype)).argmax(2)  # (K, R)
        at = winner[:, :, None, None].expand(-1, -1, 1, self.texts.shape[3])
        return self.texts.gather(2, at).squeeze(2)
