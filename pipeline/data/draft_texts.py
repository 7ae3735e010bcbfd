"""What a first study file says of texts: their columns, summaries, settings that suit them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import Any

import pandas as pd

from pipeline.data.pieces import references_of
from pipeline.data.values import as_text
from pipeline.text.choice import n_words
from pipeline.text.sentences import split_sentences

_LOOKED_AT = 300  # rows of a table
_FEWEST_WORDS = 4  # of the middle value: shorter ones are labels or names
_TITLE = 0.75  # of a sentence: references that are shorter are like titles
_SMALL = 5000  # rows: up to here small batches still train fast

SETTINGS = """\
# A range may stand wherever a value may: {{low, high, log, step}} or {{choices: [...]}}.
model:
  encoder: {{kind: tfidf, width: 512}}   # `path: FOLDER` in place of `kind` adds a pretrained one
  layers: {{choices: [[64], [128], [256]]}}
  dropout: {{low: 0.0, high: 0.6}}
  dropout_input: {{low: 0.0, high: 0.4}}
weights: {{strategy: fixed, low: 0.2, high: 5}}   # each task's weight to the first one's
train:
  optimizer: adamw
  lr: {{low: 3.0e-4, high: 1.0e-2, log: true}}
  weight_decay: {{low: 1.0e-4, high: 1.0, log: true}}   # decoupled: shrinks every step
  epochs: 20
  batch_size: {batch}
  patience: 5                # epochs without a better valid score before a trial stops
search: {{trials: 32, keep: 3}}"""


def text_settings(n_rows: int) -> str:
    """Returns the sections model, weights, train and search for a table with texts."""
    return SETTINGS.format(batch=64 if n_rows <= _SMALL else 256)


def looks_like_summary(frame: pd.DataFrame, column: str) -> bool:
    """Tells whether a column holds texts of several words that another column could stand behind.

    Its values differ from row to row, and some other text is at least twice as long.
    """
    texts = references(frame, column)
    if not texts or len(set(texts)) <= len(texts) / 2 or _middle(texts) < _FEWEST_WORDS:
        return False
    return document_of(frame, column, []) is not None


def is_short_text(frame: pd.DataFrame, column: str) -> bool:
    """Tells whether a column holds texts of a few words that differ from row to row, as titles."""
    texts = references(frame, column, lists=False)
    return len(set(texts)) > len(texts) / 2 and _middle(texts) >= _FEWEST_WORDS


def document_of(frame: pd.DataFrame, target: str, others: Iterable[str]) -> str | None:
    """Returns the column that a summary may be made from: the longest texts of the table.

    Args:
        frame: The table.
        target: Column of the summaries.
        others: Columns that are the targets of other tasks.

    Returns:
        None where no other column has texts twice as long as the summaries.
    """
    taken = {target, *others}
    lengths = {str(name): _middle(references(frame, str(name), lists=False))
               for name in frame if str(name) not in taken}  # fmt: skip
    best = max(lengths, key=lambda name: lengths[name], default=None)
    summaries = _middle(references(frame, target))
    return best if best is not None and lengths[best] >= max(2 * summaries, 1) else None


def summary_settings(frame: pd.DataFrame, target: str, text: str, kind: str) -> Mapping[str, str]:
    """Returns the keys of a summary's task beside kind and target.

    References shorter than a sentence, such as titles, are better met by a clause.
    """
    if kind == "abstractive":
        return {"text": text, "metric": "rouge1"}
    pieces = [n_words(piece) for one in references(frame, text) for piece in split_sentences(one)]
    words = _middle(references(frame, target))
    is_title = bool(pieces) and words < _TITLE * median(pieces)
    if is_title:
        return {"text": text, "unit": "clause", "budget": "{sentences: 1}", "metric": "rouge1"}
    return {"text": text, "metric": "rouge1"}


def named_row(frame: pd.DataFrame, taken: Sequence[str]) -> str | None:
    """Returns a column named id that names each row; None where there is none."""
    for name in map(str, frame.columns):
        if name.lower() == "id" and name not in taken:
            found = pd.Series(as_text(frame[name]))
            if found.notna().all() and found.is_unique:
                return name
    return None


def references(frame: pd.DataFrame, column: str, lists: bool = True) -> list[str]:
    """Returns the texts of the first rows of a column, of a list its first one; of numbers none.

    Args:
        frame: The table.
        column: Its name.
        lists: Whether a list of texts counts.
    """
    values: pd.Series[Any] = frame[column].head(_LOOKED_AT)
    if values.dtype.kind in "biufmM":
        return []
    cells = [cell for cell in values if lists or isinstance(cell, str)]
    return [found[0] for cell in cells if (found := references_of(cell))]


def _middle(texts: Sequence[str]) -> float:
    return float(median(map(n_words, texts))) if texts else 0.0
