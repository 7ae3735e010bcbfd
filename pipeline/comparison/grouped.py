"""What a grouping wins on rows that chose nothing: against one model for all, and one each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.comparison.learners import Learner, Learners
from pipeline.data.prepared import Prepared
from pipeline.evaluation.bootstrap import bootstrap_means, interval
from pipeline.evaluation.evaluate import Evaluation, evaluate_one, tuned

Groups = Sequence[tuple[int, ...]]
"""A partition of the tasks' numbers."""

NAMES = {
    "grouped": "groups by transfer",
    "all_in_one": "one model for all",
    "each_alone": "one model each",
}


@dataclass(frozen=True)
class GroupedRow:
    """A partition, trained under each seed.

    Attributes:
        kind: Key of `NAMES`.
        groups: The partition.
        evaluations: One a seed.
        samples: (D, T) mean scores under resampling of rows and of seeds: the same draws for
            every partition.
    """

    kind: str
    groups: Groups
    evaluations: tuple[Evaluation, ...]
    samples: NDArray[np.float64]

    @property
    def scores(self) -> NDArray[np.float64]:
        """(T,) scores of the tasks, the mean over seeds."""
        found = [[*one.scores.values()] for one in self.evaluations]
        return np.asarray(np.mean(found, axis=0))


def score_groups(
    kind: str, groups: Groups, learners: Learners, prepared: Prepared, n_seeds: int, seed: int
) -> GroupedRow:
    """Reads a partition's models on test.

    Args:
        kind: Key of `NAMES`.
        groups: The partition, whose learners were trained.
        learners: Gives their outputs.
        prepared: The data.
        n_seeds: Replicates 1 to this.
        seed: Of the draws.
    """
    base = prepared.kinds()
    valid, test = prepared.parts["valid"], prepared.parts["test"]
    evaluations, samples = [], []
    for replicate in range(1, n_seeds + 1):
        outputs: dict[str, dict[str, NDArray[Any]]] = {"valid": {}, "test": {}}
        for part, found in outputs.items():
            for group in groups:
                found.update(learners.outputs(Learner(group, replicate), part))
        kinds = tuned(base, outputs["valid"], valid.targets)
        evaluations.append(evaluate_one(kinds, outputs["test"], test.targets, "test"))
        samples.append(
            bootstrap_means(kinds, outputs["test"], test.targets, test.groups, seed=seed)
        )
    return GroupedRow(kind, groups, tuple(evaluations), _over_seeds(np.array(samples), seed))


def _over_seeds(samples: NDArray[np.float64], seed: int) -> NDArray[np.float64]:
    """Returns (D, T) means over seeds drawn anew in each draw, from (S, D, T)."""
    n_seeds, n_draws, _ = samples.shape
    drawn = np.random.default_rng(seed).integers(n_seeds, size=(n_seeds, n_draws))
    return np.asarray(samples[drawn, np.arange(n_draws)].mean(0))


def row_json(row: GroupedRow, tasks: Sequence[str], models: Sequence[str]) -> dict[str, Any]:
    """Returns a partition's row as the JSON contract of `mtl group` has it."""
    return {
        "name": NAMES[row.kind],
        "kind": row.kind,
        "groups": named(row.groups, tasks),
        "mean": float(row.scores.mean()),
        "interval": list(interval(row.samples.mean(1))),
        "scores": dict(zip(tasks, row.scores.tolist(), strict=True)),
        "models": list(models),
    }


def gain_json(row: GroupedRow, other: GroupedRow, tasks: Sequence[str]) -> dict[str, Any]:
    """Returns how much better a partition scores than another: over all tasks, and each."""

    def gain(ours: Any, theirs: Any, samples: Any, other_samples: Any) -> dict[str, float]:
        low, high = interval(samples - other_samples)
        return {"gain": float(ours) - float(theirs), "low": low, "high": high}

    per_task = {
        task: gain(row.scores[i], other.scores[i], row.samples[:, i], other.samples[:, i])
        for i, task in enumerate(tasks)
    }
    both = [(one.scores.mean(), one.samples.mean(1)) for one in (row, other)]
    return {**gain(both[0][0], both[1][0], both[0][1], both[1][1]), "tasks": per_task}


def named(groups: Groups, tasks: Sequence[str]) -> list[list[str]]:
    """Returns a partition by the tasks' names."""
    return [[tasks[i] for i in group] for group in groups]


def matrix_json(matrix: NDArray[np.float64], tasks: Sequence[str]) -> dict[str, Any]:
    """Returns a (T, T) matrix as task to other task to value; null where it is unknown."""
    return {
        task: {
            other: float(matrix[i, j]) if np.isfinite(matrix[i, j]) else None
            for j, other in enumerate(tasks)
            if i != j
        }
        for i, task in enumerate(tasks)
    }


def cosine_matrix(
    trials: Sequence[Mapping[str, Mapping[str, float]]], tasks: Sequence[str]
) -> NDArray[np.float64]:
    """Returns the (T, T) mean gradient cosines of pairs; NaN where none was recorded.

    Args:
        trials: Of each, task to later task to the mean cosine of their gradients.
        tasks: Names.
    """
    found = np.full((len(tasks), len(tasks)), np.nan)
    for i, task in enumerate(tasks):
        for j, other in enumerate(tasks):
            known = [
                value
                for cosines in trials
                for first, second in ((task, other), (other, task))
                if (value := cosines.get(first, {}).get(second)) is not None
            ]
            if i != j and known:
                found[i, j] = np.mean(known)
    return found
