"""Which tasks should share a model: all pairs measured, groups recommended, their gain on test."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
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
from pipeline.comparison.grouping import (
    Shrunk,
    Transfer,
    best_grouping,
    grouping_value,
    measure_transfer,
    rank_correlation,
    shrink,
)
from pipeline.comparison.learners import Learned, Learner, Learners, digest
from pipeline.comparison.readings import Readings
from pipeline.driver.interrupts import Interrupts
from pipeline.driver.json_files import read_json, write_json
from pipeline.driver.launch import make_backend
from pipeline.driver.precision import trains_in_bf16
from pipeline.driver.records import TrialRecord, best_trials
from pipeline.driver.resume import check_resume, launch_settings
from pipeline.errors import InputError
from pipeline.report.figures import heat_map
from pipeline.stages.session import (
    DEFAULT_STORE,
    Session,
    Tables,
    open_session,
    recording,
    workers_of,
)
from pipeline.stages.telling import Say, say_on_stderr
from pipeline.study.loading import Study
from pipeline.study.spec import Params
from pipeline.tracking.records import TrialEnd, TrialStart
from pipeline.tracking.store import Store
from pipeline.tracking.tracker import Tracker

MOST_TASKS = 20
"""Tasks up to which pairs are trained without a stated budget: 190 pairs."""

SEEDS = 3
"""Common seeds of every model: the fewest that tell a spread."""


def group(
    study: Study,
    budget: int | None = None,
    n_workers: int | None = None,
    store: Store | Path | str = DEFAULT_STORE,
    tables: Tables | None = None,
    tracking_uri: str | None = None,
    say: Say = say_on_stderr,
    device: str = "auto",
) -> dict[str, Any]:
    """Measures how much each pair of tasks helps each other, and recommends groups.

    Every pair, each task alone and all together are trained at one setting, that of the best trial
    (else the centre of the ranges), under 3 common seeds. Groups follow from the pairs; they, one
    model for all and one model each are then trained under the same seeds: valid recommends one
    of the three, and all are read on test.

    Args:
        study: The study, searched before or not.
        budget: Most models to train; has to be stated above 20 tasks.
        n_workers: Local processes; by default one a core. It changes no result.
        store: Where to record.
        tables: Data frames in place of paths.
        tracking_uri: A server in place of the store's database.
        say: Told what is going on.
        device: Where to train: `cpu`, `cuda`, or `auto` for a GPU where there is one.

    Returns:
        The JSON contract of `mtl group`.

    Raises:
        InputError: The study has one task, or needs more models than the budget.
        ResumeError: The study's settings or data are not those of its search.
        TrainingError: A model did not complete at this setting.
        Interrupted: Ctrl-C; what has ended is kept.
    """
    started = time.perf_counter()
    session, best = _open(study, store, tables, tracking_uri, device)
    _check_budget([task.name for task in session.prepared.tasks], budget)
    params = best.params if best else study.centre()
    with recording(session) as tracker:
        learners = Learners(study, session.prepared, session.folder, params, tracker)
        file = learners.path / "document.json"
        known: dict[str, Any] | None = read_json(file)
        if known is None:
            n_workers = workers_of(session, n_workers, say)
            bf16 = trains_in_bf16(study, session.prepared, session.folder, session.device, say)
            backend = make_backend(
                session.prepared,
                n_workers,
                session.device,
                say,
                bf16,
                session.folder.checkpoints / "groups",
            )
            learners.mend(session.folder.record()["run_id"])
            try:
                with Interrupts() as interrupts:

                    def train(wanted: list[Learner]) -> dict[Learner, Learned]:
                        return learners.train(
                            wanted, backend, n_workers, lambda: interrupts.requested, say
                        )

                    known = _group(session, learners, train, best)
            finally:
                backend.close()
            known["seconds"] = time.perf_counter() - started
            _track(tracker, known, params)
            write_json(file, known)
            learners.drop_models()
            session.folder.drop_checkpoints("groups")
    return {**known, "test_reads": len(Readings(session.folder).all())}


def _open(
    study: Study,
    store: Store | Path | str,
    tables: Tables | None,
    tracking_uri: str | None,
    device: str,
) -> tuple[Session, TrialRecord | None]:
    """Opens the study, and finds its best trial where it was searched."""
    session = open_session(study, store, tables, tracking_uri, device)
    trials = session.folder.trials()
    if not trials:
        return session, None
    check_resume(
        session.name, session.folder.record()["settings"], launch_settings(study, session.prepared)
    )
    return session, next(iter(best_trials(trials, 1)), None)


def _check_budget(tasks: list[str], budget: int | None) -> None:
    """Refuses what cannot be grouped, and what costs more than was said."""
    n_tasks = len(tasks)
    if n_tasks < 2:
        raise InputError(
            f"`mtl group` needs at least 2 tasks. Found {n_tasks}: {', '.join(tasks)}. "
            "Give the study another task under `tasks`."
        )
    needed = SEEDS * len(_partners(n_tasks))
    if budget is None and n_tasks > MOST_TASKS:
        raise InputError(
            f"`mtl group` trains all pairs of up to {MOST_TASKS} tasks by itself. Found {n_tasks} "
            f"tasks, hence {needed} models. Say that you want them with `--budget {needed}`."
        )
    if budget is not None and budget < needed:
        raise InputError(
            f"`--budget` must be at least {needed} models: {n_tasks} tasks alone, together and in "
            f"pairs, under {SEEDS} seeds each. Found {budget}."
        )


def _partners(n_tasks: int) -> list[tuple[int, ...]]:
    """Returns all tasks together, each alone, each pair: no subset twice."""
    subsets = [tuple(range(n_tasks))]
    subsets += [part for size in (1, 2) for part in combinations(range(n_tasks), size)]
    return list(dict.fromkeys(subsets))


def _group(
    session: Session,
    learners: Learners,
    train: Callable[[list[Learner]], dict[Learner, Learned]],
    best: TrialRecord | None,
) -> dict[str, Any]:
    prepared = session.prepared
    tasks = [task.name for task in prepared.tasks]
    seeds = range(1, SEEDS + 1)
    learned = train([Learner(part, seed) for seed in seeds for part in _partners(len(tasks))])
    alone, together = _scores(learned, len(tasks))
    transfer = measure_transfer(together, alone)
    believed = shrink(transfer, session.study.spec.seed)
    groups = best_grouping(believed.value, believed.error)
    learned |= train(
        [Learner(part, seed) for seed in seeds for part in groups if 2 < len(part) < len(tasks)]
    )
    valid = _valid_json(learned, groups, len(tasks))
    rows = _read_test(session, learners, groups)
    grouped, all_in_one, each_alone = rows
    return {
        "study": session.name,
        "data": prepared.data_digest,
        "setting": {"trial": best.number if best else None},
        "seeds": SEEDS,
        "tasks": tasks,
        "alone": dict(zip(tasks, alone.mean(0).tolist(), strict=True)),
        **_transfer_json(transfer, believed, tasks),
        **_cosine_json(session, transfer, tasks),
        "groups": named(groups, tasks),
        "predicted_gain": grouping_value(believed.value, groups),
        "valid": valid,
        "recommended": max(valid, key=valid.__getitem__),  # of equals the groups
        "test": {
            "rows": [row_json(row, tasks, _model_keys(learners, row.groups)) for row in rows],
            "gains": {
                "over_one_model": gain_json(grouped, all_in_one, tasks),
                "over_each_alone": gain_json(grouped, each_alone, tasks),
            },
        },
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
    session: Session, learners: Learners, groups: list[tuple[int, ...]]
) -> list[GroupedRow]:
    """Reads the groups, one model for all and one model each on test; each reading counts."""
    readings = Readings(session.folder)
    rows = []
    for kind, partition in _partitions(groups, len(session.prepared.tasks)).items():
        seed = session.study.spec.seed
        row = score_groups(kind, partition, learners, session.prepared, SEEDS, seed)
        for key, found in zip(_model_keys(learners, partition), row.evaluations, strict=True):
            readings.add(key, session.prepared.data_digest, found)
        rows.append(row)
    return rows


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


def _cosine_json(session: Session, transfer: Transfer, tasks: list[str]) -> dict[str, Any]:
    """Compares transfers with the gradient cosines that ordinary trials recorded."""
    cosines = cosine_matrix([trial.cosines for trial in session.folder.trials()], tasks)
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


def _track(tracker: Tracker, found: Mapping[str, Any], params: Params) -> None:
    """Records the result as a run with the tag `row`, its matrix and figure as artifacts."""
    tasks = found["tasks"]
    start = TrialStart(0, "task groups", {**params, "groups": str(found["groups"])}, row="grouping")
    run_id = tracker.start_trials([start])[0]
    means = found["transfer"]["mean"]
    matrix = np.array([[means[i].get(j, np.nan) for j in tasks] for i in tasks])
    files = {
        "transfer.csv": pd.DataFrame(matrix, tasks, tasks).to_csv(index_label="gains from"),
        "transfer.svg": heat_map(
            matrix, tasks, f"Transfer between the tasks of {found['study']}",
            "What the row's task gains on valid when trained with the column's.",
        ),
        "grouping.json": json.dumps(found, indent=1),
    }  # fmt: skip
    metrics = {"group/predicted_gain": found["predicted_gain"]}
    for name, gain in found["test"]["gains"].items():
        metrics |= {f"test/gain_{name}/{side}": gain[side] for side in ("gain", "low", "high")}
    metrics |= {f"test/score/{row['kind']}": row["mean"] for row in found["test"]["rows"]}
    if found["cosine_rank_correlation"] is not None:
        metrics["group/cosine_rank_correlation"] = found["cosine_rank_correlation"]
    tracker.finish(run_id, TrialEnd("complete", metrics=metrics, files=files))
