"""Scores of tasks that gain from each other by a truth that is known, under some seeds."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def symmetric(n_tasks: int, seed: int, shift: float = 0.0) -> Array:
    draw = np.random.default_rng(seed).normal(shift, 0.05, size=(n_tasks, n_tasks))
    return (draw + draw.T) / 2


def scores(truth: Array, noise: float, n_seeds: int, seed: int) -> tuple[Array, Array]:
    """Scores of pairs and of tasks alone where `truth[i, j]` is what i gains from j."""
    draw = np.random.default_rng(seed)
    n_tasks = len(truth)
    alone = 0.7 + noise * draw.normal(size=(n_seeds, n_tasks))
    together = 0.7 + truth + noise * draw.normal(size=(n_seeds, n_tasks, n_tasks))
    return together, alone
