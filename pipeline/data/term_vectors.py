"""The encoder `tfidf`: weights of words and of pieces of words, reduced to a dense vector."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipeline.data.text_encoding import Progress, TextInputs, named_progress
from pipeline.text.batching import batches
from pipeline.text.ragged import TERMS, Ragged
from pipeline.text.reduction import as_matrix, fit_reduction
from pipeline.text.tfidf import Tfidf, fit_tfidf

if TYPE_CHECKING:
    from pipeline.study.encoder_spec import EncoderSpec

_WEIGHING = "Weighing terms, documents"


@dataclass(frozen=True)
class TermVectors:
    """Sparse term weights, and their projection on the strongest directions of train.

    The projections are centred and scaled by one number, so that a column has a mean square of 1:
    scaled one by one, the weak directions would be made as loud as the strong ones.

    Attributes:
        tfidf: Vocabularies.
        directions: (V, D) float16.
        mean: (D,) of the projections of train.
        scale: () what the centred projections are multiplied by.
    """

    tfidf: Tfidf
    directions: NDArray[np.float16]
    mean: NDArray[np.float32]
    scale: NDArray[np.float32]

    name = "tfidf"

    @property
    def width(self) -> int:
        """D."""
        return int(self.directions.shape[1])

    @property
    def vocabulary(self) -> Mapping[str, int]:
        """Terms of the sparse rows."""
        return {TERMS: self.tfidf.n_terms}

    @cached_property
    def _wide(self) -> NDArray[np.float32]:
        return self.directions.astype(np.float32)

    @property
    def shape(self) -> Mapping[str, Any]:
        """Nothing; see `TextPart`."""
        return {}

    def encode(self, texts: Sequence[str], progress: Progress | None = None) -> TextInputs:
        """Turns documents into vectors and sparse rows."""
        vectors = np.empty((len(texts), self.width), dtype=np.float32)
        parts = []
        for part in batches(texts, named_progress(progress, _WEIGHING)):
            rows = self.tfidf.transform(texts[part])
            vectors[part] = (self.project(rows) - self.mean) * self.scale
            parts.append(rows)
        return TextInputs(vectors, {TERMS: Ragged.joined(parts)})

    def project(self, rows: Ragged) -> NDArray[np.float32]:
        """Returns the (N, D) projections of sparse rows."""
        found: NDArray[np.float32] = as_matrix(rows, self.tfidf.n_terms) @ self._wide
        return found

    def to_json(self) -> Mapping[str, Any]:
        """Returns nothing: its arrays are all."""
        return {}

    def arrays(self) -> Mapping[str, NDArray[Any]]:
        """Returns vocabularies and directions."""
        own: dict[str, NDArray[Any]] = {
            "directions": self.directions,
            "mean": self.mean,
            "scale": self.scale,
        }
        return self.tfidf.arrays() | own

    def save(self, folder: Path) -> None:
        """Writes nothing: its arrays are all."""

    @classmethod
    def from_json(
        cls,
        values: Mapping[str, Any],
        arrays: Mapping[str, NDArray[Any]],
        folder: Path | None = None,
    ) -> TermVectors:
        """Rebuilds what `to_json` and `arrays` gave."""
        own = (arrays[name] for name in ("directions", "mean", "scale"))
        return cls(Tfidf.from_arrays(arrays), *own)

    @classmethod
    def fit(
        cls, texts: Sequence[str], spec: EncoderSpec, progress: Progress | None = None
    ) -> TermVectors:
        """Fits vocabularies and directions on the documents of train."""
        counting = named_progress(progress, "Counting terms, documents")
        tfidf = fit_tfidf(texts, tell=counting, signs=spec.signs)
        rows = tfidf.transform(texts, named_progress(progress, _WEIGHING))
        matrix = as_matrix(rows, tfidf.n_terms)
        directions = fit_reduction(
            matrix, spec.width, tell=named_progress(progress, "Reducing terms, products")
        )
        one = np.ones((), np.float32)
        plain = cls(tfidf, directions, np.zeros(directions.shape[1], np.float32), one)
        projected = plain.project(rows)
        mean = projected.mean(axis=0)
        spread = float(np.mean((projected - mean) ** 2))
        return cls(tfidf, directions, mean, one / np.float32(np.sqrt(spread) or 1))
