"""The one place where MLflow enters: a client of a tracking URI, and its errors translated."""

from __future__ import annotations

import logging
import os
import socket
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

from pipeline.errors import StoreError

if TYPE_CHECKING:
    from mlflow import MlflowClient

_PREFIX = "sqlite:///"
_ATTEMPTS, _REACH_SECONDS = 3, 5.0
_SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_UV_AUTO_DETECT": "false",  # a `uv.lock` of the working directory is no part of a model
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # stdout is for `--json`
}

_TALKATIVE = (
    "alembic",
    "alembic.runtime.migration",
    "mlflow.pyfunc",
    "mlflow.store.db.utils",
    "mlflow.store.model_registry.abstract_store",
)


def connect(tracking_uri: str) -> MlflowClient:
    """Returns a client of this store or server, whatever the process's own tracking URI is.

    Importing MLflow takes seconds, so it happens here and not when the module is imported.

    Raises:
        StoreError: The database cannot be opened or its schema is of another MLflow version, or
            the server cannot be reached.
    """
    _settle()
    if tracking_uri.startswith(("http://", "https://")):
        _reach(tracking_uri)
    with _own_warnings_only():
        from mlflow import MlflowClient
    with (
        store_errors(f"Opening the tracking store {tracking_uri}"),
        _no_stray_folder(tracking_uri),
        _own_warnings_only(),
    ):
        client = MlflowClient(tracking_uri=tracking_uri, registry_uri=tracking_uri)
        if unquote(tracking_uri) != tracking_uri:
            client.search_registered_models(max_results=1)  # the registry opens the file anew
    return client


def model_library() -> ModuleType:
    """Imports and returns `mlflow.pyfunc`, without the warnings of MLflow about its own classes."""
    _settle()
    with _own_warnings_only():
        import mlflow.pyfunc
    return mlflow.pyfunc


@contextmanager
def as_process_default(tracking_uri: str) -> Iterator[None]:
    """Makes a tracking URI the process's own for a moment, then restores what was set.

    For the few calls that make a client of their own inside, whatever client they are called on.
    """
    import mlflow

    variable = "MLFLOW_TRACKING_URI"
    in_environment = os.environ.get(variable)
    is_set = mlflow.is_tracking_uri_set()  # type: ignore[no-untyped-call]
    before = mlflow.get_tracking_uri() if is_set else None
    mlflow.set_tracking_uri(tracking_uri)
    try:
        yield
    finally:
        # None takes back what was set, which MLflow's hint of the argument forgets.
        unset: Any = None
        mlflow.set_tracking_uri(unset if before == in_environment else before or unset)
        if in_environment is None:
            os.environ.pop(variable, None)
        else:
            os.environ[variable] = in_environment


@contextmanager
def store_errors(action: str) -> Iterator[None]:
    """Turns MLflow's, SQL's and the file system's errors into a `StoreError` that says what failed.

    Args:
        action: What is being done, as the subject of a sentence: "Registering the model adult".

    Raises:
        StoreError: Anything of these was raised inside.
    """
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, SQLAlchemyError, OSError) as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise StoreError(f"{action} failed: {reason[0]}") from error


def sqlite_uri(database: Path) -> str:
    """Returns the tracking URI of a database file.

    SQLAlchemy says how `%`, `?` and `#` are written, which differs between its versions.
    """
    if not set(str(database)) & set("%?#"):
        return f"{_PREFIX}{database}"
    from sqlalchemy import URL

    return URL.create("sqlite", database=str(database)).render_as_string(hide_password=False)


def is_server(tracking_uri: str) -> bool:
    """Tells whether a tracking URI names a server and not a database that this process opens."""
    return urlsplit(tracking_uri).scheme in ("http", "https", "databricks")


def local_path(uri: str) -> Path | None:
    """Returns the folder that a `file:` URI or a plain path names; None for anything remote."""
    parts = urlsplit(uri)
    if parts.scheme == "file":
        return Path(unquote(parts.path))
    return Path(uri) if parts.scheme == "" else None


def _reach(tracking_uri: str) -> None:
    """Asks whether anybody listens, before MLflow tries for minutes.

    Raises:
        StoreError: Nobody does.
    """
    parts = urlsplit(tracking_uri)
    host = parts.hostname or ""
    if parts.scheme in getproxies() and not proxy_bypass(host):
        return  # a proxy reaches hosts that this machine does not
    for attempt in range(_ATTEMPTS):
        try:
            port = parts.port or {"http": 80, "https": 443}[parts.scheme]
            socket.create_connection((host, port), timeout=_REACH_SECONDS).close()
        except (OSError, ValueError) as error:
            if attempt + 1 == _ATTEMPTS:
                raise StoreError(
                    f"The tracking server {tracking_uri} cannot be reached: {error}. Start it, or "
                    "name another by `--tracking-uri`; without one, the store's own database is "
                    "used."
                ) from error
            time.sleep(1.0)  # it may be starting
        else:
            return


def _settle() -> None:
    """Sets what MLflow reads from the environment, unless the user has."""
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)


@contextmanager
def _own_warnings_only() -> Iterator[None]:
    # MLflow warns of its own classes, and its database library of MLflow, when first imported.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextmanager
def _no_stray_folder(tracking_uri: str) -> Iterator[None]:
    # MLflow makes the parent folders of a SQLite file from the URI without decoding it, so a path
    # with `%`, `?` or `#` leaves an empty twin beside the real one.
    twin = Path(tracking_uri.removeprefix(_PREFIX)).parent
    decoded = Path(unquote(str(twin)))
    if not tracking_uri.startswith(_PREFIX) or twin == decoded or twin.exists():
        yield
        return
    made = [folder for folder in (twin, *twin.parents) if not folder.exists()]
    yield
    for folder in made:
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
