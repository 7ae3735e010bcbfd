"""Rows of different lengths, taken and joined."""

import numpy as np
import pytest
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


def test_states_of_tokens_may_lie_in_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    states = np.arange(12, dtype=np.float16).reshape(6, 2)
    rows = Ragged(from_lengths([2, 0, 3, 1]), np.arange(6, dtype=np.int32), states)
    order = np.array([2, 0, 1, 2])
    plain = rows.take(order)
    monkeypatch.setattr("pipeline.text.ragged._LARGE", 0)
    mapped = rows.take(order)
    assert isinstance(mapped.values, np.memmap)
    assert not isinstance(plain.values, np.memmap)
    for found in (plain, mapped):
        np.testing.assert_array_equal(found.values, states[[2, 3, 4, 0, 1, 2, 3, 4]])
        np.testing.assert_array_equal(found.items, [2, 3, 4, 0, 1, 2, 3, 4])
