"""ROUGE-1, ROUGE-2 and ROUGE-L (Lin, 2004), and what stands beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from pipeline.errors import InputError
from pipeline.text.tokens import RougeTokenizer, tokenize

if TYPE_CHECKING:
    from rouge_score.rouge_scorer import RougeScorer

ROUGES = ("rouge1", "rouge2", "rougeL")


@cache
def _scorer(name: str) -> RougeScorer:
    try:
        from rouge_score.rouge_scorer import RougeScorer
    except ImportError as error:
        raise InputError(
            "Summaries are scored by the library rouge-score, which is not installed. "
            "Install it by `pip install mtl-pipeline[text]`."
        ) from error
    return RougeScorer([name], tokenizer=RougeTokenizer())


def rouge(name: str, summary: str, references: Sequence[str]) -> float:
    """Returns the F measure of one summary, against the reference for which it is highest.

    ROUGE-1 and ROUGE-2 are the rouge-score library's. So is the value of ROUGE-L, but the longest
    common subsequence is counted here: the library fills a table cell by cell, which takes half a
    second for two texts of 2,000 words, and hours for long documents.

    Args:
        name: rouge1, rouge2 or rougeL.
        summary: The text to judge; an empty one scores 0.
        references: One or more texts; an empty one scores 0.
    """
    if name == "rougeL":
        found = tokenize(summary)
        return max(f_of_longest_common(found, tokenize(text)) for text in references)
    return float(_scorer(name).score_multi(references, summary)[name].fmeasure)


def f_of_longest_common(found: Sequence[str], wanted: Sequence[str]) -> float:
    """Returns the F measure of the longest common subsequence of two lists of tokens."""
    length = longest_common(found, wanted)
    return 2 * length / (len(found) + len(wanted)) if length else 0.0


def longest_common(first: Sequence[str], second: Sequence[str]) -> int:
    """Returns the length of the longest common subsequence, by bits (Hyyro, 2004).

    Bit i of the state is 0 where the table's column rises at row i; a step adds and masks whole
    columns as one integer: n * m / 64 operations in place of n * m.
    """
    places: dict[str, int] = {}
    for position, token in enumerate(first):
        places[token] = places.get(token, 0) | 1 << position
    every = (1 << len(first)) - 1
    state = every
    for token in second:
        matched = state & places.get(token, 0)
        state = (state + matched | state - matched) & every
    return len(first) - state.bit_count()


def copied_share(summary: str, document: str) -> float:
    """Returns the share of a summary's pairs of neighbouring tokens that the document has.

    1 for an extract, low for invented text. Of one token, whether the document has it; NaN for
    an empty summary, which copies nothing and invents nothing.
    """
    found, given = tokenize(summary), tokenize(document)
    if not found:
        return float("nan")
    size = min(2, len(found))
    known = set(_grams(given, size))
    pairs = _grams(found, size)
    return sum(pair in known for pair in pairs) / len(pairs)


def length_ratio(summary: str, references: Sequence[str]) -> float:
    """Returns the tokens of a summary over the mean tokens of its references; 1 is as long.

    NaN where the references are empty.
    """
    lengths = [len(tokenize(text)) for text in references]
    return len(tokenize(summary)) * len(lengths) / sum(lengths) if sum(lengths) else float("nan")


def _grams(tokens: Sequence[str], size: int) -> list[tuple[str, ...]]:
    return list(zip(*(tokens[start:] for start in range(size)), strict=False))


def rouges(summary: str, references: Sequence[str]) -> Mapping[str, Any]:
    """Returns all three F measures of one summary."""
    return {name: rouge(name, summary, references) for name in ROUGES}
