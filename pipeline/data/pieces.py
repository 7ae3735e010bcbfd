"""From documents and references to rows of pieces: a source of its own for each summary.

The rows of that source are split as their documents are, belong to one group a document, and have
the same text column, so that one encoder reads documents and pieces.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
from pandas.api.types import is_scalar

from pipeline.data.hashing import digest
from pipeline.data.rows import SourceRows, free_name, split_source
from pipeline.data.text_encoding import Progress, column_texts, told
from pipeline.errors import DataError
from pipeline.study.source_spec import SourceSpec, SplitSpec
from pipeline.study.spec import StudySpec
from pipeline.study.task_spec import BudgetSpec, TaskSpec
from pipeline.tasks.abstractive import DEFAULTS
from pipeline.tasks.documents import Document, Documents, split_document
from pipeline.tasks.summarisation import feature_columns, piece_rows
from pipeline.text.choice import n_words
from pipeline.text.cleaning import shown_text
from pipeline.text.labels import label_sentences
from pipeline.text.words import split_words

SUMMARIES = ("summarisation", "abstractive", "abstractive_pretrained")
"""Kinds whose rows are made here."""

_LONGEST = 100_000  # characters of a document that a decoder may read, of which it reads the first
_PART, _GROUP, _ID = "piece.part", "piece.document", "piece.id"


@dataclass(frozen=True)
class Pieces:
    """A study whose summaries have sources of their own.

    Attributes:
        spec: The study, in which a summary's target are the three columns of its labels.
        frames: All rows of each source, those of pieces among them.
        documents: Task to its documents.
        warnings: What was left out, as sentences.
        origins: Source of pieces to the source of their documents.
    """

    spec: StudySpec
    frames: Mapping[str, pd.DataFrame]
    documents: Mapping[str, Documents]
    warnings: tuple[str, ...] = ()
    origins: Mapping[str, str] = field(default_factory=dict)

    @property
    def repeated(self) -> frozenset[str]:
        """Sources whose texts are all read once more: pieces of documents that are rows too."""
        return frozenset(own for own, origin in self.origins.items() if origin in self.frames)


def with_pieces(
    spec: StudySpec, frames: Mapping[str, pd.DataFrame], progress: Progress | None = None
) -> Pieces:
    """Adds a source of pieces for each task that chooses sentences.

    Args:
        spec: The study, whose columns its sources have.
        frames: All rows of each source.
        progress: Told how far long work is.

    Raises:
        DataError: A task has no document with a reference.
    """
    summaries = [name for name, task in spec.tasks.items() if task.kind in SUMMARIES]
    found = Pieces(spec, frames, {})
    if not summaries:
        return found
    for task in summaries:
        add = _add if spec.tasks[task].kind == "summarisation" else _add_written
        found = add(found, spec, task, progress)
    return _without_idle(found, spec)


def _add(found: Pieces, spec: StudySpec, name: str, progress: Progress | None) -> Pieces:
    """Adds the source of one task."""
    task, origin = spec.tasks[name], spec.source_of(name)
    rows = split_source(spec, origin, found.frames[origin])
    documents, kept, notes = _documents(name, task, rows.frame, progress=progress)
    frame = _frame(name, task, rows, documents, kept, progress)
    own = free_name(f"{name[:50]}_pieces", found.frames)
    share = _mean_share(documents, rows.parts[kept] == "train")
    target = _label_columns(name)
    return Pieces(
        replace(
            found.spec,
            sources={**found.spec.sources, own: _source(spec.sources[origin], name)},
            tasks={
                **found.spec.tasks,
                name: replace(task, source=own, target=target, budget=_filled(task.budget, share)),
            },
        ),
        {**found.frames, own: frame},
        {**found.documents, name: documents},
        (*found.warnings, *notes),
        {**found.origins, own: origin},
    )


def _add_written(found: Pieces, spec: StudySpec, name: str, progress: Progress | None) -> Pieces:
    """Adds to a source the columns of which a task that writes makes its targets."""
    task, origin = spec.tasks[name], spec.source_of(name)
    frame = found.frames[origin]
    documents, kept, notes = _documents(name, task, frame, True, progress)
    number, reference, text = columns = written_columns(name)
    added = pd.DataFrame(index=frame.index, columns=columns, dtype=object)
    rows = frame.index[kept]
    added.loc[rows, number] = np.arange(len(kept))
    added.loc[rows, reference] = [one.references[0] for one in documents.documents]
    added.loc[rows, text] = [one.pieces[0] for one in documents.documents]
    added[number] = added[number].astype(np.float64)
    written = replace(task, target=columns)
    if task.kind == "abstractive_pretrained":
        written = replace(written, path=spec.model.encoder.path)
    return Pieces(
        replace(found.spec, tasks={**found.spec.tasks, name: written}),
        {**found.frames, origin: pd.concat([frame, added], axis=1)},
        {**found.documents, name: documents},
        (*found.warnings, *notes),
        found.origins,
    )


def _source(origin: SourceSpec, task: str) -> SourceSpec:
    return replace(
        origin, id=_ID, drop=[], numeric=feature_columns(task), categorical=[], boolean=[],
        split=SplitSpec(column=_PART, group=_GROUP),
    )  # fmt: skip


def written_columns(task: str) -> list[str]:
    """Returns the columns of a task that writes: number, reference and text of its documents."""
    return [f"{task}.{name}" for name in ("number", "words", "read")]


def _label_columns(task: str) -> list[str]:
    return [f"{task}.{name}" for name in ("label", "document", "piece")]


def _documents(
    name: str,
    task: TaskSpec,
    frame: pd.DataFrame,
    whole: bool = False,
    progress: Progress | None = None,
) -> tuple[Documents, list[int], list[str]]:
    """Splits the documents that have a reference.

    Args:
        name: Of the task.
        task: Its section.
        frame: All rows of its source.
        whole: Leave each document in one piece.
        progress: Told how far it is.

    Returns:
        The documents, the row of each, and what was left out.
    """
    assert isinstance(task.text, str)  # a rule of the study file
    assert isinstance(task.target, str)
    texts = column_texts(frame[task.text])
    titles = _titles(task, frame)
    documents: list[Document] = []
    kept: list[int] = []
    n_empty = n_missing = n_longer = n_cut = 0
    cells = list(zip(texts, frame[task.target], titles, strict=True))
    what = f"Splitting for {name}, documents"
    for row, (text, cell, title) in enumerate(told(cells, what, progress)):
        references = references_of(cell)
        pieces = _pieces(text or "", task, whole)
        if not references or not pieces:
            n_missing += not references
            n_empty += not pieces
            continue
        document = Document(pieces, references, title)
        n_longer += document.n_wanted > sum(document.lengths)
        n_cut += sum(document.lengths) < n_words(text or "")
        documents.append(document)
        kept.append(row)
    if not documents:
        raise DataError(
            f"Task `{name}` must have a document in `{task.text}` with a reference in "
            f"`{task.target}`. Found none in {len(frame)} rows."
        )
    counted = {
        f"have no reference in `{task.target}` and are not summarised": n_missing,
        f"have no word in `{task.text}` and are not summarised": n_empty,
        "have a reference that is longer than the document": n_longer,
    }
    if task.kind == "abstractive":
        counted |= _unread(name, task, documents)
    else:
        counted["are so long that only their first pieces are summarised"] = n_cut
    notes = [f"Task `{name}`: {n:,} rows {what}." for what, n in counted.items() if n]
    return Documents(tuple(documents)), kept, notes


def _unread(name: str, task: TaskSpec, documents: Sequence[Document]) -> dict[str, int]:
    """Counts documents of which a decoder reads the beginning, and references that it cuts."""
    read, write = task.read or DEFAULTS["read"], task.write or DEFAULTS["write"]
    long = [len(split_words(one.pieces[0], read + 1)) > read for one in documents]
    cut = [len(split_words(one.references[0], write)) > write - 1 for one in documents]
    return {
        f"have more than {read} words in `{task.text}`, of which the decoder reads the first; "
        f"`tasks.{name}.read` sets how many": sum(long),
        f"have a reference of more than {write - 1} words, of which it learns to write the first; "
        f"`tasks.{name}.write` sets how many": sum(cut),
    }


def _titles(task: TaskSpec, frame: pd.DataFrame) -> list[str]:
    titles = column_texts(frame[task.title]) if task.title is not None else [None] * len(frame)
    return [shown_text(title or "") for title in titles]


def _pieces(text: str, task: TaskSpec, whole: bool) -> tuple[str, ...]:
    if whole:
        read = shown_text(text[:_LONGEST])
        return (read,) if n_words(read) else ()
    return split_document(text, task.unit or "sentence")


def references_of(cell: Any) -> tuple[str, ...]:
    """Returns the references in a cell, a text or a list of them; one without a word is none.

    They are what they show, as documents are: no markup and no broken characters.
    """
    cells = cell if isinstance(cell, list | tuple | np.ndarray) else [cell]
    texts = (shown_text(str(text)) for text in cells if not (is_scalar(text) and pd.isna(text)))
    return tuple(text for text in texts if n_words(text))


def _frame(
    name: str,
    task: TaskSpec,
    rows: SourceRows,
    documents: Documents,
    kept: Sequence[int],
    progress: Progress | None,
) -> pd.DataFrame:
    """Returns the rows of all pieces with their labels, parts, groups and ids."""
    frame = piece_rows(
        told(documents.documents, f"Reading for {name}, documents", progress), str(task.text), name
    )
    n_pieces = [len(document.pieces) for document in documents.documents]
    number = np.repeat(np.arange(len(documents)), n_pieces)
    piece = np.concatenate([np.arange(n) for n in n_pieces])
    label, document, position = _label_columns(name)
    what = f"Labelling for {name}, documents"
    frame[label] = np.concatenate(
        [_labels(one) for one in told(documents.documents, what, progress)]
    )
    frame[document] = number
    frame[position] = piece
    frame[_PART] = rows.parts[kept][number]
    groups = rows.ids[kept] if rows.groups is None else rows.groups[kept]
    frame[_GROUP] = groups.astype(str)[number]
    keys = [
        digest([row.tobytes(), *(text.encode() for text in one.references)])
        for row, one in zip(rows.ids[kept], documents.documents, strict=True)
    ]
    frame[_ID] = [f"{keys[n]}-{i}" for n, i in zip(number, piece, strict=True)]
    return frame


def _labels(document: Document) -> Any:
    """Returns what a scorer learns of each piece: membership, or its own overlap."""
    found = label_sentences(document.pieces, document.references)
    return found.chosen.astype(np.float64) if found.origin == "membership" else found.value


def _mean_share(documents: Documents, train: Any) -> float:
    """Returns the mean words of references as a share of their documents', over train."""
    shares = [
        document.n_wanted / sum(document.lengths)
        for document, inside in zip(documents.documents, train, strict=True)
        if inside
    ]
    return float(np.clip(np.mean(shares), 1e-3, 1)) if shares else 1.0


def _filled(budget: BudgetSpec | None, share: float) -> BudgetSpec:
    if budget is None or budget.reference:
        return BudgetSpec(share=share, reference=budget is not None)
    return budget


def _without_idle(found: Pieces, spec: StudySpec) -> Pieces:
    """Leaves out sources whose documents no other task reads, and columns of references."""
    used = {found.spec.source_of(task) for task in found.spec.tasks}
    sources = {}
    for name, source in found.spec.sources.items():
        if name not in used:
            continue
        references = [
            str(task.target)
            for task_name, task in spec.tasks.items()
            if task.kind in SUMMARIES and spec.source_of(task_name) == name
        ]
        sources[name] = replace(source, drop=[*source.drop, *references])
    frames = {name: found.frames[name] for name in sources}
    return replace(found, spec=replace(found.spec, sources=sources), frames=frames)
