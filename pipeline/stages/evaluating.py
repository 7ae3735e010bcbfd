"""Stage 3: every metric of one trial's model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipeline.comparison.readings import Readings
from pipeline.driver.records import TrialRecord
from pipeline.driver.trials import evaluation_metrics
from pipeline.evaluation.evaluate import Evaluation, evaluate_one
from pipeline.report.tables import choice_line
from pipeline.serving.predictor import Predictor
from pipeline.stages.recording import recording
from pipeline.stages.session import DEFAULT_STORE, Session, Tables, open_searched
from pipeline.stages.telling import LongWork, Say, say_on_stderr
from pipeline.stages.trials import find_choice, find_trial, model_of
from pipeline.study.loading import Study
from pipeline.tracking.records import now_ms
from pipeline.tracking.store import Store
from pipeline.tracking.tracker import Tracker
from pipeline.training.predict import predict_member


def evaluate(
    study: Study,
    trial: int | str = "best",
    part: str = "valid",
    store: Store | Path | str = DEFAULT_STORE,
    tables: Tables | None = None,
    tracking_uri: str | None = None,
    say: Say = say_on_stderr,
    device: str = "auto",
) -> dict[str, Any]:
    """Evaluates one trial's model; test is read once a model and data, then shown again.

    Only a first reading of test is recorded: anything else is shown also while a search runs.

    Args:
        study: The study, searched before.
        trial: Number of a trial, or `best` for the model that is shipped: see `driver.choice`.
        part: `valid` or `test`.
        store: Where the study is recorded.
        tables: Data frames in place of paths.
        tracking_uri: A server in place of the store's database.
        say: Told what is going on.
        device: Where the model answers, and is trained again where it was not kept: `cpu`,
            `cuda`, or `auto` for a GPU where there is one.

    Returns:
        The JSON contract of `mtl evaluate`.

    Raises:
        InputError: The study has no such trial, or the trial has no model.
        ResumeError: The study's settings or data are not those of the search.
    """
    session = open_searched(study, store, tables, tracking_uri, device)
    record = find_trial(session, trial)
    if trial == "best":
        say(choice_line(find_choice(session)))
    if part == "test":
        found = known_reading(session, record)
        if found is None:
            with recording(session) as tracker:
                found = read_test(session, tracker, record, say)
    else:
        found = evaluate_predictor(session, model_of(session, record, say), part)
    return {
        "trial": record.number,
        "replicate": record.replicate,
        "split": part,
        "n_rows": dict(found.n_rows),
        "mean": found.mean,
        "tasks": {task: dict(metrics) for task, metrics in found.tasks.items()},
        "data": session.prepared.data_digest,
        "prepared": session.prepared.prepared_digest,
    }


def known_reading(session: Session, record: TrialRecord) -> Evaluation | None:
    """Returns what was read of test for a trial's model; None where it was not read yet."""
    return Readings(session.folder).get(record.key, session.prepared.data_digest)


def read_test(session: Session, tracker: Tracker, record: TrialRecord, say: Say) -> Evaluation:
    """Evaluates a trial's model on test, once: the reading is kept and shown on its run."""
    known = known_reading(session, record)
    if known is not None:
        return known
    found = evaluate_predictor(session, model_of(session, record, say), "test")
    Readings(session.folder).add(record.key, session.prepared.data_digest, found)
    track_test(session, tracker, record.key, record.run_id, record.epochs, found)
    return found


def evaluate_predictor(session: Session, predictor: Predictor, part: str) -> Evaluation:
    """Returns every metric of a model on one part of the prepared data."""
    rows = session.prepared.parts[part]
    with LongWork() as progress:
        outputs = predict_member(
            predictor.architecture, predictor.parameters, rows, progress, session.device
        )
    kinds = session.prepared.kinds(predictor.tasks)
    return evaluate_one(kinds, outputs, rows.targets, part)


def track_test(
    session: Session, tracker: Tracker, key: str, run_id: str, step: int, found: Evaluation
) -> None:
    """Adds test metrics to a run, and to its model where that was logged.

    Args:
        session: The study.
        tracker: Records it.
        key: Of the model.
        run_id: Of its run.
        step: The epoch whose parameters it has.
        found: What was read.
    """
    metrics = {**evaluation_metrics(found), "test/score": found.mean}
    now = now_ms()
    tracker.log_epoch(run_id, step, metrics, now)
    model_id = session.folder.record().get("models", {}).get(key)
    if model_id is not None:
        tracker.log_model_metrics(model_id, run_id, step, metrics, now)
