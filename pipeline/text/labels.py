"""What a sentence scorer learns: which sentences of a document its references stand for."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.text.tokens import tokenize

_MEMBERS = 0.8  # share of a reference's words in whole sentences from which it is an extract


@dataclass(frozen=True)
class SentenceLabels:
    """Which sentences to choose.

    Attributes:
        chosen: (S,) whether a sentence belongs to the summary.
        value: (S,) mean of ROUGE-1 and ROUGE-2 F of the sentence alone, against its best
            reference.
        origin: `membership` where a reference consists of the document's sentences, else `oracle`.
    """

    chosen: NDArray[np.bool_]
    value: NDArray[np.float64]
    origin: Literal["membership", "oracle"]


def label_sentences(
    sentences: Sequence[str], references: Sequence[str], most: int | None = None
) -> SentenceLabels:
    """Labels the sentences of a document by its references.

    Args:
        sentences: Of the document.
        references: One or more texts with a word.
        most: Largest number of sentences that the oracle takes; by default it stops where no
            sentence adds to the overlap.
    """
    words = [tokenize(sentence) for sentence in sentences]
    wanted = [tokenize(reference) for reference in references]
    tables = [_Overlap(words, reference) for reference in wanted]
    value = np.max([table.alone() for table in tables], axis=0, initial=0.0)
    members = [members_of(words, reference) for reference in wanted]
    shares = [
        sum(len(words[i]) for i in np.flatnonzero(found)) / max(len(reference), 1)
        for found, reference in zip(members, wanted, strict=True)
    ]
    best = int(np.argmax(shares))
    if shares[best] >= _MEMBERS:
        return SentenceLabels(members[best], value, "membership")
    greedy = [table.greedy(most) for table in tables]
    chosen, _ = max(greedy, key=lambda found: found[1])
    return SentenceLabels(chosen, value, "oracle")


def members_of(words: Sequence[Sequence[str]], reference: Sequence[str]) -> NDArray[np.bool_]:
    """Tells which sentences stand whole in a reference, wherever its own full stops are.

    The longest is looked for first, and what it covers is taken out, so that "He said." inside
    another sentence is no member.

    Args:
        words: Tokens of each sentence.
        reference: Tokens of the reference.
    """
    rest = f" {' '.join(reference)} "
    found = np.zeros(len(words), dtype=bool)
    for position in sorted(range(len(words)), key=lambda i: -len(words[i])):
        needle = f" {' '.join(words[position])} "
        if words[position] and needle in rest:
            found[position] = True
            rest = rest.replace(needle, " | ", 1)  # no token: nothing matches across it
    return found


class _Overlap:
    """Counts of a reference's words and pairs of words in each sentence of a document."""

    def __init__(self, words: Sequence[Sequence[str]], reference: Sequence[str]) -> None:
        self._sizes = np.array([len(tokens) for tokens in words], dtype=np.float64)
        self._n_sentences = len(words)
        self._tables = [_table(words, reference, size) for size in (1, 2)]
        self._n_reference = len(reference)

    def alone(self) -> NDArray[np.float64]:
        """Returns each sentence's mean of ROUGE-1 and ROUGE-2 F."""
        return self._after(np.zeros(self._n_sentences, dtype=bool))

    def greedy(self, most: int | None) -> tuple[NDArray[np.bool_], float]:
        """Adds the sentence that raises the overlap most until none does (Nallapati et al., 2017).

        Returns:
            (S,) the chosen ones, and their overlap.
        """
        chosen = np.zeros(self._n_sentences, dtype=bool)
        best = 0.0
        while not chosen.all() and (most is None or chosen.sum() < most):
            values = np.where(chosen, -1.0, self._after(chosen))
            position = int(values.argmax())
            if values[position] <= best:
                break
            chosen[position] = True
            best = float(values[position])
        return chosen, best

    def _after(self, chosen: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Returns the overlap of the chosen sentences together with each one in turn."""
        total = np.zeros(self._n_sentences)
        for less, (counts, wanted) in enumerate(self._tables):
            both = counts[chosen].sum(axis=0) + counts  # (S, V)
            hits = np.minimum(both, wanted).sum(axis=1)
            sizes = np.maximum(self._sizes - less, 0)
            found = sizes[chosen].sum() + sizes
            below = found + max(self._n_reference - less, 0)
            total += np.divide(2 * hits, below, out=np.zeros_like(hits), where=below > 0)
        return total / 2


def _table(
    words: Sequence[Sequence[str]], reference: Sequence[str], size: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Returns (S, V) counts of the reference's V distinct n-grams, and their (V,) counts in it."""
    wanted = Counter(zip(*(reference[start:] for start in range(size)), strict=False))
    columns = {gram: column for column, gram in enumerate(wanted)}
    counts = np.zeros((len(words), len(columns)), dtype=np.float64)
    for row, tokens in enumerate(words):
        for gram in zip(*(tokens[start:] for start in range(size)), strict=False):
            column = columns.get(gram)
            if column is not None:
                counts[row, column] += 1
    return counts, np.array(list(wanted.values()), dtype=np.float64)
