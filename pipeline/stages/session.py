"""What every stage starts from: a study, its data, its place in a store."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import pandas as pd
import torch

from pipeline.data.prepare import prepare_data
from pipeline.data.prepared import Prepared
from pipeline.driver.launch import default_workers
from pipeline.driver.precision import trains_in_bf16
from pipeline.driver.resume import check_resume, launch_settings
from pipeline.driver.study_folder import StudyFolder
from pipeline.errors import InputError
from pipeline.serving.predictor import Predictor
from pipeline.stages.telling import LongWork, Say, say_on_stderr
from pipeline.study.loading import Study
from pipeline.tracking.store import Store, open_store
from pipeline.training.devices import CPU, find_device
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
