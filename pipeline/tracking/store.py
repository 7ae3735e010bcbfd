"""The store: the folder in which a working directory's studies live."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from pipeline.errors import StoreError
from pipeline.serving.connection import connect, is_server, sqlite_uri, store_errors

if TYPE_CHECKING:
    from mlflow import MlflowClient

_DATABASE = "mlflow.db"
_UNFINISHED = ".creating"
_LOCK_SECONDS = 120.0  # making a fresh database takes 3 s on an idle machine


@dataclass(frozen=True)
class Store:
    """Where a study's records live.

    Attributes:
        folder: Absolute path of the store.
        tracking_uri: The SQLite database in `folder`, or a server.
        artifacts: Files of the runs and models; a server keeps its own.
        studies: Optuna journals.
        cache: Prepared data.
    """

    folder: Path
    tracking_uri: str
    artifacts: Path
    studies: Path
    cache: Path

    @property
    def is_local(self) -> bool:
        """Whether this process writes the tracking database itself."""
        return not is_server(self.tracking_uri)

    def client(self) -> MlflowClient:
        """Returns a client with explicit URIs; see `pipeline.serving.connection`."""
        return connect(self.tracking_uri)

    def artifact_location(self, study: str) -> str | None:
        """Returns where the files of a study's experiment go; None where the server decides."""
        return (self.artifacts / study).as_uri() if self.is_local else None

    def lock(self, name: str) -> FileLock:
        """Returns the lock of this name, shared by all processes that use the store."""
        return FileLock(self.folder / "locks" / f"{name}.lock")


def open_store(folder: Path, tracking_uri: str | None = None) -> Store:
    """Opens a store, making it first where it does not exist.

    One process at a time: two that open one fresh database at once would leave it unusable.

    Args:
        folder: The store; made with its parents.
        tracking_uri: A server or database to use in place of the store's own database.

    Raises:
        StoreError: The folder cannot be made or written, the URI is of no known form, or the
            database cannot be opened.
    """
    folder = Path(folder).absolute()
    database = folder / _DATABASE
    store = Store(
        folder=folder,
        tracking_uri=tracking_uri or sqlite_uri(database),
        artifacts=folder / "artifacts",
        studies=folder / "studies",
        cache=folder / "cache",
    )
    _check_uri(store.tracking_uri)
    try:
        for made in (folder, store.artifacts, store.studies, store.cache, folder / "locks"):
            made.mkdir(parents=True, exist_ok=True)
        with store.lock("store").acquire(timeout=_LOCK_SECONDS):
            _write_gitignore(folder)
            if tracking_uri is None:
                _create_database(database, store.tracking_uri)
    except Timeout as error:
        raise StoreError(
            f"The store {folder} is locked by another process for {_LOCK_SECONDS:g} seconds. "
            "End that process, or choose another store with `--store DIR`."
        ) from error
    except (OSError, sqlite3.Error) as error:
        raise StoreError(
            f"The store {folder} cannot be written: {error}. Choose another with `--store DIR`."
        ) from error
    return store


def _check_uri(tracking_uri: str) -> None:
    known = ("http://", "https://", "databricks", "sqlite:", "postgresql", "mysql", "mssql")
    if not tracking_uri.startswith(known):
        raise StoreError(
            "`--tracking-uri` must name a server (http://host:port) or a database "
            f"(sqlite:///file, postgresql://...). Found {tracking_uri}."
        )


def _write_gitignore(folder: Path) -> None:
    target = folder / ".gitignore"
    if not target.exists():
        rules = files("pipeline.tracking").joinpath("mlruns.gitignore").read_text("utf-8")
        target.write_text(rules, encoding="utf-8")


def _create_database(database: Path, tracking_uri: str) -> None:
    """Makes the database once; a creation that was killed half-way starts again from nothing."""
    unfinished = database.with_name(_UNFINISHED)
    if database.exists() and not unfinished.exists():
        return
    unfinished.touch()
    for suffix in ("", "-wal", "-shm", "-journal"):
        database.with_name(database.name + suffix).unlink(missing_ok=True)
    with closing(sqlite3.connect(database)) as connection:
        # Write-ahead logging must be chosen before MLflow opens the file; it halves the cost of
        # a write and lets the UI read while a study writes.
        connection.execute("PRAGMA journal_mode=WAL")
    client = connect(tracking_uri)
    with store_errors(f"Making the tracking database {database}"):
        client.search_experiments(max_results=1)
        client.search_registered_models(max_results=1)
    unfinished.unlink()
