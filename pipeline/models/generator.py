"""A decoder that writes a text word by word and may copy from its source, for K members at once.

Pointer-generator (See, Liu and Manning, 2017): the chance of a word w is
g * p(w) + (1 - g) * sum of the attention on the places of the source where w stands,
with g a gate and p a softmax over a vocabulary fitted on train. Two things differ from the paper.
The source is read by layers that see near words, not by a recurrent network (see `source_words`).
And attention gets a learned bias where the word before a place is the word just written, so that
runs of words are copied even if the vocabulary knows none of them.

Words are numbers: PAD 0, UNKNOWN 1, END 2, then the vocabulary's; a number of the vocabulary's
size V or more stands for a word outside it, which can only be copied.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from pipeline.models.beam import search
from pipeline.models.decoder import PAD, UNKNOWN, Decoder
from pipeline.models.layers import Linear, keep_mask
from pipeline.models.passes import total_and_chosen
from pipeline.models.source_words import (
    Reading,
    WordVectors,
    first_places,
    read,
    reading_layers,
    shifted,
)
from pipeline.models.trunk import Rates

_SMALLEST = 1e-9  # chance below which a word counts as impossible


@dataclass(frozen=True)
class GeneratorShape:
    """What gives a decoder its shape.

    Attributes:
        vocabulary: V, the words that can be written without copying, specials included.
        read: S, words of the source that are read.
        write: T, most words that are written, the end included.
        width: H, of embeddings and states.
        beam: Texts kept while writing; 1 takes the likeliest word each time.
    """

    vocabulary: int
    read: int
    write: int
    width: int
    beam: int

    def to_json(self) -> dict[str, int]:
        """Returns plain JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> GeneratorShape:
        """Reads what `to_json` gave."""
        return cls(**values)


class Generator(Decoder):
    """The decoder of one task, learned from nothing.

    Args:
        n_members: K.
        shape: Its shape.
        dtype: Of the parameters.
    """

    def __init__(self, n_members: int, shape: GeneratorShape, dtype: torch.dtype) -> None:
        super().__init__()
        self.shape = shape
        width = shape.width

        def linear(n_in: int, n_out: int) -> Linear:
            return Linear(n_members, n_in, n_out, dtype)

        self.words = WordVectors(n_members, shape.vocabulary, shape.read, width, dtype)
        self.near, self.far = reading_layers(n_members, width, dtype)
        self.start = linear(width, width)
        self.of_word = linear(width, 3 * width)
        self.of_state = linear(width, 3 * width)
        self.query = linear(width, width)
        self.mix = linear(2 * width, width)
        self.output = linear(width, shape.vocabulary)
        self.gate = linear(3 * width, 1)

    def losses(
        self, opening: Tensor, source: Tensor, target: Tensor, rates: Rates | None
    ) -> Tensor:
        """See `Decoder.losses` and `score`."""
        present = target != PAD  # (R, T)
        rows = present.any(1).nonzero().squeeze(1)
        found = opening[..., :2] * 0
        if not len(rows):
            return found
        words = target[rows, : int(present.sum(1).max())]
        read = source[rows]
        read = read[:, : max(1, int((read != PAD).any(0).sum()))]
        kept = None
        if rates is not None and rates.head is not None:
            # One shape for all batches, so that noise is drawn for many steps at once.
            noise = rates.noise.uniform("generator", (*target.shape, self.shape.width))
            kept = keep_mask(noise[rows, : words.shape[1]], rates.head)
        scores = -self.score(opening[:, rows], read, words, kept)
        n_words = words.shape[1]
        both = torch.stack([scores[..., :n_words], scores[..., n_words:]], dim=3)  # (K, R, T, 2)
        count = (words != PAD).sum(1, keepdim=True)
        return found.index_copy(1, rows, both.sum(2) / count)

    def read(self, source: Tensor) -> Reading:
        """Reads (R, S) words."""
        return read(self.words, (self.near, self.far), source)

    def begin(self, opening: Tensor, reading: Reading) -> Tensor:
        """Returns the (K, R, H) first state, from what the trunk says and the whole source."""
        shown = (~reading.hidden).to(opening.dtype)[..., None]
        whole = (reading.states * shown).sum(2) / shown.sum(1)
        return torch.tanh(opening + self.start(whole))

    def step(self, state: Tensor, from_word: Tensor) -> Tensor:
        """Moves (K, R, H) states on, a GRU's cell.

        Args:
            state: (K, R, H).
            from_word: (K, R, 3 H) `of_word` of the words written last.
        """
        from_state = self.of_state(state)
        reset_w, update_w, new_w = from_word.chunk(3, dim=2)
        reset_s, update_s, new_s = from_state.chunk(3, dim=2)
        update = torch.sigmoid(update_w + update_s)
        new = torch.tanh(new_w + torch.sigmoid(reset_w + reset_s) * new_s)
        return torch.lerp(new, state, update)

    def look(
        self, states: Tensor, embedded: Tensor, before: Tensor, reading: Reading
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Decides what states write.

        Args:
            states: (K, R, L, H) at L steps of each row.
            embedded: (K, R, L, H) of the words before.
            before: (R, L) the words written before, or (K, R, L) where members differ.
            reading: The sources.

        Returns:
            (K, R, L, H) of which `output` makes logits, (K, R, L, S) attention, and (K, R, L)
            chance that a word is written and not copied.
        """
        shape = states.shape[:3]
        queries = self.query(states.flatten(1, 2)).unflatten(1, shape[1:])
        scores = queries @ reading.states.mT / math.sqrt(self.shape.width)  # (K, R, L, S)
        follows = (shifted(reading.words).unsqueeze(-2) == before.unsqueeze(-1)) & (
            before.unsqueeze(-1) > UNKNOWN
        )
        scores = scores + self.words.follow.unsqueeze(-1) * follows.to(scores.dtype)
        attention = scores.masked_fill(reading.hidden.unsqueeze(1), -1e9).softmax(-1)
        context = attention @ reading.states  # (K, R, L, H)
        both = torch.cat([states, context], dim=3)
        mixed = torch.tanh(self.mix(both.flatten(1, 2))).reshape(states.shape)
        gate = self.gate(torch.cat([both, embedded], dim=3).flatten(1, 2)).unflatten(1, shape[1:])
        return mixed, attention, torch.sigmoid(gate.squeeze(-1))

    def score(
        self, opening: Tensor, source: Tensor, target: Tensor, kept: Tensor | None = None
    ) -> Tensor:
        """Returns how likely the words of references are, each after those before it.

        Args:
            opening: (K, R, H) what the trunk says.
            source: (R, S) words.
            target: (R, T) words, PAD behind the end.
            kept: (K, R, T, H) dropout of a training step: what states say is multiplied by it.

        Returns:
            (K, R, 2 T): log chance of each word, then the mean over the vocabulary of the log
            chances in its place, which label smoothing needs; 0 where there is no word.
        """
        reading = self.read(source)
        before = shifted(target)
        embedded = self.words(before)  # (K, R, T, H)
        from_words = self.of_word(embedded.flatten(1, 2)).reshape(*embedded.shape[:3], -1)
        state = self.begin(opening, reading)
        states = []
        for position in range(target.shape[1]):
            state = self.step(state, from_words[:, :, position])
            states.append(state)
        mixed, attention, writes = self.look(torch.stack(states, dim=2), embedded, before, reading)
        copied = (attention * (source[:, None] == target[:, :, None])).sum(-1)  # (K, R, T)
        mixed = mixed if kept is None else mixed * kept
        at = (target != PAD).flatten().nonzero().squeeze(1)  # (P,) places with a word
        mixed, writes, copied = (x.flatten(1, 2)[:, at] for x in (mixed, writes, copied))
        word = target.flatten()[at]
        known = word < self.shape.vocabulary
        weight, bias = self.output.weight, self.output.bias
        total, own = total_and_chosen(mixed, weight, bias, torch.where(known, word, UNKNOWN))
        chance = writes * (own - total).exp() * known + (1 - writes) * copied
        # The mean of logits is linear in the state: no need to go over the vocabulary.
        mean = (mixed @ weight.mean(2, keepdim=True)).squeeze(2) + bias.mean(2) - total
        whole = [mixed.new_zeros(len(mixed), target.numel()).index_copy(1, at, values)
                 for values in (chance.clamp_min(_SMALLEST).log(), mean)]  # fmt: skip
        return torch.cat([part.reshape(-1, *target.shape) for part in whole], dim=2)

    def candidates(
        self, state: Tensor, word: Tensor, reading: Reading, first: Tensor, most: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Moves one word on.

        Of words that the source lacks, only the likeliest can be among the `most` likeliest of
        all; those of the source, which may be copied, all are candidates.

        Args:
            state: (K, R, H).
            word: (K, R) written last.
            reading: The sources.
            first: (R, S) place where the word of each place stands first.
            most: Words that are wanted beside those of the source.

        Returns:
            The next (K, R, H) states, and the (K, R, most + S) log chances and words; a word is
            there twice or impossible with the smallest chance.
        """
        embedded = self.words(word.unsqueeze(-1))
        state = self.step(state, self.of_word(embedded.squeeze(2)))
        mixed, attention, gate = self.look(
            state.unsqueeze(2), embedded, word.unsqueeze(-1), reading
        )
        logits = self.output(mixed.squeeze(2))  # (K, R, V)
        total = logits.logsumexp(2, keepdim=True)
        source = reading.words.expand(len(state), -1, -1)
        known = source < self.shape.vocabulary
        at = torch.where(known, source, PAD)
        copied = (1 - gate) * attention[:, :, 0]  # (K, R, S)
        copied = torch.zeros_like(copied).scatter_add(2, first.expand_as(copied), copied)
        inside = gate * (logits.gather(2, at) - total).exp() * known + copied
        places = torch.arange(first.shape[1], device=first.device)
        here = inside * ((first == places) & (reading.words > UNKNOWN))
        logits.scatter_(2, at, -torch.inf)
        logits[:, :, [PAD, UNKNOWN]] = -torch.inf
        likeliest = logits.topk(most, dim=2)
        outside = gate * (likeliest.values - total).exp()
        chance = torch.cat([outside, here], dim=2).clamp_min(_SMALLEST).log()
        return state, chance, torch.cat([likeliest.indices, source], dim=2)

    def write(self, opening: Tensor, source: Tensor, beam: int) -> Tensor:
        """See `Decoder.write`; `search` says how the likeliest text is looked for."""
        n_rows = opening.shape[1]
        if not n_rows:
            return source.new_zeros(len(opening), 0, self.shape.write)
        first = self.read(source)
        reading = first.repeated(beam)
        places = first_places(reading.words)
        most = min(beam, self.shape.vocabulary)

        def advance(state: Tensor, word: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            return self.candidates(state, word, reading, places, most)

        return search(advance, self.begin(opening, first), beam, self.shape.write)
