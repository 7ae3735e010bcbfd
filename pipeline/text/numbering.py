"""Documents as numbers of words: what networks that learn a vector for each word read.

A word is a run of letters and digits, in lower case; a character of a script without spaces is a
word of its own (see `terms`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.text.batching import Tell, batches
from pipeline.text.ragged import Ragged, from_lengths
from pipeline.text.terms import Hashes, read_words
from pipeline.text.tfidf import TermCounter

PAD, UNKNOWN, FIRST_TOKEN = 0, 1, 2
"""Number behind the end of a document, of a word outside the vocabulary, of the first word."""


@dataclass(frozen=True)
class WordNumbers:
    """A fitted vocabulary.

    Attributes:
        hashes: (V,) of the words, sorted; the word at place i has the number `FIRST_TOKEN` + i.
        most: Words of a document that are read; what comes later is cut off.
    """

    hashes: Hashes
    most: int

    @property
    def n_numbers(self) -> int:
        """Numbers that may occur, those of padding and of unknown words among them."""
        return FIRST_TOKEN + len(self.hashes)

    def transform(
        self, texts: Sequence[str], tell: Tell | None = None
    ) -> tuple[Ragged, NDArray[np.bool_]]:
        """Returns the words of N documents, and (N,) whether one was cut."""
        parts, cut = [], np.zeros(len(texts), np.bool_)
        for part in batches(texts, tell):
            words = read_words(texts[part])
            lengths = np.bincount(words.document, minlength=words.n_documents)
            cut[part] = lengths > self.most
            place = np.searchsorted(self.hashes, words.hashes)
            place[place == len(self.hashes)] = 0
            known = self.hashes[place] == words.hashes if len(self.hashes) else place > 0
            numbers = np.where(known, place + FIRST_TOKEN, UNKNOWN).astype(np.int32)
            parts.append(Ragged(from_lengths(lengths), numbers).cut(self.most))
        return Ragged.joined(parts), cut


def fit_word_numbers(
    texts: Sequence[str], vocabulary: int, most: int, tell: Tell | None = None
) -> WordNumbers:
    """Chooses the words that have a number of their own: those of most documents.

    Args:
        texts: Train documents.
        vocabulary: Most words. A word of a single document has none, so that the vector of
            unknown words is learned.
        most: Words of a document that are read.
        tell: Told of each batch.
    """
    counter = TermCounter()
    for part in batches(texts, tell):
        words = read_words(texts[part])
        counter.add(words.hashes, words.document)
    return WordNumbers(counter.terms[counter.chosen(len(texts), vocabulary)], most)
