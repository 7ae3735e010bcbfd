"""Sparse rows to dense vectors: truncated singular value decomposition."""

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from pipeline.text.batching import Tell
from pipeline.text.ragged import Ragged

_ITERATIONS = 3
"""Power iterations: with them the subspace is that of the exact method to a per cent (tested)."""
_BLOCK = 4096  # rows at once, in double precision
_EXTRA = 10
"""Directions beyond those that are kept (Halko et al., 2011)."""


def as_matrix(rows: Ragged, n_columns: int) -> sparse.csr_matrix:
    """Returns the (N, columns) sparse matrix."""
    assert rows.values is not None  # a matrix has values
    return sparse.csr_matrix((rows.values, rows.items, rows.starts), shape=(len(rows), n_columns))


def fit_reduction(
    matrix: sparse.csr_matrix,
    width: int,
    seed: int = 0,
    tell: Tell | None = None,
) -> NDArray[np.float16]:
    """Finds the directions in which sparse rows differ most, by a randomised decomposition.

    Halko, Martinsson, Tropp (2011), "Finding structure with randomness": the range of
    `(A A')**q A` is found with a few products by random vectors, and the decomposition of A
    inside it is exact. Costs 2 (q + 1) products of A by `width` vectors. Where `width` reaches
    the number of rows nothing is lost: a linear model of the rows is one of the vectors.

    Args:
        matrix: (N, V) train rows.
        width: Directions kept; fewer where N or V is smaller.
        seed: Of the random vectors.
        tell: Told of each product.

    Returns:
        (V, width) directions, the strongest first. In half precision: they are most of what a
        served model weighs, and the vectors move by 1e-4 of their length.
    """
    width = min(width, *matrix.shape)
    n_vectors = min(width + _EXTRA, *matrix.shape)
    random = np.random.default_rng(seed)
    across = matrix.T.tocsr()
    steps = _Steps(2 * (_ITERATIONS + 1), tell)
    found = steps.product(matrix, random.standard_normal((matrix.shape[1], n_vectors), np.float32))
    for _ in range(_ITERATIONS):
        basis = np.linalg.qr(found)[0]
        found = steps.product(matrix, steps.product(across, basis))
    basis = np.linalg.qr(found)[0]  # (N, vectors)
    inside = steps.product(across, basis)  # (V, vectors)
    _, vectors = np.linalg.eigh(_gram(inside))
    directions = inside @ vectors[:, ::-1][:, :width].astype(np.float32)
    lengths = np.linalg.norm(directions, axis=0)
    directions /= np.where(lengths > 1e-6 * lengths.max(initial=0), lengths, np.inf)
    # A direction has two ends: its largest entry is positive, so that equal data gives equal ones.
    largest = np.abs(directions).argmax(axis=0)
    signs = np.where(directions[largest, np.arange(width)] < 0, -1, 1).astype(np.float32)
    directions *= signs
    return directions.astype(np.float16)


def _gram(table: NDArray[np.float32]) -> NDArray[np.float64]:
    """Returns `table.T @ table` in double precision, a block of rows after the other.

    As doubles the whole table would take more memory than all else that is fitted.
    """
    total = np.zeros((table.shape[1], table.shape[1]))
    for low in range(0, len(table), _BLOCK):
        block = table[low : low + _BLOCK].astype(np.float64)
        total += block.T @ block
    return total


class _Steps:
    def __init__(self, n_steps: int, tell: Tell | None) -> None:
        self._n_steps, self._tell, self._done = n_steps, tell, 0

    def product(self, left: sparse.csr_matrix, right: NDArray[np.float32]) -> NDArray[np.float32]:
        found: NDArray[np.float32] = left @ right
        self._done += 1
        if self._tell is not None:
            self._tell(self._done, self._n_steps)
        return found
