"""A trained member as an application sees it: raw columns in, answers out.

This module and all that it imports travel with a promoted model (see `bundle`), so they import
numpy, scipy, pandas and torch only.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from pipeline.data.encoding import Encoder, lacking
from pipeline.data.text_encoding import FOLDER
from pipeline.models.architecture import Architecture
from pipeline.models.build import load_member
from pipeline.models.texts import TextRows
from pipeline.tasks.abstractive import Abstractive
from pipeline.tasks.base import TaskInfo
from pipeline.tasks.registry import kind_of
from pipeline.tasks.summarisation import Summarisation
from pipeline.text.cells import cell_text
from pipeline.text.cleaning import shown_text

FORMAT = 1
_MODEL_FILE = "model.json"
_WEIGHTS_FILE = "weights.npz"
_ENCODER_FILE = "encoder.npz"  # only where the encoder has arrays: that of texts
_SEEN_FILE = "seen.npz"
_CHUNK = 4096  # rows at once: bounds the memory of a large table
_STATE_CHUNK = 256  # the same where a model reads states of tokens


class Predictor:
    """Answers for raw rows. Safe to use from several threads.

    Attributes:
        encoder: How raw columns become inputs.
        architecture: Shape of the network.
        tasks: In the order of the answer's columns.
        parameters: Name to array, without the member axis.
        seen: Sorted 64-bit hashes of the rows that it was trained (`train`) and chosen (`valid`)
            on, so that no later test of it counts them (see `Part.marks`); empty where unknown.
    """

    def __init__(
        self,
        encoder: Encoder,
        architecture: Architecture,
        tasks: Sequence[TaskInfo],
        parameters: Mapping[str, NDArray[Any]],
        seen: Mapping[str, NDArray[np.uint64]] | None = None,
    ) -> None:
        self.encoder = encoder
        self.architecture = architecture
        self.tasks = tuple(tasks)
        self.parameters = dict(parameters)
        self.seen = dict(seen or {})
        self._kinds = [kind_of(task) for task in self.tasks]
        for kind in self._writers:
            kind.ready()
        self._model = load_member(architecture, parameters)

    @property
    def columns(self) -> tuple[str, ...]:
        """Raw columns that a frame must have; others are ignored."""
        made = {column for kind in self._summaries for column in kind.info.options["features"]}
        named = [kind.info.options[key] for kind in self._summaries for key in ("text", "title")]
        named += [kind.info.options["text"] for kind in self._writers]
        names = [*self.encoder.columns, *(name for name in named if name is not None)]
        return tuple(name for name in dict.fromkeys(names) if name not in made)

    @property
    def _summaries(self) -> list[Summarisation]:
        return [kind for kind in self._kinds if isinstance(kind, Summarisation)]

    @property
    def _writers(self) -> list[Abstractive]:
        return [kind for kind in self._kinds if isinstance(kind, Abstractive)]

    def predict(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Answers for each row, whatever the number of rows, keeping the index.

        Args:
            frame: Raw columns; missing values and unseen categories are fine.

        Returns:
            Columns `TASK` and `TASK_proba_CLASS`.

        Raises:
            DataError: A column is missing or holds what cannot be read; it names the column.
        """
        self._check_documents(frame)
        size = _STATE_CHUNK if self.architecture.reads_states else _CHUNK
        starts = range(0, max(len(frame), 1), size)
        chunks = [self._answer(frame.iloc[start : start + size]) for start in starts]
        columns = {name: np.concatenate([chunk[name] for chunk in chunks]) for name in chunks[0]}
        return pd.DataFrame(columns, index=frame.index)

    def _answer(self, rows: pd.DataFrame) -> dict[str, NDArray[Any]]:
        answers: dict[str, NDArray[Any]] = {}
        known: dict[tuple[str, ...], dict[str, NDArray[np.float64]]] = {}
        for kind in self._kinds:
            if isinstance(kind, Summarisation):
                answers |= self._summarise(kind, rows)
                continue
            inputs = kind.info.inputs
            if inputs not in known:
                writers = [one for one in self._writers if one.info.inputs == inputs]
                known[inputs] = self._outputs(self._read(rows, inputs), writers)
            output = known[inputs][kind.info.name]
            if isinstance(kind, Abstractive):
                answers |= kind.answer_texts(output, _texts(rows, kind.info.options["text"]))
            else:
                answers |= kind.answer(output)
        return answers

    def _check_documents(self, frame: pd.DataFrame) -> None:
        """Raises a `DataError` where documents to summarise, or their titles, are no columns.

        Of several text columns one is enough: a row of another source has no document.
        """
        texts = [] if self.encoder.text is None else list(self.encoder.text.columns)
        named = [kind.info.options for kind in self._summaries]
        texts += [options["text"] for options in named if options["text"] not in texts]
        absent = [options["title"] for options in named
                  if options["text"] in frame and options["title"] is not None
                  and options["title"] not in frame]  # fmt: skip
        if named and not set(texts) & set(frame.columns):
            absent += texts
        if absent:
            raise lacking(frame, absent, self.columns)

    def _read(self, rows: pd.DataFrame, inputs: tuple[str, ...]) -> pd.DataFrame:
        """Returns rows in which only some of the inputs stand, as when a task was trained."""
        others = [name for name in self.encoder.columns if inputs and name not in inputs]
        return rows.assign(**dict.fromkeys(others)) if others else rows

    def _outputs(
        self, rows: pd.DataFrame, writers: Sequence[Abstractive] = ()
    ) -> dict[str, NDArray[np.float64]]:
        """Returns each task's (B, width) head outputs, in float64: probabilities sum to 1.

        Args:
            rows: Raw columns.
            writers: Tasks that write, of which the outputs are the words written.
        """
        made = [column for kind in self._summaries for column in kind.info.options["features"]]
        if made:  # of pieces of documents: a row that is a document has none
            rows = rows.reindex(columns=[*rows.columns, *(c for c in made if c not in rows)])
        inputs = self.encoder.encode_all(rows)
        texts = TextRows(inputs.texts, self.architecture.texts)
        words = {
            kind.info.name: (
                torch.from_numpy(kind.sources(_texts(rows, kind.info.options["text"]))),
                None,
            )
            for kind in writers
        }
        with torch.no_grad():
            outputs = self._model(
                torch.from_numpy(inputs.numeric),
                torch.from_numpy(inputs.codes),
                words=words,
                texts=texts.take(torch.arange(len(rows))),
            )
        return {task: values[0].numpy().astype(np.float64) for task, values in outputs.items()}

    def _summarise(self, kind: Summarisation, rows: pd.DataFrame) -> dict[str, NDArray[Any]]:
        """Answers a task whose rows are pieces of the documents in the rows given."""
        documents = kind.documents_of(rows)
        pieces = kind.rows_of(documents)
        absent = [name for name in self.encoder.columns if name not in pieces]
        outputs = self._outputs(pieces.reindex(columns=[*pieces.columns, *absent]))
        return kind.answer_documents(outputs[kind.info.name], documents)

    def save(self, folder: Path) -> None:
        """Writes model.json, weights.npz and seen.npz into a folder, which is made."""
        folder.mkdir(parents=True, exist_ok=True)
        values = {
            "format": FORMAT,
            "encoder": self.encoder.to_json(),
            "architecture": self.architecture.with_models_in(FOLDER).to_json(),
            "tasks": [task.with_models_in(FOLDER).to_json() for task in self.tasks],
        }
        text = json.dumps(values, indent=1, allow_nan=False)
        (folder / _MODEL_FILE).write_text(text, encoding="utf-8")
        _save(folder / _WEIGHTS_FILE, self.parameters)
        if self.seen:
            _save(folder / _SEEN_FILE, self.seen)
        if self.encoder.text is not None:
            _save(folder / _ENCODER_FILE, self.encoder.arrays())
            for part in self.encoder.text.parts:
                part.save(folder)

    @classmethod
    def load(cls, folder: Path) -> Predictor:
        """Reads what `save` wrote.

        Raises:
            ValueError: The files are of another format.
        """
        values = json.loads((folder / _MODEL_FILE).read_text("utf-8"))
        if values["format"] != FORMAT:
            raise ValueError(f"The model has format {values['format']}, this code reads {FORMAT}.")
        architecture = Architecture.from_json(values["architecture"])
        parameters = _load(folder / _WEIGHTS_FILE)
        arrays, seen = (
            _load(folder / file) if (folder / file).exists() else {}
            for file in (_ENCODER_FILE, _SEEN_FILE)
        )
        return cls(
            encoder=Encoder.from_json(values["encoder"], arrays, folder),
            architecture=architecture.with_models_in(str(folder / FOLDER)),
            tasks=[
                TaskInfo.from_json(task).with_models_in(str(folder / FOLDER))
                for task in values["tasks"]
            ],
            parameters=parameters,
            seen=seen,
        )


def _texts(rows: pd.DataFrame, column: str) -> list[str]:
    """Returns the texts of a column, "" where there is none, as in a row of another source."""
    if column not in rows:
        return [""] * len(rows)
    return [shown_text(cell_text(text)) for text in rows[column]]


def _save(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    with path.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)


def _load(path: Path) -> dict[str, NDArray[Any]]:
    # Opened here: of a file that is cut short, numpy would leave it open.
    with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
        return {name: stored[name] for name in stored.files}
