"""Fitting text encoders on the documents of train, and looking at all documents."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.data.hashing import digest, json_bytes
from pipeline.data.text_encoding import Progress, TextEncoder, TextPart, documents
from pipeline.errors import DataError
from pipeline.study.catalogue import load
from pipeline.study.spec import EncoderSpec
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
    return digest([json_bytes([spec, named]), *whole])


def text_notes(frame: pd.DataFrame, columns: Sequence[str], parts: NDArray[Any]) -> list[str]:
    """Returns sentences about documents that are empty, dirty or very long.

    Args:
        frame: All rows.
        columns: Text columns.
        parts: (N,) part of each row.
    """
    texts = documents(frame, columns)
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
