"""Targets that a model would read: as a column of its own, or word by word in the document."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.data.hashing import Hashes, value_hashes
from pipeline.data.pieces import SUMMARIES, written_columns
from pipeline.data.references import target_columns
from pipeline.data.rows import SourceRows
from pipeline.data.screening import labels_of
from pipeline.data.text_encoding import documents
from pipeline.data.values import as_text
from pipeline.errors import DataError
from pipeline.study.spec import StudySpec
from pipeline.text.tokens import tokenize

MOST_ROWS = 1000
"""Rows looked at: a leak is in almost all of them."""
FEWEST_ROWS = 20
_CHOSEN = " If a summary is a sentence of its document by its nature, choose it: `extractive`."
_LONG = 4  # words of a target that stands in its document by no chance


def refuse_leaks(
    spec: StudySpec, rows: Mapping[str, SourceRows], columns: Sequence[str]
) -> list[str]:
    """Looks for targets among the inputs of their own source, in the train rows.

    Args:
        spec: The study.
        rows: The rows of each source.
        columns: Input columns that are no texts.

    Returns:
        A sentence for each target that stands whole in some documents, too few for a leak.

    Raises:
        DataError: A target is also an input, whole or as a part of a text.
    """
    notes = []
    told = list(_told_targets(spec))
    trains = {
        source: rows[source].frame[rows[source].parts == "train"]
        for source in {spec.source_of(task) for task, _ in told}
    }
    hashes = {
        source: {name: value_hashes(train[name]) for name in columns if name in train}
        for source, train in trains.items()
    }
    for task, target in told:
        source = spec.source_of(task)
        train = trains[source]
        _refuse_copies(task, target, train, hashes[source])
        texts = [*spec.sources[source].text_columns, *_read_columns(spec, task)]
        texts = [name for name in dict.fromkeys(texts) if name in train]
        if not texts:
            continue
        found = stands_in(documents(train, texts), as_text(train[target]).tolist())
        name = _shown(spec, task, target)
        if leak_share(found):
            raise DataError(
                f"The text of source `{source}` must not hold {name}, the target of task "
                f"`{task}`. Found it in {found.own.mean():.0%} of the train rows: a model would "
                "read its own answer. Take that part out of the text, or name other columns under "
                f"`text`.{_CHOSEN if spec.tasks[task].writes else ''}"
            )
        if spec.tasks[task].kind in SUMMARIES and found.own.any():
            notes.append(
                f"Task `{task}`: {name} stands whole in the text of {int(found.own.sum()):,} of "
                f"{len(found.own):,} train rows looked at."
            )
    return notes


def _told_targets(spec: StudySpec) -> Iterator[tuple[str, str]]:
    """Yields tasks with their target columns; of a text that is written, its reference.

    What is chosen from a document stands there by its nature.
    """
    for task, declared in spec.tasks.items():
        if declared.writes:
            yield task, written_columns(task)[1]
        elif declared.kind not in SUMMARIES:
            yield from ((task, target) for target in target_columns(spec, task))


def _read_columns(spec: StudySpec, task: str) -> list[str]:
    """Returns the column that a decoder reads beside the inputs of its source."""
    text = spec.tasks[task].text
    return [] if text is None else [text]


def _shown(spec: StudySpec, task: str, target: str) -> str:
    return "the reference" if spec.tasks[task].writes else f"`{target}`"


def _refuse_copies(
    task: str, target: str, train: pd.DataFrame, inputs: Mapping[str, Hashes]
) -> None:
    labelled, labels = labels_of(train, target)
    if len(labels) < FEWEST_ROWS or len(np.unique(labels)) < 2:
        return
    for name, values in inputs.items():
        if np.array_equal(values[labelled], labels):
            raise DataError(
                f"Column `{name}` must not repeat `{target}`, the target of task `{task}`. Found "
                f"the same value in all {len(labels):,} labelled train rows: a model would read "
                f"its own answer. Name `{name}` under `drop`."
            )


@dataclass(frozen=True)
class Standing:
    """Where targets stand in texts.

    Attributes:
        own: (n,) whether a document holds its own target, of the rows looked at.
        by_chance: Share of documents that hold another row's target.
        n_words: Words of the middle target.
    """

    own: NDArray[np.bool_]
    by_chance: float = 1.0
    n_words: float = 0.0


def stands_in(texts: Sequence[str], labels: Sequence[str | None]) -> Standing:
    """Looks for the targets of rows in their texts, word by word.

    Args:
        texts: (N,) documents of train.
        labels: (N,) text of each one's target, None where it is missing.
    """
    rows = [row for row, label in enumerate(labels) if label is not None][:MOST_ROWS]
    wanted = [" ".join(tokenize(str(labels[row]))) for row in rows]
    pairs = [(row, label) for row, label in zip(rows, wanted, strict=True) if label]
    if len(pairs) < max(FEWEST_ROWS, len(rows) / 2) or len({label for _, label in pairs}) < 2:
        return Standing(np.zeros(0, dtype=np.bool_))
    found = [f" {' '.join(tokenize(texts[row]))} " for row, _ in pairs]
    own = [f" {label} " in text for text, (_, label) in zip(found, pairs, strict=True)]
    other = [
        f" {label} " in text
        for text, (_, mine), (_, label) in zip(found, pairs, pairs[1:] + pairs[:1], strict=True)
        if label != mine
    ]
    n_words = float(np.median([len(label.split()) for _, label in pairs]))
    return Standing(np.array(own), float(np.mean(other)) if other else 1.0, n_words)


def leak_share(found: Standing) -> float:
    """Returns in which share of rows the target stands in the text, where that is a leak, else 0.

    A class leaks where nine in ten documents name their own class and one in ten at most the
    class of another row: `sport` in half of the articles on sport is honest evidence. A target of
    several words, such as a title, leaks where it stands whole in half of the documents.
    """
    share = float(found.own.mean()) if len(found.own) else 0.0
    enough = 0.5 if found.n_words >= _LONG else 0.9
    return share if share >= enough and found.by_chance <= 0.1 else 0.0
