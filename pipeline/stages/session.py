"""What every stage starts from: a study, its data, its place in a store."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from filelock import FileLock, Timeout

from pipeline.data.prepare import prepare_data
from pipeline.data.prepared import Prepared
from pipeline.driver.backend import one_thread
from pipeline.driver.records import StudyFolder, TrialRecord, best_trials
from pipeline.driver.trials import make_member, make_predictor
from pipeline.errors import InputError, StoreError, TrainingError
from pipeline.report.tables import study_page, trials_frame
from pipeline.serving.predictor import Predictor
from pipeline.study.loading import Study
from pipeline.tracking.pages import runs_page
from pipeline.tracking.records import State
from pipeline.tracking.store import Store, open_store
from pipeline.tracking.study_tracker import StudyTracker
from pipeline.tracking.tracker import Tracker
from pipeline.training.loop import train

Say = Callable[[str], None]
Tables = Mapping[str, pd.DataFrame]
DEFAULT_STORE = Path("mlruns")


def say_on_stderr(text: str) -> None:
    """Prints a message for people."""
    print(text, file=sys.stderr)


@dataclass(frozen=True)
class Session:
    """A study with its data and its place in a store.

    Attributes:
        study: The study.
        prepared: Its data.
        store: Where its records live.
        folder: Its files in the store.
        seconds: What opening took, by phase.
    """

    study: Study
    prepared: Prepared
    store: Store
    folder: StudyFolder
    seconds: Mapping[str, float]

    @property
    def name(self) -> str:
        """Name of the study."""
        return self.study.spec.name


def prepare(
    study: Study, store: Store | Path | str = DEFAULT_STORE, tables: Tables | None = None
) -> Prepared:
    """Stage 1: reads the sources, splits, fits encoders on train, and caches the result.

    Raises:
        StudyError: The study names columns that its sources lack.
        DataError: The data breaks a rule; nothing was written.
    """
    folder = store.folder if isinstance(store, Store) else Path(store)
    return prepare_data(study.spec, study.folder, folder / "cache", study.data_dir, tables)


def open_session(
    study: Study,
    store: Store | Path | str = DEFAULT_STORE,
    tables: Tables | None = None,
    tracking_uri: str | None = None,
) -> Session:
    """Prepares the data, then opens the store: bad data leaves no database behind."""
    started = time.perf_counter()
    prepared = prepare(study, store, tables)
    prepared_at = time.perf_counter()
    opened = store if isinstance(store, Store) else open_store(Path(store), tracking_uri)
    seconds = {"prepare": prepared_at - started, "store": time.perf_counter() - prepared_at}
    return Session(study, prepared, opened, StudyFolder(opened.studies, study.spec.name), seconds)


@contextmanager
def driver_lock(session: Session) -> Iterator[None]:
    """Holds a study: one driver at a time owns its journal and its runs.

    Raises:
        StoreError: Another driver holds it.
    """
    lock: FileLock = session.store.lock(f"study-{session.name}")
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise StoreError(
            f"Another command is writing to the study {session.name}. `mtl show` shows how far it "
            "is; wait for it, or stop it with Ctrl-C in its terminal."
        ) from error
    try:
        yield
    finally:
        lock.release()


@contextmanager
def recording(session: Session) -> Iterator[Tracker]:
    """Holds the study and opens its parent run, which keeps the state that the search left."""
    folder = session.folder
    with driver_lock(session), StudyTracker(session.store) as tracker:
        record = folder.record()
        run_id = tracker.start_study(
            session.name, session.study.text, session.prepared,
            params={}, resume_run_id=record.get("run_id"),
        )  # fmt: skip
        folder.save_record({**record, "run_id": run_id})
        state: State = record.get("state", "complete")
        try:
            yield tracker
        finally:
            trials = folder.trials()
            page = study_page(session.name, trials, state, runs_page(tracker.experiment_id))
            tracker.finish_study(state, trials_frame(trials), page)


def find_trial(session: Session, trial: int | str) -> TrialRecord:
    """Returns a finished trial, by number or `best`.

    Raises:
        InputError: The study was not searched, or has no such trial.
    """
    trials = session.folder.trials()
    if not trials:
        raise InputError(
            f"The study {session.name} has no finished trial in {session.store.folder}. "
            "Run `mtl search` first, or name its store with `--store DIR`."
        )
    if trial == "best":
        best = best_trials(trials, 1)
        if not best:
            raise InputError(
                f"No trial of {session.name} is complete; `mtl show` tells how they ended."
            )
        return best[0]
    found = next((one for one in trials if str(one.number) == str(trial)), None)
    if found is None:
        raise InputError(
            f"The study {session.name} has no finished trial {trial}: "
            f"its trials are 0 to {trials[-1].number}."
        )
    return found


def model_of(session: Session, record: TrialRecord, say: Say) -> Predictor:
    """Returns a trial's model, trained again from its record where it was not kept.

    Raises:
        TrainingError: Trained again, it does not complete.
    """
    kept = session.folder.load_model(record.number)
    if kept is not None:
        return kept
    say(f"The model of trial {record.number} was not kept: training it again from its record.")
    member = make_member(session.study, session.prepared, record.number, record.params)
    with one_thread():
        trained = train([member], session.prepared)[0]
    if trained.state != "complete":
        raise TrainingError(f"Trial {record.number} ended as {trained.state}: {trained.reason}.")
    return make_predictor(member, trained, session.prepared)
