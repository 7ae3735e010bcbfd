"""The encoder `bag`, as far as it is fitted: documents become numbers of their words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipeline.data.text_encoding import Cut, Progress, TextInputs, named_progress
from pipeline.text.numbering import WordNumbers, fit_word_numbers

if TYPE_CHECKING:
    from pipeline.study.encoder_spec import EncoderSpec


@dataclass(frozen=True)
class WordTokens:
    """Words as numbers; their vectors, and those of pairs of words, are learned by the network.

    Attributes:
        numbers: The vocabulary.
    """

    numbers: WordNumbers

    name = "bag"
    width = 0

    @property
    def vocabulary(self) -> Mapping[str, int]:
        """Numbers that may occur."""
        return {self.name: self.numbers.n_numbers}

    @property
    def shape(self) -> Mapping[str, Any]:
        """Nothing; see `TextPart`."""
        return {}

    def encode(self, texts: Sequence[str], progress: Progress | None = None) -> TextInputs:
        """Turns documents into rows of numbers."""
        found, cut = self.numbers.transform(
            texts, named_progress(progress, "Reading words, documents")
        )
        none = np.zeros((len(texts), 0), np.float32)
        ends = Cut(cut, self.numbers.most, "words", self.name, "model.encoder.max_words")
        return TextInputs(none, {self.name: found}, ends)

    def to_json(self) -> Mapping[str, Any]:
        """Returns how far documents are read."""
        return {"max_words": self.numbers.most}

    def arrays(self) -> Mapping[str, NDArray[Any]]:
        """Returns the hashes of the vocabulary."""
        return {"words": self.numbers.hashes}

    def save(self, folder: Path) -> None:
        """Writes nothing: its array is all."""

    @classmethod
    def from_json(
        cls,
        values: Mapping[str, Any],
        arrays: Mapping[str, NDArray[Any]],
        folder: Path | None = None,
    ) -> WordTokens:
        """Rebuilds what `to_json` and `arrays` gave."""
        return cls(WordNumbers(arrays["words"], values["max_words"]))

    @classmethod
    def fit(
        cls, texts: Sequence[str], spec: EncoderSpec, progress: Progress | None = None
    ) -> WordTokens:
        """Fits the vocabulary on the documents of train."""
        told = named_progress(progress, "Counting words, documents")
        return cls(fit_word_numbers(texts, spec.vocabulary, spec.max_words, told))
