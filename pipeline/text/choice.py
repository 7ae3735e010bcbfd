"""Which sentences a summary takes: the best under a budget, in the order of the article."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.text.tokens import tokenize

BudgetUnit = Literal["sentences", "words", "share"]


@dataclass(frozen=True)
class Budget:
    """How much of a document a summary may take.

    Attributes:
        unit: `sentences` counts sentences (or clauses); `words` counts words, for Chinese
            characters; `share` is the part of the document's words, between 0 and 1.
        amount: How many, or which share.
    """

    unit: BudgetUnit
    amount: float


def n_words(text: str) -> int:
    """Counts words, and characters of scripts without spaces."""
    return len(tokenize(text))


def choose(scores: Sequence[float] | NDArray[np.floating], lengths: Sequence[int],
           budget: Budget) -> list[int]:  # fmt: skip
    """Chooses the sentences with the highest scores that fit a budget.

    Sentences are tried from the highest score down (of equals the earlier first); one that would
    pass the budget is skipped, and a shorter one may follow. At least one is chosen, so that no
    summary is empty: the best that has a word.

    Args:
        scores: (S,) one a sentence; NaN counts as the lowest.
        lengths: (S,) words of each sentence.
        budget: How much fits.

    Returns:
        Positions in rising order, which is the article's. Empty for no sentences.
    """
    order = np.argsort(-np.nan_to_num(np.asarray(scores, np.float64), nan=-np.inf), kind="stable")
    ranked = [int(position) for position in order if lengths[position]] or order[:1].tolist()
    if budget.unit == "sentences":
        return sorted(ranked[: max(1, int(budget.amount))])
    words = budget.amount * sum(lengths) if budget.unit == "share" else budget.amount
    chosen: list[int] = []
    used = 0
    for position in ranked:
        if used + lengths[position] <= words:
            chosen.append(position)
            used += lengths[position]
    return sorted(chosen or ranked[:1])


def choose_near(scores: Sequence[float] | NDArray[np.floating], lengths: Sequence[int],
                n_wanted: int) -> list[int]:  # fmt: skip
    """Chooses sentences from the highest score down until their words come nearest a number.

    For comparisons at the length of a reference, where a hard budget would leave every summary
    shorter than its reference. At least one is chosen.

    Returns:
        Positions in rising order.
    """
    order = np.argsort(-np.nan_to_num(np.asarray(scores, np.float64), nan=-np.inf), kind="stable")
    chosen: list[int] = []
    used = 0
    for position in order.tolist():
        if chosen and abs(used + lengths[position] - n_wanted) > abs(used - n_wanted):
            break
        chosen.append(position)
        used += lengths[position]
    return sorted(chosen)


def join(pieces: Sequence[str], chosen: Sequence[int], unspaced: bool) -> str:
    """Joins chosen sentences to a text: by a space, or by nothing in a script without spaces."""
    return ("" if unspaced else " ").join(pieces[position].strip() for position in chosen)


def first_words(text: str, n_wanted: int) -> str:
    """Returns the beginning of a text up to a number of words, as it is written there."""
    from pipeline.text.tokens import token_ends

    ends = token_ends(text, n_wanted)
    return text[: ends[-1]].strip() if ends else ""
