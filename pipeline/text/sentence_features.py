"""What is known of a sentence from its document alone: place, length, rank, likeness."""

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.text.function_words import FUNCTION_WORDS
from pipeline.text.ranking import textrank
from pipeline.text.tokens import tokenize

FEATURES = (
    "place", "from_start", "first", "last", "n_sentences", "length", "relative_length",
    "textrank", "textrank_order", "centroid", "follows", "title_share", "title_cover",
    "numbers", "quote", "capitals", "asks", "before", "behind",
)  # fmt: skip
"""Names of the columns that `sentence_features` returns."""

_CAPITAL = re.compile(r"\b[A-Z]\w+")
_QUOTE = re.compile('["\u201c\u201d\u300c\u300d]')


def sentence_features(sentences: Sequence[str], title: str = "") -> NDArray[np.float32]:
    """Describes the sentences of one document by numbers that need no training.

    Args:
        sentences: Of the document, in order.
        title: Its title, where that is an input.

    Returns:
        (S, len(FEATURES)); most lie in [0, 1], none depends on other documents:
        `place` from 0 to 1, `from_start` 1 / (1 + position), first and last, the logarithms of
        the number of sentences, of words, and of words over the document's mean; the logarithm
        of TextRank over the mean, and its order from 1 (best) to 0; the cosine with the
        document's words, and with the sentence before; the share of content words in the title,
        and the share of the title's covered; the share of numbers; whether it quotes; the share
        of capitalised words; whether it asks; the TextRank of both neighbours.
    """
    n = len(sentences)
    table = np.zeros((n, len(FEATURES)), dtype=np.float32)
    if not n:
        return table
    tokens = [tokenize(sentence) for sentence in sentences]
    lengths = np.array([len(words) for words in tokens], dtype=np.float64)
    rank = np.log(np.maximum(textrank(list(sentences)) * n, 1e-3))
    position = np.arange(n)
    order = np.empty(n)
    order[np.argsort(-rank, kind="stable")] = position
    counts = [_content(words) for words in tokens]
    heading = set(_content(tokenize(title)))
    columns = {
        "place": position / max(n - 1, 1),
        "from_start": 1 / (1 + position),
        "first": position == 0,
        "last": position == n - 1,
        "n_sentences": np.log(n),
        "length": np.log1p(lengths),
        "relative_length": np.log((1 + lengths) / (1 + lengths.mean())),
        "textrank": rank,
        "textrank_order": 1 - order / max(n - 1, 1),
        "centroid": _likeness(counts),
        "follows": [0.0, *(_cosine(counts[i], counts[i - 1]) for i in range(1, n))],
        "title_share": [_share(heading, set(words)) for words in counts],
        "title_cover": [_share(set(words), heading) for words in counts],
        "numbers": [_mean([token.isdigit() for token in words]) for words in tokens],
        "quote": [bool(_QUOTE.search(sentence)) for sentence in sentences],
        "capitals": [
            len(_CAPITAL.findall(sentence)) / max(len(words), 1)
            for sentence, words in zip(sentences, tokens, strict=True)
        ],
        "asks": [sentence.rstrip()[-1:] in ("?", "\uff1f") for sentence in sentences],
        "before": np.concatenate([[0.0], rank[:-1]]),
        "behind": np.concatenate([rank[1:], [0.0]]),
    }
    for column, name in enumerate(FEATURES):
        table[:, column] = columns[name]
    return table


def _content(words: Sequence[str]) -> Counter[str]:
    return Counter(word for word in words if word not in FUNCTION_WORDS)


def _likeness(counts: Sequence[Counter[str]]) -> list[float]:
    """Returns the cosine of each sentence with its whole document."""
    whole: Counter[str] = Counter()
    for words in counts:
        whole.update(words)
    norm = _norm(whole)
    return [
        sum(n * whole[word] for word, n in words.items()) / (_norm(words) * norm) if words else 0.0
        for words in counts
    ]


def _cosine(first: Counter[str], second: Counter[str]) -> float:
    if not first or not second:
        return 0.0
    shared = sum(n * second[word] for word, n in first.items() if word in second)
    return shared / (_norm(first) * _norm(second))


def _norm(words: Counter[str]) -> float:
    return float(np.sqrt(sum(n * n for n in words.values())))


def _share(of: set[str], among: set[str]) -> float:
    """Returns the share of `among` that is in `of`; 0 where there are none."""
    return len(of & among) / len(among) if among else 0.0


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0
