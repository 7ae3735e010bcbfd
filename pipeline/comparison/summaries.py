"""Summaries beside those that need no training: first words, lead, TextRank, oracle."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.data.prepared import Part, Prepared
from pipeline.evaluation.bootstrap import interval, row_counts
from pipeline.tasks.abstractive import Written, numbers_of
from pipeline.tasks.base import Kind
from pipeline.tasks.documents import Document, mean_or_nan, score_text
from pipeline.tasks.summarisation import Ranked, Summarisation, rows_of_documents
from pipeline.text.choice import first_words, n_words
from pipeline.text.labels import label_sentences
from pipeline.text.ranking import textrank
from pipeline.text.rouge import ROUGES
from pipeline.text.tokens import RougeTokenizer, name_words

MEASURES = (*ROUGES, "copied", "length")
"""ROUGE F measures; the share of word pairs that the document has; words over the reference's."""

_SHOWN = 600  # characters of a text in a sample
_MOST_CELLS = 200_000  # of the library's table: a tenth of a second

Summaries = Sequence[tuple[Document, str]]


def summary_rows(
    prepared: Prepared, outputs: NDArray[Any], kind: Kind, part: str, seed: int
) -> list[dict[str, Any]]:
    """Returns how good a model's summaries are beside those made without training.

    `first words` has as many words as the model's summary. Where documents have titles, `title` is
    the title as the summary, a name such as `read_csv` as its words. Beside a choice of pieces,
    `lead` takes the first pieces, and `TextRank` those of the highest rank, under the model's
    budget; `oracle` knows the reference.

    Args:
        prepared: The data.
        outputs: (N, width) outputs of the model for the part's rows.
        kind: The task, of the kind summarisation or abstractive.
        part: `valid` or `test`.
        seed: Of the bootstrap.
    """
    ours, firsts = _made(prepared, outputs, kind, part)
    rows = prepared.parts[part]
    draws = np.concatenate(list(row_counts(len(firsts), _groups(rows, firsts), 1000, seed)))
    made = {"this model": ours, **_first_words(ours)}
    if isinstance(kind, Summarisation):
        made |= {**_titles(ours), **_untrained(kind, ours)}
    return [_row(name, summaries, draws) for name, summaries in made.items()]


def _made(
    prepared: Prepared, outputs: NDArray[Any], kind: Kind, part: str
) -> tuple[list[tuple[Document, str]], NDArray[np.intp]]:
    """Returns a model's summaries, and the first row of each document."""
    rows = prepared.parts[part]
    target = rows.targets[kind.info.name]
    inside = np.flatnonzero(~np.isnan(target).any(axis=1))
    documents = prepared.documents[kind.info.name]
    decoded = kind.decode(outputs[None, inside])
    firsts = inside
    ours: list[tuple[Document, str]] = []
    if isinstance(decoded, Written):
        texts = decoded.texts(target[inside], 0)
        numbers = numbers_of(target[inside])
        ours = [(documents[n], text) for n, text in zip(numbers, texts, strict=True)]
    elif isinstance(decoded, Ranked):
        chosen = decoded.chosen(target[inside], 0)
        firsts = inside[[own[0] for _, own in rows_of_documents(target[inside])]]
        ours = [(documents[n], documents[n].summary(taken)) for n, taken in chosen]
    return ours, firsts


def _groups(rows: Part, firsts: NDArray[np.intp]) -> NDArray[np.int64] | None:
    return None if rows.groups is None else rows.groups[firsts]


def _first_words(ours: Summaries) -> dict[str, list[tuple[Document, str]]]:
    """Takes the first words of each document: as many as the model's, and as the reference's."""
    return {
        "first words": [(one, first_words(one.text, n_words(text))) for one, text in ours],
        "first words (reference length)": [
            (one, first_words(one.text, one.n_wanted)) for one, _ in ours
        ],
    }


def _titles(ours: Summaries) -> dict[str, list[tuple[Document, str]]]:
    if not any(document.title for document, _ in ours):
        return {}
    found = [(one, name_words(one.title) if one.title.isidentifier() else one.title)
             for one, _ in ours]  # fmt: skip
    return {"title": found}


def _untrained(kind: Summarisation, ours: Summaries) -> dict[str, list[tuple[Document, str]]]:
    def ranked(scores: Callable[[Document], Any]) -> Iterator[tuple[Document, str]]:
        for document, _ in ours:
            chosen = document.choose(scores(document), kind.budget, kind.near)
            yield document, document.summary(chosen)

    most = int(kind.budget.amount) if kind.budget.unit == "sentences" else None
    return {
        "lead": list(ranked(lambda one: -np.arange(len(one.pieces)))),
        "TextRank": list(ranked(lambda one: textrank(list(one.pieces)))),
        "oracle": [
            (one, one.summary(np.flatnonzero(_oracle(one, most)).tolist())) for one, _ in ours
        ],
    }


def _oracle(document: Document, most: int | None) -> NDArray[np.bool_]:
    return label_sentences(document.pieces, document.references, most).chosen


def _row(name: str, summaries: Summaries, draws: NDArray[np.float64]) -> dict[str, Any]:
    row: dict[str, Any] = {"name": name, "n": len(summaries), "intervals": {}}
    for measure in MEASURES:
        found = np.array([_score(measure, text, document) for document, text in summaries])
        row[measure] = _plain(mean_or_nan(found))
        if measure in ROUGES:
            row["intervals"][measure] = list(interval(draws @ found / draws.sum(axis=1)))
    return row


def _score(measure: str, text: str, document: Document) -> float:
    """Returns one measure; ROUGE by the rouge-score library where it is there and fast enough.

    Our own count gives the same values (tested), so that a table does not depend on the library.
    """
    scorer = _library()
    size = n_words(text) * max(n_words(reference) for reference in document.references)
    if measure not in ROUGES or scorer is None or size > _MOST_CELLS:
        return score_text(measure, text, document)
    return float(scorer.score_multi(document.references, text)[measure].fmeasure)


@cache
def _library() -> Any:
    try:
        from rouge_score.rouge_scorer import RougeScorer
    except ImportError:
        return None
    return RougeScorer(list(ROUGES), tokenizer=RougeTokenizer())


def _plain(value: float) -> float | None:
    return None if np.isnan(value) else value


def samples(
    prepared: Prepared, outputs: NDArray[Any], kind: Kind, part: str, most: int = 8
) -> list[dict[str, str]]:
    """Returns what a model wrote or chose for a few documents, beside text and reference.

    ROUGE-1 passes word salad; these lines do not. The documents are spread evenly over the part;
    the first words of each are as many as the model's.

    Args:
        prepared: The data.
        outputs: (N, width) outputs of the model for the part's rows.
        kind: The task.
        part: `valid` or `test`.
        most: Documents to show.
    """
    ours = _made(prepared, outputs, kind, part)[0]
    shown = np.unique(np.linspace(0, len(ours) - 1, most).astype(int))
    return [
        {
            "document": ours[i][0].text[:_SHOWN],
            "reference": ours[i][0].references[0][:_SHOWN],
            "summary": ours[i][1][:_SHOWN],
            "first_words": first_words(ours[i][0].text, n_words(ours[i][1]))[:_SHOWN],
        }
        for i in shown
    ]
