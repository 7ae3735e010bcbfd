"""Probabilities from logits and back, in float64, without overflow."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

_FEW = 16


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


def largest(outputs: NDArray[Any]) -> NDArray[np.intp]:
    """Returns the position of the largest value of the last axis; the first of several.

    `argmax` looks at a row at a time. Of few values that are laid out one after the other for all
    rows, as heads give them, each is compared for all rows at once: several times faster.
    """
    n_values = outputs.shape[-1]
    if n_values > _FEW or outputs.strides[-1] <= outputs.itemsize:
        return np.asarray(outputs.argmax(axis=-1))
    best, found = outputs[..., 0].copy(), np.zeros(outputs.shape[:-1], dtype=np.intp)
    for value in range(1, n_values):
        other = outputs[..., value]
        np.putmask(found, other > best, value)
        np.maximum(best, other, out=best)
    return found
