"""Who may write to a study, and the parent run under which everything of it is recorded."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from filelock import FileLock, Timeout

from pipeline.errors import StoreError
from pipeline.stages.describing import describe
from pipeline.stages.session import Session
from pipeline.tracking.records import State
from pipeline.tracking.store import Store
from pipeline.tracking.study_tracker import StudyTracker
from pipeline.tracking.tracker import Tracker


@contextmanager
def driver_lock(session: Session) -> Iterator[None]:
    """Holds a study: one driver at a time owns its journal and its runs.

    Raises:
        StoreError: Another driver holds it.
    """
    with study_lock(session.store, session.name):
        yield


@contextmanager
def study_lock(store: Store, name: str) -> Iterator[None]:
    """Holds the study of a name; see `driver_lock`."""
    lock: FileLock = store.lock(f"study-{name}")
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise StoreError(
            f"Another command is writing to the study {name}. `mtl show` shows how far it "
            "is; wait for it, or stop it with Ctrl-C in its terminal."
        ) from error
    try:
        yield
    finally:
        lock.release()


@contextmanager
def recording(session: Session) -> Iterator[Tracker]:
    """Holds the study and opens its parent run, which keeps the state that the search left."""
    with driver_lock(session), tracking(session) as tracker:
        yield tracker


@contextmanager
def tracking(session: Session) -> Iterator[Tracker]:
    """Opens the parent run of a study that is held already; see `recording`."""
    folder = session.folder
    with StudyTracker(session.store) as tracker:
        record = folder.record()
        run_id = tracker.start_study(
            session.name, session.study.text, session.prepared,
            params={}, resume_run_id=record.get("run_id"),
        )  # fmt: skip
        folder.save_record({**record, "run_id": run_id})
        # A search that was killed has noted its settings and left no state.
        left: State = "interrupted" if record.get("settings") else "complete"
        state: State = record.get("state", left)
        try:
            yield tracker
        finally:
            trials = folder.trials()
            table, page, files = describe(session, tracker.experiment_id, trials, state)
            tracker.finish_study(state, table, page, files)
