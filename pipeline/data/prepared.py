"""Prepared data: what training and evaluation read, in memory or mapped from the cache."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.data.encoding import Encoder
from pipeline.tasks.base import Kind, TaskInfo
from pipeline.tasks.documents import Documents
from pipeline.tasks.registry import kind_of
from pipeline.text.ragged import Ragged

PARTS = ("train", "valid", "test")


@dataclass(frozen=True)
class Part:
    """The rows of one part of the split.

    Attributes:
        numeric: (N, D) float32, standardised on train; missing-value indicators and the vectors of
            texts among them.
        codes: (N, C) int32 category codes; 0 stands for unseen.
        targets: Task name to (N,) or (N, L) float32, NaN where a label is missing.
        ids: (N,) fixed-width ASCII bytes: the row's id or a hash of its content.
        groups: (N,) int64 group number where the split is grouped, else None.
        texts: Name to N rows of different lengths, such as the `terms` of documents.
        sources: (N,) number of each row's source, in the study's order, the pieces of a summary
            as one of their own; None where all rows are of one.
        marks: (N, 2) uint64 hashes that a row is known by in other studies: of its content, and of
            its id where its source has one (else of its content again), so that a row is known
            also in a study that names rows otherwise, or in a table with a column more. None in
            data that was prepared before they were kept.
    """

    numeric: NDArray[np.float32]
    codes: NDArray[np.int32]
    targets: Mapping[str, NDArray[np.float32]]
    ids: NDArray[np.bytes_]
    groups: NDArray[np.int64] | None = None
    texts: Mapping[str, Ragged] = field(default_factory=dict)
    sources: NDArray[np.int32] | None = None
    marks: NDArray[np.uint64] | None = None

    def __len__(self) -> int:
        return int(self.numeric.shape[0])

    def known_in(self, marks: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Returns the (N,) rows of which one mark is among those given."""
        if self.marks is None:
            return np.zeros(len(self), dtype=bool)
        return np.asarray(np.isin(self.marks, marks).any(axis=1))

    @cached_property
    def all_marks(self) -> NDArray[np.uint64]:
        """The marks of all rows once, sorted; none where they were not kept."""
        return np.unique(np.empty(0, np.uint64) if self.marks is None else self.marks)


@dataclass(frozen=True)
class PrepareReport:
    """What preparing found, for people.

    Attributes:
        n_rows: Rows of each part, after `duplicates: drop`.
        duplicates: For each pair such as "train/test", the rows of the second part whose inputs
            also stand in the first, before any was dropped.
        dropped: Rows dropped because of that.
        warnings: Sentences: columns that look like an id or a copy of a target, ...
        sources: Source name to what identifies its content: `path` (a list), `n_rows`, `sha256`
            of the whole content, `columns`.
    """

    n_rows: Mapping[str, int]
    duplicates: Mapping[str, int]
    dropped: int
    warnings: tuple[str, ...]
    sources: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Prepared:
    """Stage 1's result.

    Attributes:
        parts: `train`, `valid`, `test`.
        encoder: How raw columns become inputs; fitted on train.
        tasks: In the order of the study file.
        data_digest: Of row ids, labels and split: what may be compared.
        prepared_digest: Of that and the settings that shape the arrays: names the cache.
        report: What preparing found.
        folder: The cache folder; workers open it by path. None only in tests.
        documents: Task to the documents that its rows are pieces of, for summaries.
    """

    parts: Mapping[str, Part]
    encoder: Encoder
    tasks: tuple[TaskInfo, ...]
    data_digest: str
    prepared_digest: str
    report: PrepareReport
    folder: Path | None = None
    documents: Mapping[str, Documents] = field(default_factory=dict)

    def sizes(self) -> str:
        """Returns how many rows each part has, for people."""
        rows = ", ".join(f"{n:,} {part}" for part, n in self.report.n_rows.items())
        chosen = any(info.kind == "summarisation" for info in self.tasks)
        return f"{rows}{', pieces of documents among them' if chosen else ''}"

    def kinds(self, infos: Iterable[TaskInfo] | None = None) -> list[Kind]:
        """Returns the kinds of tasks, bound to their documents.

        Args:
            infos: The tasks as a model decodes them; by default as they were prepared.
        """
        return [
            kind_of(info).with_documents(self.documents.get(info.name))
            for info in (self.tasks if infos is None else infos)
        ]
