"""Probabilities from logits and back, in float64, without overflow."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def sigmoid(logits: NDArray[Any]) -> NDArray[np.float64]:
    """Returns 1 / (1 + exp(-x))."""
    small = np.exp(-np.abs(logits.astype(np.float64)))
    return np.asarray(np.where(logits >= 0, 1.0, small) / (1 + small), dtype=np.float64)


def logit(shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns the logits of shares strictly between 0 and 1."""
    return np.log(shares) - np.log1p(-shares)


def softmax(logits: NDArray[Any]) -> NDArray[np.float64]:
    """Returns exp(x) divided by its sum over the last axis."""
    # Over a short last axis argmax is twice as fast as max, and einsum as sum: this runs every
    # epoch for all members.
    peak = np.take_along_axis(logits, logits.argmax(axis=-1, keepdims=True), axis=-1)
    powers: NDArray[np.float64] = np.exp(logits.astype(np.float64) - peak)
    powers /= np.einsum("...c->...", powers)[..., None]
    return powers
