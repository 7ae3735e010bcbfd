"""Term weights of documents: tf-idf over words, over pieces of words, and over signs."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.text.batching import Tell, batches
from pipeline.text.ragged import Ragged, from_lengths
from pipeline.text.terms import Hashes, piece_terms, read_words, sign_terms, word_terms

MOST_TERMS = 2**15
"""Terms kept of each block, the most frequent: bounds the directions, V * width * 2 bytes."""
FEWEST_DOCUMENTS = 2
"""Documents of train that must have a term: one that a single document has says nothing."""
_NAMES = ("word", "piece", "sign")


@dataclass(frozen=True)
class Block:
    """The vocabulary of one kind of term.

    Attributes:
        terms: (V,) hashes, sorted.
        idf: (V,) ln((1 + n) / (1 + documents)) + 1, as in scikit-learn's smooth form.
    """

    terms: Hashes
    idf: NDArray[np.float32]


@dataclass(frozen=True)
class Tfidf:
    """Fitted vocabularies: the columns of a document's sparse row are those of the blocks in turn.

    A term that stands n times in a document weighs (1 + ln n) * idf. Each block of a document is
    scaled by itself, so that the many pieces do not drown the words: the words to length 1, the
    pieces to the root of the share of its words that have pieces. A Chinese document that quotes
    one English name would else be that name to one half. Signs are scaled to length 1, and there
    only where they were asked for.
    """

    words: Block
    pieces: Block
    signs: Block | None = None

    @property
    def blocks(self) -> tuple[Block, ...]:
        """Those that are there, in the order of their columns."""
        found = (self.words, self.pieces, self.signs)
        return tuple(block for block in found if block is not None)

    @property
    def n_terms(self) -> int:
        """Columns of a sparse row."""
        return sum(len(block.terms) for block in self.blocks)

    def transform(self, texts: Sequence[str], tell: Tell | None = None) -> Ragged:
        """Returns the sparse rows of documents, columns in order."""
        return Ragged.joined([self._rows(texts[part]) for part in batches(texts, tell)])

    def _rows(self, texts: Sequence[str]) -> Ragged:
        n_documents, width, offset = len(texts), self.n_terms, 0
        keys, weights = [], []
        for block, (hashes, documents, length) in zip(
            self.blocks, _terms(texts, self.signs is not None), strict=True
        ):
            place = np.searchsorted(block.terms, hashes)
            place[place == len(block.terms)] = 0
            known = block.terms[place] == hashes if len(block.terms) else np.zeros(0, np.bool_)
            cells, counts = np.unique(documents[known] * width + place[known], return_counts=True)
            weight = (1 + np.log(counts)) * block.idf[cells % width]
            squares = np.bincount(cells // width, weight**2, minlength=n_documents)
            weights.append(weight * (length / np.sqrt(squares).clip(1e-12))[cells // width])
            keys.append(cells + offset)
            offset += len(block.terms)
        key = np.concatenate(keys)
        order = np.argsort(key, kind="stable")
        lengths = np.bincount(key // width, minlength=n_documents) if width else [0] * n_documents
        return Ragged(
            from_lengths(lengths),
            (key % max(width, 1))[order].astype(np.int32),
            np.concatenate(weights)[order].astype(np.float32),
        )

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Returns what `from_arrays` takes."""
        named = zip(_NAMES, self.blocks, strict=False)
        return {f"{name}_{key}": array for name, block in named
                for key, array in vars(block).items()}  # fmt: skip

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> "Tfidf":
        """Rebuilds what `arrays` gave."""
        return cls(*(Block(arrays[f"{name}_terms"], arrays[f"{name}_idf"])
                     for name in _NAMES if f"{name}_terms" in arrays))  # fmt: skip


def fit_tfidf(
    texts: Sequence[str],
    most_terms: int = MOST_TERMS,
    tell: Tell | None = None,
    signs: bool = False,
) -> Tfidf:
    """Chooses the vocabulary and its weights.

    Args:
        texts: Train documents.
        most_terms: Terms kept of each block: those of most documents, by hash where equal.
        tell: Told of each batch.
        signs: Whether signs are terms.
    """
    counters = [TermCounter() for _ in _NAMES[: 2 + signs]]
    for part in batches(texts, tell):
        for counter, (hashes, documents, _) in zip(
            counters, _terms(texts[part], signs), strict=True
        ):
            counter.add(hashes, documents)
    return Tfidf(*(_block(counter, len(texts), most_terms) for counter in counters))


class TermCounter:
    """Counts the documents of each term, batch by batch."""

    def __init__(self) -> None:
        self.terms: Hashes = np.zeros(0, np.uint64)
        self.counts: NDArray[np.int64] = np.zeros(0, np.int64)

    def add(self, hashes: Hashes, documents: NDArray[np.int64]) -> None:
        """Counts the documents of a batch."""
        terms, place = np.unique(hashes, return_inverse=True)
        cells = np.unique(documents * max(len(terms), 1) + place)
        counts = np.bincount(cells % max(len(terms), 1), minlength=len(terms))
        both = np.concatenate([self.terms, terms])
        self.terms, place = np.unique(both, return_inverse=True)
        self.counts = np.bincount(
            place, np.concatenate([self.counts, counts]), minlength=len(self.terms)
        ).astype(np.int64)

    def chosen(self, n_documents: int, most: int) -> NDArray[np.int64]:
        """Returns the places of the terms of most documents, in the order of their hashes.

        Args:
            n_documents: All documents that were counted.
            most: Terms chosen; of equal ones those of smaller hash.
        """
        kept = np.flatnonzero(self.counts >= min(FEWEST_DOCUMENTS, n_documents))
        by_count = kept[np.argsort(-self.counts[kept], kind="stable")]
        return np.sort(by_count[:most])


def _block(counter: TermCounter, n_documents: int, most_terms: int) -> Block:
    chosen = counter.chosen(n_documents, most_terms)
    idf = np.log((1 + n_documents) / (1 + counter.counts[chosen])) + 1
    return Block(counter.terms[chosen], idf.astype(np.float32))


def _terms(
    texts: Sequence[str], signs: bool
) -> Iterator[tuple[Hashes, NDArray[np.int64], NDArray[np.float64]]]:
    """Yields of each block the hashes, their documents, and the length of each document's row."""
    words = read_words(texts)
    n_words, n_spaced = (
        np.bincount(found, minlength=len(texts))
        for found in (words.document, words.document[~words.alone])
    )
    yield (*word_terms(words), np.ones(len(texts)))
    yield (*piece_terms(words), np.sqrt(n_spaced / n_words.clip(1)))
    if signs:
        yield (*sign_terms(read_words(texts, lower=False)), np.ones(len(texts)))
