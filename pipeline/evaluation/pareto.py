"""Points that no other point beats on every task: the Pareto front, its knee and its volume."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]
"""(N, D) scores of N models on D tasks, higher being better."""


def front(points: Points) -> list[int]:
    """Returns the points that none dominates, in order.

    A point dominates another that it equals or beats on every task, and beats on one. Equal
    points are all on the front, or none is.
    """
    at_least = (points[:, None] >= points[None]).all(2)  # (N, N)
    above = (points[:, None] > points[None]).any(2)
    return [int(i) for i in np.flatnonzero(~(at_least & above).any(0))]


def order(points: Points) -> list[int]:
    """Returns all points, the one to choose first: layer by layer, its knee first.

    The first layer is the front, the next one the front of the others, and so on. The knee is the
    point of a layer nearest to the ideal, which has each task's best score, when each task's
    range over the layer counts as 1. Of equals the earlier point is first.
    """
    left = list(range(len(points)))
    found: list[int] = []
    while left:
        layer = [left[i] for i in front(points[left])]
        inside = points[layer]
        best, worst = inside.max(0), inside.min(0)
        span = np.where(best > worst, best - worst, 1.0)
        distance = (((best - inside) / span) ** 2).sum(1)
        found += [layer[i] for i in np.argsort(distance, kind="stable")]
        left = [i for i in left if i not in set(layer)]
    return found


def hypervolume(points: Points, reference: Sequence[float]) -> float:
    """Returns the volume that points dominate above a reference.

    Each point spans a box from the reference; the volume is that of the boxes' union (Zitzler &
    Thiele, 1998), by slices along the last task. Points not above the reference span none.

    Args:
        points: (N, D).
        reference: (D,) scores that count as nothing.
    """
    spans = points - np.asarray(reference)
    return _volume(spans[(spans > 0).all(1)])


def _volume(spans: Points) -> float:
    if not len(spans):
        return 0.0
    if spans.shape[1] == 1:
        return float(spans.max())
    cuts = [0.0, *np.unique(spans[:, -1])]
    return math.fsum(
        (high - low) * _volume(spans[spans[:, -1] >= high, :-1]) for low, high in pairwise(cuts)
    )
