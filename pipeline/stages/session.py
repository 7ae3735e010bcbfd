"""What every stage starts from: a study, its data, its place in a store."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from filelock import FileLock, Timeout

from pipeline.data.prepare import prepare_data
from pipeline.data.prepared import Prepared
from pipeline.driver.backend import one_thread
from pipeline.driver.choice import Choice, choose
from pipeline.driver.launch import default_workers
from pipeline.driver.precision import trains_in_bf16
from pipeline.driver.records import StudyFolder, TrialRecord
from pipeline.driver.resume import check_resume, launch_settings
from pipeline.driver.rows import RowPlan, tuned_row
from pipeline.driver.trials import make_predictor
from pipeline.errors import InputError, StoreError, TrainingError
from pipeline.serving.predictor import Predictor
from pipeline.stages.describing import comparison_path, describe, known_comparison
from pipeline.stages.telling import LongWork, Say, say_on_stderr
from pipeline.study.loading import Study
from pipeline.tracking.records import State
from pipeline.tracking.store import Store, open_store
from pipeline.tracking.study_tracker import StudyTracker
from pipeline.tracking.tracker import Tracker
from pipeline.training.devices import CPU, TOO_LARGE, find_device, is_out_of_memory
from pipeline.training.loop import Stops, train
from pipeline.training.members import EpochResult, Member, Stop, Trained
from pipeline.training.placement import Placed

Tables = Mapping[str, pd.DataFrame]
DEFAULT_STORE = Path("mlruns")


@dataclass(frozen=True)
class Session:
    """A study with its data and its place in a store.

    Attributes:
        study: The study.
        prepared: Its data.
        store: Where its records live.
        folder: Its files in the store.
        seconds: What opening took, by phase.
        device: Where members train.
        retrained: Models that were trained again, by row and record, so that each is trained once.
    """

    study: Study
    prepared: Prepared
    store: Store
    folder: StudyFolder
    seconds: Mapping[str, float]
    retrained: dict[tuple[str, str], Predictor] = field(default_factory=dict)
    device: torch.device = CPU

    @property
    def name(self) -> str:
        """Name of the study."""
        return self.study.spec.name

    @cached_property
    def placed(self) -> Placed:
        """The data where members train, for those that train alone."""
        bf16 = trains_in_bf16(self.study, self.prepared, self.folder, self.device, say_on_stderr)
        return Placed(self.prepared, self.device, bf16)


def prepare(
    study: Study, store: Store | Path | str = DEFAULT_STORE, tables: Tables | None = None
) -> Prepared:
    """Stage 1: reads the sources, splits, fits encoders on train, and caches the result.

    Raises:
        StudyError: The study names columns that its sources lack.
        DataError: The data breaks a rule; nothing was written.
    """
    folder = _folder(store)
    is_new = not folder.exists()
    try:
        with LongWork() as progress:
            return prepare_data(
                study.spec, study.folder, folder / "cache", study.data_dir, tables, progress
            )
    except InputError:
        if is_new:
            _remove_empty(folder)
        raise


def open_session(
    study: Study,
    store: Store | Path | str = DEFAULT_STORE,
    tables: Tables | None = None,
    tracking_uri: str | None = None,
    device: str = "auto",
) -> Session:
    """Prepares the data, then opens the store: bad data leaves no database behind.

    Raises:
        InputError: There is no such device here.
    """
    found = find_device(device)
    started = time.perf_counter()
    prepared = prepare(study, store, tables)
    prepared_at = time.perf_counter()
    opened = store if isinstance(store, Store) else open_store(Path(store), tracking_uri)
    seconds = {"prepare": prepared_at - started, "store": time.perf_counter() - prepared_at}
    folder = StudyFolder(opened.studies, study.spec.name)
    return Session(study, prepared, opened, folder, seconds, device=found)


def open_searched(
    study: Study,
    store: Store | Path | str = DEFAULT_STORE,
    tables: Tables | None = None,
    tracking_uri: str | None = None,
    device: str = "auto",
) -> Session:
    """Opens a study that was searched, on the data that it was searched on.

    Raises:
        InputError: No trial is finished in this store, which is left as it is; or there is no
            such device here.
        ResumeError: Settings or data changed: its models would get rows encoded otherwise.
    """
    find_device(device)
    folder = _folder(store)
    if not StudyFolder(folder / "studies", study.spec.name).trials():
        raise InputError(
            f"The study {study.spec.name} has no finished trial in {folder}. "
            "Run `mtl search` first, or name its store with `--store DIR`."
        )
    session = open_session(study, store, tables, tracking_uri, device)
    launched = session.folder.record()["settings"]
    check_resume(session.name, launched, launch_settings(study, session.prepared))
    return session


def workers_of(session: Session, asked: int | None, say: Say) -> int:
    """Returns how many workers train: those asked for, by default one a core; one on a GPU."""
    if session.device.type == "cpu":
        return asked or default_workers(session.study)
    if asked is not None and asked > 1:
        say(f"Note: one worker serves {session.device.type}; {asked} would wait for each other.")
    return 1


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


def comparison_file(session: Session, part: str) -> Path:
    """Returns where the comparison of the model that the study ends with is kept."""
    return comparison_path(session.folder, find_choice(session), part)


def read_comparison(session: Session, part: str) -> Mapping[str, Any] | None:
    """Returns the comparison of that model on this data; None before it was made."""
    data = session.prepared.data_digest
    return known_comparison(session.folder, find_choice(session), part, data)


def find_choice(session: Session) -> Choice:
    """Returns what the study ends with: the shipped model among the seeds of its configuration.

    Raises:
        InputError: No trial is complete.
    """
    found = choose(session.folder, session.study.spec.search.finalists)
    if found is None:
        raise InputError(
            f"No trial of {session.name} is complete; `mtl show` tells how they ended."
        )
    return found


def find_trial(session: Session, trial: int | str) -> TrialRecord:
    """Returns a finished trial by number, or for `best` the record of the model that is shipped.

    Raises:
        InputError: The study has no such trial.
    """
    if trial == "best":
        return find_choice(session).shipped
    trials = session.folder.trials()
    found = next((one for one in trials if str(one.number) == str(trial)), None)
    if found is None:
        raise InputError(
            f"The study {session.name} has no finished trial {trial}: "
            f"its trials are 0 to {trials[-1].number}."
        )
    return found


def model_of(
    session: Session, record: TrialRecord, say: Say, row: RowPlan | None = None
) -> Predictor:
    """Returns a trial's or finalist's model, trained again from its record where it was not kept.

    A pruned trial is trained as far as it came: its model is that of its best epoch until then.

    Args:
        session: The study.
        record: How the trial ended.
        say: Told what is trained.
        row: The row that it belongs to; the study's own trials by default.

    Raises:
        InputError: The trial diverged or failed, so that it has no model.
        TrainingError: Trained again, it does not complete.
    """
    row = row or tuned_row(session.study, session.prepared)
    folder = session.folder if row.is_tuned else session.folder.row(row.name)
    kept = folder.load_model(record.key) or session.retrained.get((row.name, record.key))
    if kept is not None:
        return kept
    name = f"trial {record.label.removeprefix('#')}"
    name = name if row.is_tuned else f"{row.name} {name}"
    if record.state not in ("complete", "pruned"):
        raise InputError(
            f"{name.capitalize()} of {session.name} {record.state} and has no model. "
            f"`mtl show --trial {record.number}` tells why; choose another trial."
        )
    say(f"The model of {name} was not kept: training it again from its record.")
    predictor = _train_again(session, record, row, name.capitalize())
    session.retrained[row.name, record.key] = predictor
    return predictor


def train_alone(
    session: Session,
    member: Member,
    on_epoch: Callable[[list[EpochResult]], Stops],
    first_epoch: int = 1,
) -> Trained:
    """Trains one member where the session trains.

    Raises:
        TrainingError: The memory of the device is too small for it.
    """
    with one_thread():
        try:
            return train([member], session.prepared, on_epoch, first_epoch, session.placed)[0]
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            raise TrainingError(TOO_LARGE) from error


def _train_again(session: Session, record: TrialRecord, row: RowPlan, name: str) -> Predictor:
    member = row.member(
        session.study, session.prepared, record.number, record.params, record.replicate
    )

    def as_far(results: list[EpochResult]) -> Stops:
        ended = results[0].epoch >= record.epochs
        return {record.number: Stop("complete", record.reason)} if ended else {}

    trained = train_alone(session, member, as_far, record.first_epoch)
    if trained.state != "complete":
        raise TrainingError(f"{name} ended as {trained.state}: {trained.reason}.")
    return make_predictor(member, trained, session.prepared)


def _folder(store: Store | Path | str) -> Path:
    return store.folder if isinstance(store, Store) else Path(store)


def _remove_empty(store: Path) -> None:
    """Removes a store that holds nothing but the lock of a preparation that failed."""
    index = store / "cache" / "index"
    with suppress(OSError):  # whatever is not empty stays
        for lock in index.glob("*.lock"):
            lock.unlink()
        for folder in (index, index.parent, store):
            folder.rmdir()
