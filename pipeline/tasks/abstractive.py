"""A summary that is written word by word: a question from its answer, a title from its text.

A row is a document. Its target holds the number of the document, the numbers of the words of its
first reference, and those of the beginning of its text, which the decoder reads and copies from.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.tasks import metrics
from pipeline.tasks.base import Decoded, Kind, TaskInfo
from pipeline.tasks.documents import AboutDocuments, Documents
from pipeline.tasks.labels import no_labels, target_columns
from pipeline.tasks.metrics import Array, Metric, Values
from pipeline.text.words import SPECIALS, fit_vocabulary, number_words, spell, split_words

if TYPE_CHECKING:
    from torch import Tensor

    from pipeline.study.task_spec import TaskSpec

END = SPECIALS.index("<end>")
DEFAULTS = {"vocabulary": 6000, "read": 120, "write": 24, "width": 96, "beam": 3}
"""Words known; words read of a document, and written at most; width of the decoder; texts kept."""


@dataclass(frozen=True)
class Written(AboutDocuments):
    """Numbers of written words, (K, N, T), with what makes texts of them."""

    documents: Documents | None = None
    spelled: Callable[[Sequence[int], str], str] | None = None

    def texts(self, target: Array, member: int) -> list[str]:
        """Returns the text that a member wrote for each row of an (N, 1 + T + S) target."""
        return self.once(f"texts of {member}", target, lambda: self._texts(target, member))

    def _texts(self, target: Array, member: int) -> list[str]:
        assert self.documents is not None, "a text is written from a document"
        assert self.spelled is not None, "a text has words"
        return [
            self.spelled(numbers, self.documents[number].text)
            for numbers, number in zip(
                self.values[member].astype(np.int64).tolist(), numbers_of(target), strict=True
            )
        ]


def numbers_of(target: Array) -> list[int]:
    """Returns the document of each row of a target."""
    return [int(number) for number in target[:, 0]]


def _rouge_of(name: str) -> Callable[[Array, Any, Array | None], Values]:
    def mean_rouge(target: Array, written: Written, weight: Array | None = None) -> Values:
        found = written.once(name, target, lambda: _scores(name, target, written))
        return metrics.mean(found, weight)

    return mean_rouge


def _scores(name: str, target: Array, written: Written) -> Array:
    documents = written.documents
    assert documents is not None, "a text is scored by its references"
    return np.array(
        [
            [
                documents.score_of_text(name, number, text)
                for number, text in zip(
                    numbers_of(target), written.texts(target, member), strict=True
                )
            ]
            for member in range(len(written.values))
        ]
    )


def _whole(decoded: Decoded) -> Any:
    return decoded


class Abstractive(Kind):
    """A text written by a decoder that reads the document; see `models.generator`."""

    name: ClassVar[str] = "abstractive"
    metrics: ClassVar[Mapping[str, Metric]] = metrics.by_name(
        *(Metric(name, _rouge_of(name), _whole) for name in ("rougeL", "rouge1", "rouge2"))
    )

    has_estimators: ClassVar[bool] = False

    def __init__(self, info: TaskInfo, documents: Documents | None = None) -> None:
        super().__init__(info)
        self._documents = documents
        self.vocabulary: list[str] = info.options["words"]
        self.read_most = int(info.options["read"])
        self.write_most = int(info.options["write"])

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {word: number for number, word in enumerate(self.vocabulary)}

    @classmethod
    def fit(cls, name: str, declared: str, spec: TaskSpec, train: pd.DataFrame) -> TaskInfo:
        """Fits the vocabulary on references and documents of train; see `Kind.fit`.

        Args:
            name: Name of the task.
            declared: Its name in the study file.
            spec: Its section, with the columns that `data.pieces` made as the target.
            train: Those columns of the train rows: number of the document, first reference, text.
        """
        columns = target_columns(spec)
        rows = train[~train[columns[0]].isna()]
        if rows.empty:
            raise no_labels(name, columns[1:2], len(train))
        size = {key: getattr(spec, key) or value for key, value in DEFAULTS.items()}
        references = [split_words(str(text), size["write"] - 1) for text in rows[columns[1]]]
        sources = [split_words(str(text), size["read"]) for text in rows[columns[2]]]
        words = fit_vocabulary([*references, *sources], size["vocabulary"])
        numbers = {word: number for number, word in enumerate(words)}
        common = Counter(tuple(number_words(text, numbers)) for text in references).most_common(1)
        constant = _padded(common[0][0], size["write"])
        return cls.describe(
            name, declared, spec, columns=columns, classes=[], constant=constant,
            options={**size, "vocabulary": len(words), "words": words, "text": spec.text},
        )  # fmt: skip

    def with_info(self, info: TaskInfo) -> Self:
        """Returns the kind with another info and the same documents."""
        return type(self)(info, self._documents)

    def with_documents(self, documents: Documents | None) -> Self:
        """Returns the kind with the documents that its rows are."""
        return type(self)(self.info, documents)

    def encode(self, labels: pd.DataFrame) -> NDArray[np.float32]:
        """Turns numbers, references and texts into (N, 1 + T + S); see the module."""
        number, reference, text = self.info.columns
        target = np.full((len(labels), 1 + self.write_most + self.read_most), np.nan, np.float32)
        rows = ~labels[number].isna().to_numpy(dtype=bool)
        target[rows, 0] = labels[number][rows].astype(np.float64)
        if rows.any():
            written = self.references([str(one) for one in labels[reference][rows]])
            target[rows, 1 : 1 + self.write_most] = written
            texts = [str(one) for one in labels[text][rows]]
            target[rows, 1 + self.write_most :] = self.sources(texts)
        return target

    def references(self, texts: Sequence[str]) -> NDArray[np.int64]:
        """Returns the (N, T) numbers of the words of references and the end, 0 behind it."""
        words = (number_words(split_words(text), self._numbers) for text in texts)
        return np.array([_padded(numbers, self.write_most) for numbers in words])

    def sources(self, texts: Sequence[str]) -> NDArray[np.int64]:
        """Returns the (N, S) numbers of the words that are read of texts, 0 behind the last."""
        found = np.zeros((len(texts), self.read_most), dtype=np.int64)
        for row, text in enumerate(texts):
            numbers = number_words(split_words(text, self.read_most), self._numbers)
            found[row, : len(numbers)] = numbers
        return found

    def reread(self, target: Array) -> NDArray[np.float32]:
        """Returns the target of the same documents, encoded before by any words, by these words.

        Args:
            target: (N, 1 + ...) of which the first column numbers the documents.
        """
        assert self._documents is not None, "words are read from a document"
        found = [None if np.isnan(row) else self._documents[int(row)] for row in target[:, 0]]
        number, reference, text = self.info.columns
        values = {
            number: target[:, 0],
            reference: [None if one is None else one.references[0] for one in found],
            text: [None if one is None else one.text for one in found],
        }
        return self.encode(pd.DataFrame(values))

    def ready(self) -> None:
        """Loads what answering needs from files, where it needs any."""

    def generator(self) -> Mapping[str, Any] | None:
        """Returns the shape of the decoder."""
        return {key: int(self.info.options[key]) for key in DEFAULTS}

    @property
    def width(self) -> int:
        """What the trunk says to the decoder: its first state."""
        return int(self.info.options["width"])

    def row_loss(self, outputs: Tensor, target: Tensor, smoothing: Tensor | None) -> Tensor:
        """Returns the mean negative log chance of a reference's words, smoothed.

        Args:
            outputs: (K, ..., B, width) of which the first two are those of `Decoder.losses`.
            target: Not read: the decoder has seen it.
            smoothing: Of each member.
        """
        loss, uniform = outputs[..., 0], outputs[..., 1]
        return loss if smoothing is None else loss + smoothing * (uniform - loss)

    def decode(self, outputs: NDArray[Any]) -> Decoded:
        """Answers (..., N, T) numbers of words."""
        return Written(outputs, None, self._documents, self.spelled)

    def spelled(self, numbers: Sequence[int], source: str) -> str:
        """Returns the text of written numbers; copied words as the source has them."""
        words = split_words(source, self.read_most)
        known: dict[int, str] = {}
        for number, word in zip(number_words(words, self._numbers), words, strict=True):
            known.setdefault(number, word)
        return spell([number for number in numbers if number], self.vocabulary, known)

    def answer(self, outputs: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """Returns the numbers as texts of the vocabulary alone; see `answer_texts`."""
        return self.answer_texts(outputs, ["."] * len(outputs))

    def answer_texts(self, outputs: NDArray[Any], texts: Sequence[str]) -> dict[str, NDArray[Any]]:
        """Returns what was written for each of the texts; "" for an empty one."""
        written = np.full(len(texts), "", dtype=object)
        for row, (numbers, text) in enumerate(
            zip(outputs.astype(np.int64).tolist(), texts, strict=True)
        ):
            written[row] = self.spelled(numbers, text) if split_words(text, 1) else ""
        return {self.info.name: written}


def _padded(numbers: Sequence[int], length: int) -> list[int]:
    """Returns numbers with the end behind them and 0 up to a length; cut before the end."""
    cut = [*numbers[: length - 1], END]
    return cut + [0] * (length - len(cut))
