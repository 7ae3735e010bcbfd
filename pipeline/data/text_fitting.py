"""Fitting text encoders on the documents of train, and looking at all documents."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.data.hashing import digest, json_bytes
from pipeline.data.rows import split_source
from pipeline.data.text_encoding import Progress, TextEncoder, TextPart, documents
from pipeline.errors import DataError
from pipeline.study.catalogue import load
from pipeline.study.encoder_spec import EncoderSpec
from pipeline.study.spec import StudySpec
from pipeline.text.cleaning import look_at

LONG = 1_000_000
"""Characters of a document that is told of: some 200,000 words."""


def fit_texts(
    train: pd.DataFrame,
    columns: Sequence[str],
    spec: EncoderSpec,
    progress: Progress | None = None,
) -> TextEncoder:
    """Fits the encoders of a study.

    Args:
        train: Train rows.
        columns: Text columns of all sources.
        spec: Which encoders.
        progress: Told how far long work is.

    Raises:
        DataError: No document of train has a word.
    """
    texts = documents(train, columns)
    if not any(map(_has_word, texts)):
        shown = ", ".join(f"`{column}`" for column in columns)
        raise DataError(f"The texts {shown} must hold words. Found none in any train row.")
    parts: list[TextPart] = [load("encoder", kind).fit(texts, spec, progress)
                             for kind in spec.kinds]  # fmt: skip
    return TextEncoder(tuple(columns), tuple(parts), _digest(texts, spec, parts))


def _has_word(text: str) -> bool:
    return any(map(str.isalnum, text))


def _digest(texts: Sequence[str], spec: EncoderSpec, parts: Sequence[TextPart]) -> str:
    """Digests what the encoders were fitted on, not the arrays.

    Linear algebra on several threads gives other last digits now and then; the same texts and
    settings give the same encoder all the same.
    """
    named = [[part.name, dict(part.vocabulary), part.width] for part in parts]
    whole = (text.encode("utf-8", "surrogatepass") for text in texts)
    return digest(chain([json_bytes([encoder_settings(spec), named])], whole))


def encoder_settings(spec: EncoderSpec) -> dict[str, Any]:
    """Returns what shapes the inputs: of a pretrained model its content, not where it lies."""
    settings = {**spec.fitted(), "kind": spec.kinds}
    if spec.path is not None and Path(spec.path).is_dir():
        settings["path"] = _folder_digest(Path(spec.path))
    return settings


def _folder_digest(folder: Path) -> str:
    """Digests the files that transformers reads of a model."""
    files = [
        file
        for file in sorted(folder.iterdir())
        if file.suffix in (".json", ".txt", ".model", ".safetensors") and file.is_file()
    ]
    stamps = tuple((str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files)
    return _content_digest(stamps)


@lru_cache(maxsize=4)
def _content_digest(stamps: tuple[tuple[str, int, int], ...]) -> str:
    return digest(Path(path).read_bytes() for path, _, _ in stamps)


def text_notes(spec: StudySpec, frames: Mapping[str, pd.DataFrame]) -> list[str]:
    """Returns sentences about documents that are empty, dirty or very long.

    Args:
        spec: The study.
        frames: All rows of each source, each document once.
    """
    texts: list[str] = []
    parts: list[NDArray[np.str_]] = []
    for name, source in spec.sources.items():
        if source.text_columns:
            rows = split_source(spec, name, frames[name])
            texts += documents(rows.frame, source.text_columns)
            parts.append(rows.parts)
    return _odd_notes(texts, np.concatenate(parts)) if texts else []


def _odd_notes(texts: Sequence[str], parts: NDArray[np.str_]) -> list[str]:
    found = look_at(texts)
    notes = []
    if found.empty:
        empty = np.array([not _has_word(text) for text in texts])
        shown = ", ".join(
            f"{int((empty & (parts == part)).sum()):,} of {part}"
            for part in ("train", "valid", "test")
        )
        notes.append(
            f"{found.empty:,} of {found.n_texts:,} documents have no word ({shown}): they are "
            "answered as a text that says nothing."
        )
    if found.html:
        notes.append(
            f"{found.html:,} of {found.n_texts:,} documents hold tags or entities of HTML, which "
            "are read as the text that they show."
        )
    if found.control:
        notes.append(
            f"{found.control:,} of {found.n_texts:,} documents hold control characters or broken "
            "ones, which are read as spaces."
        )
    if found.longest > LONG:
        notes.append(
            f"The longest document has {found.longest:,} characters. Is it one document? "
            "`delimiter` or a missing quote may have joined rows."
        )
    return notes
