"""Answers out of head outputs."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.tasks.probabilities import largest


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), n_values=st.integers(1, 20), together=st.booleans())
def test_largest_is_argmax_however_outputs_are_laid_out(
    seed: int, n_values: int, together: bool
) -> None:
    random = np.random.default_rng(seed)
    shape = (int(random.integers(1, 4)), n_values, int(random.integers(1, 30)))
    outputs = random.integers(-3, 3, shape).astype(np.float32).swapaxes(1, 2)  # (K, N, C), ties
    outputs = np.ascontiguousarray(outputs) if together else outputs
    before = outputs.copy()
    np.testing.assert_array_equal(largest(outputs), outputs.argmax(axis=-1))
    np.testing.assert_array_equal(outputs, before)


@pytest.mark.parametrize("shape", [(4,), (0, 4), (2, 0, 4)])
def test_largest_takes_any_leading_axes(shape: tuple[int, ...]) -> None:
    assert largest(np.zeros(shape)).shape == shape[:-1]
