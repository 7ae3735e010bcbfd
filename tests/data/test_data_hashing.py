"""Digests of arrays without copies."""

import numpy as np
import pytest

from pipeline.data.hashing import array_bytes, digest


@pytest.mark.parametrize(
    "array",
    [
        np.arange(12.0, dtype=np.float32).reshape(3, 4),
        np.arange(12, dtype=np.int32).reshape(3, 4)[:, :2],
        np.array([b"ab", b"c"]),
        np.zeros((0, 3), np.float32),
        np.zeros((3, 0), np.float32),
    ],
)
def test_the_bytes_of_an_array_are_those_of_a_copy(array: np.ndarray) -> None:
    assert bytes(array_bytes(array)) == array.tobytes()
    assert digest([array_bytes(array)]) == digest([array.tobytes()])


def test_a_contiguous_array_is_not_copied() -> None:
    array = np.arange(12.0)
    assert np.shares_memory(np.asarray(array_bytes(array)), array)
