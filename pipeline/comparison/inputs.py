"""Prepared inputs in the form that scikit-learn's baselines take: part to matrix."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.preprocessing import OneHotEncoder

from pipeline.comparison.text_inputs import has_words, word_vectors, word_weights
from pipeline.data.prepared import Prepared

Array = NDArray[Any]

_DENSE_COLUMNS = 600  # up to here dense matrices are faster than sparse ones
_N_BINS = 255  # scikit-learn's most; 64 cost 0.02 of AUC where few rows hold the large values
_TEXT_COLUMNS = 64
_MAX_CATEGORIES = 254  # scikit-learn's trees take 255 categories a column


def one_hot(prepared: Prepared) -> dict[str, Any]:
    """Returns numbers beside one-hot codes; a code that no train row has is all zeros.

    Texts are their sparse term weights, not the vectors that a network reads: a linear model
    loses by the reduction. Where there are only vectors, it reads these.
    """
    with_words = has_words(prepared)
    n_tabular = _n_tabular(prepared) if with_words else None
    numbers: dict[str, Any] = {
        part: np.asarray(rows.numeric[:, :n_tabular], np.float64)
        for part, rows in prepared.parts.items()
    }
    train = prepared.parts["train"]
    if with_words:
        terms = word_weights(prepared)
        numbers = {part: sparse.hstack([dense, terms[part]], format="csr")
                   for part, dense in numbers.items()}  # fmt: skip
    if not train.codes.shape[1]:
        return numbers
    encoder = OneHotEncoder(handle_unknown="ignore").fit(train.codes)
    matrices = {
        part: sparse.hstack([numbers[part], encoder.transform(rows.codes)], format="csr")
        for part, rows in prepared.parts.items()
    }
    if matrices["train"].shape[1] > _DENSE_COLUMNS:
        return matrices
    return {part: matrix.toarray() for part, matrix in matrices.items()}


def binned(prepared: Prepared) -> dict[str, Any]:
    """Returns numbers in bins of equal size beside codes ranked by frequency, fitted on train.

    scikit-learn would bin too, for each label anew and, under weights, a hundred times slower.
    A code that is rare or that no train row has is NaN. Of the vectors of texts only the strongest
    directions are read: trees take minutes for hundreds of them.
    """
    train = prepared.parts["train"]
    columns: dict[str, list[Array]] = {part: [] for part in prepared.parts}
    numbers = _numbers(prepared)
    for column in range(numbers["train"].shape[1]):
        edges = bin_edges(numbers["train"][:, column])
        for part, found in numbers.items():
            columns[part].append(np.searchsorted(edges, found[:, column]))
    for column in range(train.codes.shape[1]):
        largest = max(rows.codes[:, column].max(initial=0) for rows in prepared.parts.values())
        counts = np.bincount(train.codes[:, column], minlength=largest + 1)
        kept = np.argsort(-counts, kind="stable")[: min(np.count_nonzero(counts), _MAX_CATEGORIES)]
        ranks = np.full(len(counts), np.nan, dtype=np.float32)
        ranks[kept] = np.arange(len(kept))
        for part, rows in prepared.parts.items():
            columns[part].append(ranks[rows.codes[:, column]])
    return {part: np.column_stack(arrays).astype(np.float32) for part, arrays in columns.items()}


def _numbers(prepared: Prepared) -> dict[str, Array]:
    """Returns the numeric inputs that trees read, the first of texts' among them."""
    text, tabular = prepared.encoder.text, _n_tabular(prepared)
    n_vectors = 0 if text is None else text.width - text.n_said
    most = tabular + min(n_vectors, _TEXT_COLUMNS)
    numbers = {part: rows.numeric[:, :most] for part, rows in prepared.parts.items()}
    if text is None or n_vectors:
        return numbers
    vectors = word_vectors(prepared, _TEXT_COLUMNS)
    return {part: np.hstack([found, vectors[part]]) for part, found in numbers.items()}


def _n_tabular(prepared: Prepared) -> int:
    """Returns the numeric inputs before the vectors of texts."""
    text = prepared.encoder.text
    return int(prepared.parts["train"].numeric.shape[1]) - (0 if text is None else text.width)


def bin_edges(column: Array) -> Array:
    """Returns where bins meet: between all values if they are few, else at quantiles."""
    distinct = np.unique(column)
    if len(distinct) <= _N_BINS:
        return np.asarray((distinct[1:] + distinct[:-1]) / 2)
    return np.unique(np.quantile(column, np.linspace(0, 1, _N_BINS + 1)[1:-1]))
