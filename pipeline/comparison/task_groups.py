"""Which tasks should share a model: all pairs measured, groups recommended, their gain on test."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.comparison.grouped import (
    GroupedRow,
    Groups,
    cosine_matrix,
    gain_json,
    matrix_json,
    named,
    row_json,
    score_groups,
)
from pipeline.comparison.grouping import best_grouping, grouping_value
from pipeline.comparison.learners import Learned, Learner, Learners, digest
from pipeline.comparison.readings import Readings
from pipeline.comparison.transfer import (
    Shrunk,
    Transfer,
    measure_transfer,
    rank_correlation,
    shrink,
)
from pipeline.data.prepared import Prepared
from pipeline.driver.records import TrialRecord
from pipeline.driver.study_folder import StudyFolder
from pipeline.study.loading import Study

SEEDS = 3
"""Common seeds of every model: the fewest that tell a spread."""

Train = Callable[[list[Learner]], dict[Learner, Learned]]
"""Returns how each learner ended."""


def partners(n_tasks: int) -> list[tuple[int, ...]]:
    """Returns all tasks together, each alone, each pair: no subset twice."""
    subsets = [tuple(range(n_tasks))]
    subsets += [part for size in (1, 2) for part in combinations(range(n_tasks), size)]
    return list(dict.fromkeys(subsets))


def group_tasks(
    study: Study,
    prepared: Prepared,
    folder: StudyFolder,
    learners: Learners,
    train: Train,
    best: TrialRecord | None,
) -> dict[str, Any]:
    """Trains all pairs, then the groups that follow from them, and reads what those win on test.

    Args:
        study: The study.
        prepared: Its data.
        folder: Its files: trials that recorded gradient cosines, readings of test.
        learners: Makes and keeps the models.
        train: Trains those that are not kept.
        best: The trial whose setting they have; None for the centre of the ranges.

    Returns:
        The JSON contract of `mtl group`, but for its seconds and test readings.
    """
    tasks = [task.name for task in prepared.tasks]
    seeds = range(1, SEEDS + 1)
    learned = train([Learner(part, seed) for seed in seeds for part in partners(len(tasks))])
    alone, together = _scores(learned, len(tasks))
    transfer = measure_transfer(together, alone)
    believed = shrink(transfer, study.spec.seed)
    groups = best_grouping(believed.value, believed.error)
    learned |= train(
        [Learner(part, seed) for seed in seeds for part in groups if 2 < len(part) < len(tasks)]
    )
    valid = _valid_json(learned, groups, len(tasks))
    rows = _read_test(study, prepared, folder, learners, groups)
    return {
        "study": study.spec.name,
        "data": prepared.data_digest,
        "setting": {"trial": best.number if best else None},
        "seeds": SEEDS,
        "tasks": tasks,
        "alone": dict(zip(tasks, alone.mean(0).tolist(), strict=True)),
        **_transfer_json(transfer, believed, tasks),
        **_cosine_json(folder, transfer, tasks),
        "groups": named(groups, tasks),
        "predicted_gain": grouping_value(believed.value, groups),
        "valid": valid,
        "recommended": max(valid, key=valid.__getitem__),  # of equals the groups
        "test": _test_json(learners, rows, tasks),
        "budget": {
            "trials": len(learned),
            "member_epochs": sum(one.epochs for one in learned.values()),
        },
    }


def _scores(
    learned: Mapping[Learner, Learned], n_tasks: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Returns (S, T) scores of tasks alone, and (S, T, T) of task i when trained with j."""
    alone = np.full((SEEDS, n_tasks), np.nan)
    together = np.full((SEEDS, n_tasks, n_tasks), np.nan)
    for learner, found in learned.items():
        at = learner.replicate - 1
        if len(learner.tasks) == 1:
            alone[at, learner.tasks[0]] = found.scores[0]
        elif len(learner.tasks) == 2:
            i, j = learner.tasks
            together[at, i, j], together[at, j, i] = found.scores
    return alone, together


def _partitions(groups: Groups, n_tasks: int) -> dict[str, Groups]:
    """Returns what is compared: the groups that transfers give, one model, one model each."""
    return {
        "grouped": groups,
        "all_in_one": [tuple(range(n_tasks))],
        "each_alone": [(task,) for task in range(n_tasks)],
    }


def _valid_json(
    learned: Mapping[Learner, Learned], groups: Groups, n_tasks: int
) -> dict[str, float]:
    """Returns the mean valid score of each partition, over tasks and seeds."""
    return {
        kind: sum(
            sum(learned[Learner(part, seed)].scores)
            for part in partition
            for seed in range(1, SEEDS + 1)
        )
        / (SEEDS * n_tasks)
        for kind, partition in _partitions(groups, n_tasks).items()
    }


def _read_test(
    study: Study, prepared: Prepared, folder: StudyFolder, learners: Learners, groups: Groups
) -> list[GroupedRow]:
    """Reads the groups, one model for all and one model each on test; each reading counts."""
    readings = Readings(folder)
    rows = []
    for kind, partition in _partitions(groups, len(prepared.tasks)).items():
        seed = study.spec.seed
        row = score_groups(kind, partition, learners, prepared, SEEDS, seed)
        for key, found in zip(_model_keys(learners, partition), row.evaluations, strict=True):
            readings.add(key, prepared.data_digest, found)
        rows.append(row)
    return rows


def _test_json(learners: Learners, rows: list[GroupedRow], tasks: list[str]) -> dict[str, Any]:
    grouped, all_in_one, each_alone = rows
    return {
        "rows": [row_json(row, tasks, _model_keys(learners, row.groups)) for row in rows],
        "gains": {
            "over_one_model": gain_json(grouped, all_in_one, tasks),
            "over_each_alone": gain_json(grouped, each_alone, tasks),
        },
    }


def _model_keys(learners: Learners, groups: Groups) -> list[str]:
    """Names a partition's models, one a seed, in the list of test readings."""
    name = digest(learners.key, groups)
    return [f"grouping-{name}-seed-{seed}" for seed in range(1, SEEDS + 1)]


def _transfer_json(transfer: Transfer, believed: Shrunk, tasks: list[str]) -> dict[str, Any]:
    return {
        "transfer": {
            "mean": matrix_json(transfer.mean, tasks),
            "spread": matrix_json(transfer.spread, tasks),
        },
        "believed": {
            "value": matrix_json(believed.value, tasks),
            "mean": believed.mean,
            "spread": believed.spread,
            "error": believed.error,
        },
    }


def _cosine_json(folder: StudyFolder, transfer: Transfer, tasks: list[str]) -> dict[str, Any]:
    """Compares transfers with the gradient cosines that ordinary trials recorded."""
    cosines = cosine_matrix([trial.cosines for trial in folder.trials()], tasks)
    rank = rank_correlation(transfer.mean, cosines)
    known = bool(np.isfinite(cosines).any())
    reason = "" if rank is not None else "no trial of this study recorded gradient cosines"
    if known and rank is None:
        reason = "fewer than 3 pairs, or all alike"
    return {
        "cosine": matrix_json(cosines, tasks) if known else None,
        "cosine_rank_correlation": rank,
        "cosine_reason": reason,
    }
