"""Texts that hold the answer: a target that stands, word by word, in the document."""

from collections.abc import Sequence

import numpy as np

from pipeline.text.tokens import tokenize

MOST_ROWS = 1000
"""Rows looked at: a leak is in almost all of them."""
FEWEST_ROWS = 20
_LONG = 4  # words of a target that stands in its document by no chance


def leak_share(texts: Sequence[str], labels: Sequence[str | None]) -> float:
    """Returns in which share of rows the target stands in the text, where that is a leak, else 0.

    A class leaks where nine in ten documents name their own class and one in ten at most the
    class of another row: `sport` in half of the articles on sport is honest evidence. A target of
    several words, such as a title, leaks where it stands whole in half of the documents.

    Args:
        texts: (N,) documents of train.
        labels: (N,) text of each one's target, None where it is missing.
    """
    rows = [row for row, label in enumerate(labels) if label is not None][:MOST_ROWS]
    wanted = [" ".join(tokenize(str(labels[row]))) for row in rows]
    pairs = [(row, label) for row, label in zip(rows, wanted, strict=True) if len(label) > 2]
    if len(pairs) < max(FEWEST_ROWS, len(rows) / 2) or len({label for _, label in pairs}) < 2:
        return 0.0
    found = [f" {' '.join(tokenize(texts[row]))} " for row, _ in pairs]
    own = [f" {label} " in text for text, (_, label) in zip(found, pairs, strict=True)]
    other = [
        f" {label} " in text
        for text, (_, mine), (_, label) in zip(found, pairs, pairs[1:] + pairs[:1], strict=True)
        if label != mine
    ]
    share, by_chance = float(np.mean(own)), float(np.mean(other)) if other else 1.0
    is_long = np.median([len(label.split()) for _, label in pairs]) >= _LONG
    return share if share >= (0.5 if is_long else 0.9) and by_chance <= 0.1 else 0.0
