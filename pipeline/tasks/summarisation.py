"""A summary of a document, chosen from its sentences.

A row is one piece of a document: a sentence or a clause. The trunk and the encoder that read
documents for other tasks read pieces for this one, and the head scores each; pieces of one
document are put together again where answers are wanted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.errors import DataError
from pipeline.tasks import metrics
from pipeline.tasks.base import Decoded, Kind, TaskInfo
from pipeline.tasks.documents import AboutDocuments, Document, Documents, split_document
from pipeline.tasks.labels import no_labels, target_columns
from pipeline.tasks.losses import logistic, smoothed
from pipeline.tasks.metrics import Array, Metric, Values
from pipeline.tasks.probabilities import logit, sigmoid
from pipeline.text.cells import cell_text
from pipeline.text.choice import Budget
from pipeline.text.rouge import ROUGES
from pipeline.text.sentence_features import FEATURES, sentence_features

if TYPE_CHECKING:
    from torch import Tensor

    from pipeline.study.task_spec import BudgetSpec, TaskSpec

LABEL, DOCUMENT, PIECE = range(3)
"""Columns of a target: what the head learns, the number of the document, of the piece in it."""


@dataclass(frozen=True)
class Ranked(AboutDocuments):
    """Scores of pieces, with what makes summaries of them.

    Attributes:
        documents: All documents of the task; None where only scores are wanted.
        budget: How much a summary takes.
        near: Whether it takes about as much as the references instead.
    """

    documents: Documents | None = None
    budget: Budget | None = None
    near: bool = False

    def chosen(self, target: Array, member: int) -> list[tuple[int, tuple[int, ...]]]:
        """Returns the number of each document among the rows, and the pieces chosen of it.

        Args:
            target: (N, 3) of the rows; the pieces of a document stand in rising order.
            member: Whose scores.
        """
        return self.once(f"chosen by {member}", target, lambda: self._chosen(target, member))

    def _chosen(self, target: Array, member: int) -> list[tuple[int, tuple[int, ...]]]:
        assert self.documents is not None, "a summary is made of documents"
        assert self.budget is not None, "a summary has a budget"
        scores = self.values[member]
        return [
            (number, self.documents[number].choose(scores[rows], self.budget, self.near))
            for number, rows in rows_of_documents(target)
        ]


def rows_of_documents(target: Array) -> list[tuple[int, NDArray[np.intp]]]:
    """Returns the rows of each document of an (N, 3) target, in the order of its pieces."""
    order = np.lexsort((target[:, PIECE], target[:, DOCUMENT]))
    numbers, starts = np.unique(target[order, DOCUMENT], return_index=True)
    return [
        (int(number), rows)
        for number, rows in zip(numbers, np.split(order, starts[1:]), strict=True)
    ]


def _whole(decoded: Decoded) -> Any:
    return decoded


def _rouge_of(name: str) -> Callable[[Array, Any, Array | None], Values]:
    def mean_rouge(target: Array, ranked: Ranked, weight: Array | None = None) -> Values:
        """Returns the mean over documents; a weight is that of a document's first row."""
        found = ranked.once(name, target, lambda: _scores(name, target, ranked))
        if weight is not None:
            weight = weight[:, ranked.once("firsts", target, lambda: _firsts(target))]
        return metrics.mean(found, weight)

    return mean_rouge


def _scores(name: str, target: Array, ranked: Ranked) -> Array:
    """Returns the (K, documents) scores of members' choices."""
    documents = ranked.documents
    assert documents is not None, "a summary is made of documents"
    return np.array(
        [
            [documents.score(name, *choice) for choice in ranked.chosen(target, member)]
            for member in range(len(ranked.values))
        ]
    )


def _firsts(target: Array) -> list[int]:
    """Returns the first row of each document."""
    return [int(rows[0]) for _, rows in rows_of_documents(target)]


class Summarisation(Kind):
    """A score for each piece: the logit of how much it belongs into the summary.

    Where references consist of the document's sentences, a piece is learned as 1 or 0; else as
    its own overlap with the reference (mean of ROUGE-1 and ROUGE-2 F), which ranks the pieces
    that an oracle would pass over too.
    """

    name: ClassVar[str] = "summarisation"
    metrics: ClassVar[Mapping[str, Metric]] = metrics.by_name(
        *(Metric(name, _rouge_of(name), _whole) for name in ("rougeL", "rouge1", "rouge2"))
    )
    assert set(metrics) == set(ROUGES)

    def __init__(self, info: TaskInfo, documents: Documents | None = None) -> None:
        super().__init__(info)
        self._documents = documents
        ((unit, amount),) = info.options["budget"].items()
        self.budget = Budget(unit, amount)
        self.near = bool(info.options["near"])

    @classmethod
    def fit(cls, name: str, declared: str, spec: TaskSpec, train: pd.DataFrame) -> TaskInfo:
        """Reads the labels of the train pieces; see `Kind.fit`.

        Args:
            name: Name of the task.
            declared: Its name in the study file.
            spec: Its section, with the three columns that `data.pieces` made as the target.
            train: Those columns of the train rows.
        """
        columns = target_columns(spec)
        labels = train[columns[0]].astype(np.float64).to_numpy()
        labels = labels[~np.isnan(labels)]
        if not len(labels):
            raise no_labels(name, columns[:1], len(train))
        mean = float(labels.mean())
        if not mean > 0:
            raise DataError(
                f"Task `{name}`: a reference must share words with its document. Found none in "
                f"{len(labels)} pieces of train. Check that `target` and `text` belong together."
            )
        return cls.describe(
            name,
            declared,
            spec,
            columns=columns,
            classes=[],
            constant=logit(np.array([min(mean, 1 - 1e-6)])).tolist(),
            options={
                "text": spec.text,
                "title": spec.title,
                "unit": spec.unit or "sentence",
                "budget": budget_of(spec.budget),
                "near": bool(spec.budget and spec.budget.reference),
                "features": feature_columns(declared),
            },
        )

    def with_info(self, info: TaskInfo) -> Self:
        """Returns the kind with another info and the same documents."""
        return type(self)(info, self._documents)

    def with_documents(self, documents: Documents | None) -> Self:
        """Returns the kind with the documents that its rows are pieces of."""
        return type(self)(self.info, documents)

    def n_examples(self, target: NDArray[Any]) -> int:
        """Counts documents."""
        return len(np.unique(target[:, DOCUMENT]))

    def encode(self, labels: pd.DataFrame) -> NDArray[np.float32]:
        """Turns the three columns into (N, 3); see `LABEL`."""
        return labels[list(self.info.columns)].to_numpy(dtype=np.float32, na_value=np.nan)

    def number(self, target: NDArray[Any]) -> NDArray[Any] | None:
        """Returns the labels of the pieces."""
        return target[:, LABEL]

    @property
    def width(self) -> int:
        """One logit."""
        return 1

    def row_loss(self, outputs: Tensor, target: Tensor, smoothing: Tensor | None) -> Tensor:
        """Returns the binary cross-entropy of each piece, whose label may be a share."""
        toward = smoothed(target[..., LABEL].nan_to_num(), smoothing)
        return logistic(outputs.squeeze(-1), toward, 1 - toward)

    def decode(self, outputs: NDArray[Any]) -> Decoded:
        """Answers how much each piece belongs into the summary, between 0 and 1."""
        scores = sigmoid(outputs[..., 0].astype(np.float64))
        return Ranked(scores, None, self._documents, self.budget, self.near)

    def documents_of(self, frame: pd.DataFrame) -> list[Document]:
        """Splits the documents of raw rows; a missing one, as of another source, has no pieces."""
        text, title = self.info.options["text"], self.info.options["title"]
        none = [None] * len(frame)
        texts, titles = frame.get(text, none), frame.get(title, none)
        return [
            Document(split_document(cell_text(one), self.info.options["unit"]), (), cell_text(head))
            for one, head in zip(texts, titles, strict=True)
        ]

    def rows_of(self, documents: list[Document]) -> pd.DataFrame:
        """Returns the rows of all pieces, as `data.pieces` makes them for training."""
        return piece_rows(documents, self.info.options["text"], self.info.declared)

    def answer_documents(
        self, outputs: NDArray[Any], documents: list[Document]
    ) -> dict[str, NDArray[Any]]:
        """Returns the summaries of documents from the (N, 1) outputs of all their pieces."""
        summaries = np.full(len(documents), "", dtype=object)
        low = 0
        for row, document in enumerate(documents):
            high = low + len(document.pieces)
            chosen = document.choose(outputs[low:high, 0], self.budget, self.near)
            summaries[row] = document.summary(chosen)
            low = high
        return {self.info.name: summaries}

    def answer(self, outputs: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """Returns the scores of pieces, of which `answer_documents` makes summaries."""
        return {self.info.name: self.decode(outputs).values}


def budget_of(spec: BudgetSpec | None) -> dict[str, float]:
    """Returns the budget as unit and amount; `data.pieces` has filled in the share of train."""
    assert spec is not None, "the share of train is filled in when documents are split"
    found = {key: getattr(spec, key) for key in ("sentences", "words", "share")}
    return {key: float(value) for key, value in found.items() if value is not None}


def feature_columns(task: str) -> list[str]:
    """Returns the names of the columns that describe pieces."""
    return [f"{task}.{name}" for name in FEATURES]


def piece_rows(documents: Iterable[Document], text: str, task: str) -> pd.DataFrame:
    """Returns a row for each piece: its text, and what is known of it from its document.

    Args:
        documents: In order.
        text: Name of the text column.
        task: Declared name of the task, which the features' names begin with.
    """
    pieces: list[str] = []
    tables = []
    for document in documents:
        pieces += document.pieces
        tables.append(sentence_features(document.pieces, document.title))
    columns = feature_columns(task)
    whole = np.concatenate(tables) if tables else np.zeros((0, len(columns)), np.float32)
    frame = pd.DataFrame(whole.astype(np.float64), columns=columns)
    frame[text] = pieces
    return frame
