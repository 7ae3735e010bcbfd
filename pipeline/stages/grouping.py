"""The stage `group`: opens a study, has its tasks grouped, and records what was found."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline.comparison.learner_training import train_learners
from pipeline.comparison.learners import Learned, Learner, Learners
from pipeline.comparison.readings import Readings
from pipeline.comparison.task_groups import SEEDS, group_tasks, partners
from pipeline.driver.interrupts import Interrupts
from pipeline.driver.json_files import read_json, write_json
from pipeline.driver.launch import make_backend
from pipeline.driver.precision import trains_in_bf16
from pipeline.driver.records import TrialRecord, best_trials
from pipeline.driver.resume import check_resume, launch_settings
from pipeline.errors import InputError
from pipeline.report.figures import heat_map
from pipeline.stages.recording import recording
from pipeline.stages.session import DEFAULT_STORE, Session, Tables, open_session, workers_of
from pipeline.stages.telling import LongWork, Say, say_on_stderr
from pipeline.study.loading import Study
from pipeline.study.spec import Params
from pipeline.tracking.records import TrialEnd, TrialStart
from pipeline.tracking.store import Store
from pipeline.tracking.tracker import Tracker

MOST_TASKS = 20
"""Tasks up to which pairs are trained without a stated budget: 190 pairs."""


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
            known = _group(session, learners, best, n_workers, say)
            known["seconds"] = time.perf_counter() - started
            _track(tracker, known, params)
            write_json(file, known)
        # Also where a kill came after the document was written.
        learners.drop_models()
        session.folder.drop_checkpoints("groups")
    return {**known, "test_reads": len(Readings(session.folder).all())}


def _group(
    session: Session,
    learners: Learners,
    best: TrialRecord | None,
    n_workers: int | None,
    say: Say,
) -> dict[str, Any]:
    """Trains what is not kept, on workers of its own; see `group_tasks`."""
    study, prepared, folder = session.study, session.prepared, session.folder
    n_workers = workers_of(session, n_workers, say)
    bf16 = trains_in_bf16(study, prepared, folder, session.device, say)
    checkpoints = folder.checkpoints / "groups"
    backend = make_backend(prepared, n_workers, session.device, say, bf16, checkpoints)
    learners.mend(folder.record()["run_id"])
    try:
        with Interrupts() as interrupts, LongWork() as progress:

            def train(wanted: list[Learner]) -> dict[Learner, Learned]:
                return train_learners(
                    learners, wanted, backend, n_workers, lambda: interrupts.requested, say,
                    progress,
                )  # fmt: skip

            return group_tasks(study, prepared, folder, learners, train, best)
    finally:
        backend.close()


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
    needed = SEEDS * len(partners(n_tasks))
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
