"""Stage 2 by hand: one member, tracked as a run of its study."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pipeline.driver.records import EpochRecord, TrialRecord
from pipeline.driver.trials import (
    end_of,
    epoch_record,
    make_member,
    make_predictor,
    make_record,
    start_of,
    tracked_metrics,
)
from pipeline.serving.predictor import Predictor
from pipeline.stages.recording import recording
from pipeline.stages.session import DEFAULT_STORE, Session, Tables, open_searched, open_session
from pipeline.stages.telling import LongWork, Say, say_on_stderr
from pipeline.stages.trials import find_trial, train_alone
from pipeline.study.loading import Study
from pipeline.study.spec import Params
from pipeline.tracking.records import State, TrialEnd, now_ms
from pipeline.tracking.store import Store
from pipeline.tracking.tracker import Tracker
from pipeline.training.loop import Stops
from pipeline.training.members import EpochResult


@dataclass(frozen=True)
class TrainedTrial:
    """A member that was trained by hand.

    Attributes:
        record: How it ended, with its scores on valid.
        predictor: The model; None unless it completed.
    """

    record: TrialRecord
    predictor: Predictor | None


def train(
    study: Study,
    trial: int | None = None,
    store: Store | Path | str = DEFAULT_STORE,
    tables: Tables | None = None,
    tracking_uri: str | None = None,
    device: str = "auto",
    say: Say = say_on_stderr,
) -> TrainedTrial:
    """Trains one member and tracks it as a run of the study, with its model.

    Args:
        study: The study; each range stands for its centre.
        trial: Trains this trial's values again in place of the centres.
        store: Where to record.
        tables: Data frames in place of paths.
        tracking_uri: A server in place of the store's database.
        device: Where to train: `cpu`, `cuda`, or `auto` for a GPU where there is one.
        say: Told what was noticed in study and data.

    Raises:
        InputError: There is no such trial, or no such device here.
        ResumeError: A trial is trained again, and the settings or data are not its own.
    """
    if trial is None:
        session = open_session(study, store, tables, tracking_uri, device)
        params, number, name, first_epoch = study.centre(), 0, "centre", 1
    else:
        session = open_searched(study, store, tables, tracking_uri, device)
        found = find_trial(session, trial)
        params, number, name = found.params, trial, f"#{trial} again"
        first_epoch = found.first_epoch
    for note in (*session.study.notes, *session.prepared.report.warnings):
        say(f"Note: {note}")
    with recording(session) as tracker:
        trained = _train_one(session, tracker, number, params, name, first_epoch)
        if trained.predictor is not None:
            tracker.log_model(trained.record.run_id, trained.predictor, end=end_of(trained.record))
    return trained


def _train_one(
    session: Session, tracker: Tracker, number: int, params: Params, name: str, first_epoch: int
) -> TrainedTrial:
    prepared = session.prepared
    member = make_member(session.study, prepared, number, params)
    start = start_of(member, prepared, params, name, row="manual")
    run_id = tracker.start_trials([start])[number]
    history: list[EpochRecord] = []

    progress = LongWork()

    def tell(epoch: int) -> None:
        progress(f"Training {name}, epochs", epoch, member.train.epochs)

    def on_epoch(results: list[EpochResult]) -> Stops:
        epoch = epoch_record(results[0], prepared, now_ms())
        history.append(epoch)
        tracker.log_epoch(run_id, epoch.epoch, tracked_metrics(epoch), epoch.timestamp_ms)
        tell(epoch.epoch)
        return {}

    try:
        with progress:
            tell(0)
            result = train_alone(session, member, on_epoch, first_epoch)
    except BaseException as error:
        state: State = "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
        tracker.finish(run_id, TrialEnd(state, f"{type(error).__name__}: {error}".rstrip(": ")))
        raise
    record = make_record(member, result, prepared, params, history, run_id, now_ms())
    tracker.finish(run_id, end_of(record))
    complete = result.state == "complete"
    return TrainedTrial(record, make_predictor(member, result, prepared) if complete else None)
