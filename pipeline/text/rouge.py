"""ROUGE-1, ROUGE-2 and ROUGE-L (Lin, 2004), and what stands beside them.

The values are those of the rouge-score library with `RougeTokenizer` (tested on hard inputs). They
are counted here because a longest common subsequence takes the library half a second for two texts
of 2,000 words, and hours for long documents; and because served models carry this module, but not
the library.
"""

from collections import Counter
from collections.abc import Sequence

from pipeline.text.tokens import tokenize

ROUGES = ("rouge1", "rouge2", "rougeL")


def rouge(name: str, summary: str, references: Sequence[str]) -> float:
    """Returns the F measure of one summary, against the reference for which it is highest.

    Args:
        name: rouge1, rouge2 or rougeL.
        summary: The text to judge; an empty one scores 0.
        references: One or more texts; an empty one scores 0.
    """
    found = tokenize(summary)
    wanted = [tokenize(text) for text in references]
    if name == "rougeL":
        return max(f_of_longest_common(found, tokens) for tokens in wanted)
    size = {"rouge1": 1, "rouge2": 2}[name]
    return max(f_of_grams(found, tokens, size) for tokens in wanted)


def f_of_grams(found: Sequence[str], wanted: Sequence[str], size: int) -> float:
    """Returns the F measure of the runs of `size` tokens that two lists have in common."""
    ours, theirs = Counter(_grams(found, size)), Counter(_grams(wanted, size))
    hits = (ours & theirs).total()
    return 2 * hits / (ours.total() + theirs.total()) if hits else 0.0


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
