"""Documents in pieces, with their references: what a choice of pieces is scored against."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from pipeline.tasks.base import Decoded
from pipeline.text.choice import Budget, choose, choose_near, join, n_words
from pipeline.text.cleaning import shown_text
from pipeline.text.rouge import copied_share, length_ratio, rouge
from pipeline.text.sentences import split_clauses, split_sentences
from pipeline.text.tokens import is_unspaced

MOST_PIECES = 1000
"""Pieces of a document that may be chosen; a longer document is summarised from its first."""

Unit = Literal["sentence", "clause"]

_Made = TypeVar("_Made")


def split_document(text: str, unit: Unit) -> tuple[str, ...]:
    """Returns the sentences or clauses that may be chosen, without those that have no word.

    A summary shows no tags of HTML and no control characters: they are taken out here.
    """
    text = shown_text(text)
    pieces = split_clauses(text) if unit == "clause" else split_sentences(text)
    worded = [piece.strip() for piece in pieces if n_words(piece)]
    return tuple(_without_comma(piece) if unit == "clause" else piece for piece in worded)[
        :MOST_PIECES
    ]


def _without_comma(clause: str) -> str:
    return clause.rstrip(",;:\uff0c\uff1b\uff1a.\u3002").rstrip()


@dataclass(frozen=True)
class Document:
    """One document.

    Attributes:
        pieces: Its sentences or clauses, in order.
        references: Summaries by people; none where the document is only to be summarised.
        title: Its title, where that is an input; a summary to compare with.
    """

    pieces: tuple[str, ...]
    references: tuple[str, ...] = ()
    title: str = ""

    @cached_property
    def lengths(self) -> list[int]:
        """Words of each piece."""
        return [n_words(piece) for piece in self.pieces]

    @cached_property
    def unspaced(self) -> bool:
        """Whether it is written without spaces."""
        return is_unspaced("".join(self.pieces))

    @cached_property
    def text(self) -> str:
        """The pieces as one text."""
        return join(self.pieces, range(len(self.pieces)), self.unspaced)

    @cached_property
    def n_wanted(self) -> int:
        """Words of its references on average."""
        return round(sum(map(n_words, self.references)) / max(len(self.references), 1))

    def choose(self, scores: Sequence[float] | NDArray[Any], budget: Budget,
               near: bool) -> tuple[int, ...]:  # fmt: skip
        """Chooses pieces by their scores, under a budget, or near a length.

        Args:
            scores: One a piece.
            budget: The most that fits.
            near: Choose about as many words as the references have instead; without references,
                about the budget's share.
        """
        if near:
            n_wanted = self.n_wanted if self.references else budget.amount * sum(self.lengths)
            return tuple(choose_near(scores, self.lengths, round(n_wanted)))
        return tuple(choose(scores, self.lengths, budget))

    def summary(self, chosen: Sequence[int]) -> str:
        """Returns the chosen pieces as a text."""
        return join(self.pieces, chosen, self.unspaced)


@dataclass(frozen=True)
class Documents:
    """All documents of a task, by their number; scores of a choice are remembered.

    A member changes few choices from one epoch to the next, and members agree on many: a choice
    is scored once in a process.
    """

    documents: tuple[Document, ...]
    _known: dict[tuple[str, int, tuple[int, ...] | str], float] = field(
        default_factory=dict, repr=False, compare=False
    )

    def __len__(self) -> int:
        return len(self.documents)

    def __getitem__(self, number: int) -> Document:
        return self.documents[number]

    def score(self, metric: str, number: int, chosen: tuple[int, ...]) -> float:
        """Returns rouge1, rouge2, rougeL, `copied` or `length` of a choice of pieces."""
        key = (metric, number, chosen)
        found = self._known.get(key)
        if found is None:
            document = self.documents[number]
            found = self._known[key] = score_text(metric, document.summary(chosen), document)
        return found

    def score_of_text(self, metric: str, number: int, text: str) -> float:
        """Returns a measure of any text as the summary of a document; see `score`."""
        key = (metric, number, text)
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = score_text(metric, text, self.documents[number])
        return found

    def to_json(self) -> list[Any]:
        """Returns plain JSON values."""
        return [[one.pieces, one.references, one.title] for one in self.documents]

    @classmethod
    def from_json(cls, stored: Iterable[Sequence[Any]]) -> Documents:
        """Reads what `to_json` gave, or what was stored before documents had titles."""
        return cls(
            tuple(
                Document(tuple(pieces), tuple(references), *title)
                for pieces, references, *title in stored
            )
        )


@dataclass(frozen=True)
class AboutDocuments(Decoded):
    """Answers that are scored by texts, which take long to make; those of one target are kept."""

    _made: dict[str, tuple[NDArray[Any], Any]] = field(
        default_factory=dict, repr=False, compare=False, kw_only=True
    )

    def once(self, what: str, target: NDArray[Any], make: Callable[[], _Made]) -> _Made:
        """Returns what is made of a target, made once while the same array is asked for.

        A bootstrap asks for the scores of the same rows under each of its draws.

        Args:
            what: Names it.
            target: Of the rows.
            make: Makes it.
        """
        known = self._made.get(what)
        if known is None or known[0] is not target:
            known = self._made[what] = (target, make())
        found: _Made = known[1]
        return found


def score_text(metric: str, summary: str, document: Document) -> float:
    """Returns one measure of any text as the summary of a document."""
    if metric == "copied":
        return copied_share(summary, document.text)
    if metric == "length":
        return length_ratio(summary, document.references)
    return rouge(metric, summary, document.references)


def mean_or_nan(values: Iterable[float]) -> float:
    """Returns the mean of the values that are numbers."""
    defined = [value for value in values if not math.isnan(value)]
    return float(np.mean(defined)) if defined else float("nan")
