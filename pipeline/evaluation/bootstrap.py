"""How far scores would move had other rows been drawn: the paired bootstrap.

Efron & Tibshirani (1993). Rows are drawn with replacement, whole groups where the split is
grouped. Draws depend on the seed and the rows alone, so two models see the same draws and their
difference can be taken draw by draw.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.evaluation.evaluate import Outputs, Targets, labelled_rows
from pipeline.tasks.base import Decoded, Kind

Samples = NDArray[np.float64]

_CHUNK = 32  # draws scored together: weights of 16,000 rows then fill 4 MB and stay in cache


def bootstrap_means(
    kinds: Sequence[Kind],
    outputs: Outputs,
    targets: Targets,
    groups: NDArray[np.int64] | None = None,
    n_draws: int = 1000,
    seed: int = 0,
) -> Samples:
    """Returns the (n_draws, T) scores of one model, each the mean over rows drawn anew.

    Args:
        kinds: The tasks, as for `evaluate_members`.
        outputs: (N, width) head outputs of the model.
        targets: Labels of the same N rows.
        groups: (N,) group numbers where the split is grouped.
        n_draws: Bounds at 95 % of 1000 draws rest on 25 draws on either side.
        seed: Of the draws; the same for all models that are compared.

    Raises:
        DataError: A task has no labelled row.
    """
    return bootstrap_models([(kinds, outputs)], targets, groups, n_draws, seed)[0]


def bootstrap_models(
    models: Sequence[tuple[Sequence[Kind], Outputs]],
    targets: Targets,
    groups: NDArray[np.int64] | None = None,
    n_draws: int = 1000,
    seed: int = 0,
) -> list[Samples]:
    """Returns the (n_draws, T) scores of each model under the same draws.

    Args:
        models: Tasks that a model answers, and its head outputs of all rows.
        targets: As for `bootstrap_means`, likewise the rest.
        groups: Likewise.
        n_draws: Likewise.
        seed: Likewise.
    """
    n_rows = len(next(iter(targets.values())))
    scored = [[_scored(kind, outputs, targets) for kind in kinds] for kinds, outputs in models]
    chunks: list[list[Samples]] = [[] for _ in models]
    for weight in row_counts(n_rows, groups, n_draws, seed):
        # Rows that have a label of a task, cut out once for all models.
        weights: dict[str, NDArray[Any]] = {}
        for chunk, tasks in zip(chunks, scored, strict=True):
            columns = []
            for kind, rows, target, decoded in tasks:
                drawn = weights.setdefault(kind.info.name, weight[:, rows])
                columns.append(kind.primary.score(kind.primary(target, decoded, drawn)))
            chunk.append(np.stack(columns, axis=1))
    return [np.concatenate(chunk) for chunk in chunks]


def n_units(kind: Kind, targets: Targets, groups: NDArray[np.int64] | None = None) -> int:
    """Returns how many labelled rows of a task, or groups of them, are drawn."""
    rows = labelled_rows(kind, targets[kind.info.name], "the bootstrapped part")
    return int(rows.sum()) if groups is None else len(np.unique(groups[rows]))


def interval(samples: Samples, level: float = 0.95) -> tuple[float, float]:
    """Returns the percentile interval of (D,) samples.

    A draw without a labelled row of a task is NaN there and does not count.
    """
    defined = samples[~np.isnan(samples)]
    if not len(defined):
        return (float("nan"), float("nan"))
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return (float(low), float(high))


def _scored(
    kind: Kind, outputs: Outputs, targets: Targets
) -> tuple[Kind, NDArray[np.intp], NDArray[np.float32], Decoded]:
    target = targets[kind.info.name]
    rows = np.flatnonzero(labelled_rows(kind, target, "the bootstrapped part"))
    return kind, rows, target[rows], kind.decode(outputs[kind.info.name][None, rows])


def row_counts(
    n_rows: int, groups: NDArray[np.int64] | None, n_draws: int, seed: int
) -> Iterator[NDArray[Any]]:
    """Yields how often each row stands in each draw, (D, N) for some draws at a time.

    Args:
        n_rows: N.
        groups: (N,) group numbers, of which whole groups are drawn; None to draw rows.
        n_draws: Draws in all.
        seed: Of the draws.
    """
    unit_of_row = np.arange(n_rows)
    if groups is not None:
        unit_of_row = np.unique(groups, return_inverse=True)[1]
    n_units = int(unit_of_row.max()) + 1
    random = np.random.default_rng(seed)
    for start in range(0, n_draws, _CHUNK):
        drawn = random.integers(n_units, size=(min(_CHUNK, n_draws - start), n_units))
        cells = drawn + n_units * np.arange(len(drawn))[:, None]
        counts = np.bincount(cells.ravel(), minlength=drawn.size).reshape(drawn.shape)
        yield counts.astype(np.float64)[:, unit_of_row]
