"""Texts in the form that scikit-learn's baselines take: sparse term weights, part to matrix."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.feature_extraction.text import TfidfTransformer

from pipeline.data.prepared import Prepared
from pipeline.text.ragged import TERMS, Ragged
from pipeline.text.reduction import as_matrix, fit_reduction

Matrices = Mapping[str, sparse.csr_matrix]


def has_words(prepared: Prepared) -> bool:
    """Tells whether rows have term weights, or tokens that can be counted."""
    return bool(prepared.parts["train"].texts)


def word_weights(prepared: Prepared) -> Matrices:
    """Returns sparse weights of terms; where the study learns from tokens alone, of tokens.

    Tokens weigh as the terms of `tfidf` do: (1 + ln n) * idf, of length 1 in each document.
    """
    names = prepared.parts["train"].texts.keys()
    name = TERMS if TERMS in names else next(iter(names))
    rows = {part: found.texts[name] for part, found in prepared.parts.items()}
    n_columns = _vocabulary(prepared)[name]
    if name == TERMS:
        return {part: as_matrix(found, n_columns) for part, found in rows.items()}
    counts = {part: _counts(found, n_columns) for part, found in rows.items()}
    weigh = TfidfTransformer(sublinear_tf=True).fit(counts["train"])
    return {part: weigh.transform(matrix) for part, matrix in counts.items()}


def word_vectors(prepared: Prepared, width: int) -> dict[str, NDArray[np.float32]]:
    """Returns the strongest directions of the weights, fitted on train."""
    weights = word_weights(prepared)
    directions = fit_reduction(weights["train"], width).astype(np.float32)
    return {part: np.asarray(matrix @ directions) for part, matrix in weights.items()}


def _counts(rows: Ragged, n_columns: int) -> sparse.csr_matrix:
    """Returns how often each document has each token; the rows stay as they are."""
    ones = np.ones(len(rows.items), np.float32)
    found = as_matrix(Ragged(rows.starts, rows.items.copy(), ones), n_columns)
    found.sum_duplicates()
    return found


def _vocabulary(prepared: Prepared) -> Mapping[str, int]:
    text = prepared.encoder.text
    assert text is not None  # rows of texts come from an encoder of texts
    return text.vocabulary
