"""Rows of different lengths, taken and joined."""

import numpy as np
from scipy import sparse

from pipeline.text.ragged import Ragged, from_lengths
from pipeline.text.reduction import as_matrix


def ragged(n_rows: int, seed: int = 0) -> Ragged:
    random = np.random.default_rng(seed)
    lengths = random.integers(0, 5, n_rows)
    columns = [np.sort(random.choice(9, n, replace=False)) for n in lengths]
    values = random.normal(size=lengths.sum()).astype(np.float32)
    return Ragged(from_lengths(lengths), np.concatenate(columns).astype(np.int32), values)


def test_rows_are_taken_as_of_a_sparse_matrix() -> None:
    whole = ragged(3000)  # more rows than are taken at once
    rows = np.random.default_rng(1).permutation(3000)[:2500]
    expected: sparse.csr_matrix = as_matrix(whole, 9)[rows]
    found = whole.take(rows)
    np.testing.assert_array_equal(found.starts, expected.indptr)
    np.testing.assert_array_equal(found.items, expected.indices)
    np.testing.assert_array_equal(found.values, expected.data)
    none = whole.take(np.zeros(0, np.int64))
    assert len(none) == 0
    assert len(none.items) == 0


def test_rows_without_values_are_taken_too() -> None:
    whole = ragged(20)
    bare = Ragged(whole.starts, whole.items)
    found = bare.take(np.array([3, 3, 1]))
    assert found.values is None
    np.testing.assert_array_equal(found.items, whole.take(np.array([3, 3, 1])).items)
