"""How texts become inputs. Shipped inside served models: numpy, scipy and pandas only."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.data.linear_terms import LinearTerms
from pipeline.data.values import as_text
from pipeline.errors import DataError
from pipeline.study.catalogue import load
from pipeline.text.cells import PARAGRAPH, whole_text
from pipeline.text.ragged import TERMS, Ragged

Progress = Callable[[str, int, int], None]
"""Told what is being done, how much of it is done, and of how much."""

FOLDER = "pretrained"
"""Where a served model carries a pretrained one, beside its own files."""

_LINEAR = "linear"

_Item = TypeVar("_Item")


def told(items: Sequence[_Item], what: str, progress: Progress | None) -> Iterator[_Item]:
    """Yields items, telling before each how many are done."""
    for done, item in enumerate(items):
        if progress is not None:
            progress(what, done, len(items))
        yield item


@dataclass(frozen=True)
class Cut:
    """Of which documents an encoder does not read the end.

    Attributes:
        cut: (N,) whether it does not.
        most: What it reads of a document at most.
        unit: Of what.
        encoder: Its name.
        key: Of the study file, which says how far it reads.
    """

    cut: NDArray[np.bool_]
    most: int
    unit: str
    encoder: str
    key: str

    def notes(self, inside: NDArray[np.bool_], what: str) -> tuple[str, ...]:
        """Returns a sentence about some of the documents; none where all are read to their end.

        Args:
            inside: (N,) which.
            what: Their name.
        """
        n_cut = int((self.cut & inside).sum())
        if not n_cut:
            return ()
        are = "is" if n_cut == 1 else "are"
        return (
            f"{n_cut:,} of {int(inside.sum()):,} {what} {are} longer than {self.most:,} "
            f"{self.unit}, and the encoder `{self.encoder}` does not read the rest. `{self.key}` "
            "sets how far it reads.",
        )


@dataclass(frozen=True)
class TextInputs:
    """What the model reads of N documents.

    Attributes:
        vectors: (N, D) float32, columns of the numeric inputs.
        rows: Name to N rows of different lengths, such as the `terms` of a linear path.
        cut: What was not read; None where an encoder reads all.
    """

    vectors: NDArray[np.float32]
    rows: Mapping[str, Ragged] = field(default_factory=dict)
    cut: Cut | None = None


class TextPart(Protocol):
    """A fitted encoder: a method of the catalogue's role `encoder`."""

    name: str

    @property
    def width(self) -> int:
        """D, the width of its vectors; 0 where it has rows only."""

    @property
    def vocabulary(self) -> Mapping[str, int]:
        """Columns, or words, that each kind of its rows may name."""

    @property
    def shape(self) -> Mapping[str, Any]:
        """What gives the network that reads its rows its shape, beside the keys of the study."""

    def encode(self, texts: Sequence[str], progress: Progress | None = None) -> TextInputs:
        """Turns documents into inputs."""

    def to_json(self) -> Mapping[str, Any]:
        """Returns its settings as plain JSON values: all but its arrays."""

    def arrays(self) -> Mapping[str, NDArray[Any]]:
        """Returns its arrays by name."""

    def save(self, folder: Path) -> None:
        """Writes what is in files of its own into a folder, which is there."""


@dataclass(frozen=True)
class TextEncoder:
    """Documents in, vectors and rows out; the vectors of its parts stand side by side.

    Attributes:
        columns: Text columns of all sources. The document of a row is what stands in those that
            it has, in this order.
        parts: The encoders.
        digest: Of all that was fitted on texts alone.
        linear: What linear models of the tasks say stands behind the vectors, where there are any.
    """

    columns: tuple[str, ...]
    parts: tuple[TextPart, ...]
    digest: str
    linear: LinearTerms | None = None

    @property
    def width(self) -> int:
        """D, the width of the vectors and of what linear models say."""
        return sum(part.width for part in self.parts) + self.n_said

    @property
    def n_said(self) -> int:
        """The last columns, which heads read and the trunk does not."""
        return 0 if self.linear is None else self.linear.width

    @property
    def vocabulary(self) -> Mapping[str, int]:
        """Columns, or words, that each kind of row may name."""
        return {name: size for part in self.parts for name, size in part.vocabulary.items()}

    def encode(
        self, frame: pd.DataFrame, progress: Progress | None = None
    ) -> tuple[TextInputs, tuple[Cut, ...]]:
        """Turns the documents of a table into inputs, and tells what was not read.

        Raises:
            DataError: The table has none of the text columns, or a text is no text.
        """
        texts = documents(frame, self.columns)
        found = [part.encode(texts, progress) for part in self.parts]
        rows = {name: rows for one in found for name, rows in one.rows.items()}
        said = [] if self.linear is None else [self.linear.say(rows[TERMS])]
        vectors = np.concatenate([*(one.vectors for one in found), *said], axis=1)
        return TextInputs(vectors, rows), tuple(one.cut for one in found if one.cut is not None)

    def to_json(self) -> Mapping[str, Any]:
        """Returns plain JSON values: all but the arrays."""
        return {
            "columns": list(self.columns),
            "parts": [{"name": part.name, **part.to_json()} for part in self.parts],
            "digest": self.digest,
            **({} if self.linear is None else {"linear": self.linear.to_json()}),
        }

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Returns the arrays that `from_json` takes."""
        named = [(part.name, part.arrays()) for part in self.parts]
        named += [] if self.linear is None else [(_LINEAR, self.linear.arrays())]
        return {f"{name}.{key}": array for name, own in named for key, array in own.items()}

    @classmethod
    def from_json(
        cls,
        values: Mapping[str, Any],
        arrays: Mapping[str, NDArray[Any]],
        folder: Path | None = None,
    ) -> "TextEncoder":
        """Rebuilds the encoder that `to_json` and `arrays` described.

        Args:
            values: Of `to_json`.
            arrays: Of `arrays`.
            folder: Where `save` of its parts wrote files.
        """

        def own(name: str) -> dict[str, NDArray[Any]]:
            return {key.removeprefix(f"{name}."): array for key, array in arrays.items()
                    if key.startswith(f"{name}.")}  # fmt: skip

        parts = []
        for settings in values["parts"]:
            name = settings["name"]
            rest = {key: value for key, value in settings.items() if key != "name"}
            parts.append(cast(TextPart, load("encoder", name).from_json(rest, own(name), folder)))
        said = values.get(_LINEAR)
        linear = None if said is None else LinearTerms.from_json(said, own(_LINEAR))
        return cls(tuple(values["columns"]), tuple(parts), values["digest"], linear)


def named_progress(progress: Progress | None, what: str) -> Callable[[int, int], None] | None:
    """Returns a progress that says what is being done; None where nobody is told."""
    if progress is None:
        return None
    return lambda done, total: progress(what, done, total)


def within(progress: Progress | None, whole: str) -> Progress | None:
    """Returns a progress that says what the work is part of; None where nobody is told."""
    if progress is None:
        return None
    return lambda what, done, total: progress(f"{whole}: {what}", done, total)


def documents(frame: pd.DataFrame, columns: Sequence[str]) -> list[str]:
    """Returns the document of each row: what stands in its text columns, empty where nothing does.

    Raises:
        DataError: The table has none of the columns, or a value is no text.
    """
    present = [column for column in columns if column in frame.columns]
    if not present:
        wanted = ", ".join(f"`{column}`" for column in columns)
        raise DataError(f"The table lacks the text column {wanted}.")
    texts = [column_texts(frame[column]) for column in present]
    if len(texts) == 1:
        return [text or "" for text in texts[0]]
    return [PARAGRAPH.join(text for text in row if text) for row in zip(*texts, strict=True)]


def refuse_no_texts(values: "pd.Series[Any]") -> None:
    """Raises a `DataError` that names the first row of a column that holds bytes or a mapping."""
    if values.dtype != object:
        return
    for row, value in enumerate(values):
        if isinstance(value, bytes):
            raise DataError(
                f"Column `{values.name}` must hold texts. Found bytes in row {row + 1}: "
                f"{value[:40]!r}. Decode them first, such as by `.str.decode('utf-8')`."
            )
        if isinstance(value, Mapping):
            raise DataError(
                f"Column `{values.name}` must hold texts. Found a mapping in row {row + 1}: "
                f"{str(value)[:60]}. Make a column of each of its texts."
            )


def column_texts(values: "pd.Series[Any]") -> Sequence[str | None]:
    """Returns the text of each row of a column, None where it is missing or blank.

    A list of texts, such as sentences, is one text.

    Raises:
        DataError: A value is bytes or a mapping.
    """
    refuse_no_texts(values)
    if values.dtype == object:  # which stays: a half of a character fits no other
        values = pd.Series([whole_text(value) for value in values], dtype=object)
    found: Sequence[str | None] = as_text(values).tolist()
    return found
