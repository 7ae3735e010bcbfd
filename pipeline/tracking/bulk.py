"""Many runs in one transaction of MLflow's own SQLite database.

MLflow's client writes a run at a time, through objects of its database library, and asks the
database several times for each: most of what tracking a fast study costs. Written here are the
same rows as it would have written, for the one revision of its tables that is known; a test
compares the two. Anything out of the ordinary is left to the client: see `Bulk.write`.
"""

from __future__ import annotations

import math
import sqlite3
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from pipeline.errors import StoreError
from pipeline.tracking.changes import Change, NewRun, cut_param, cut_tag

REVISION = "dc11669786a5"
"""Of MLflow's tables that this writes. With any other, everything is left to the client."""

_ROWS = 5000  # of one transaction: about 50 ms, in which nobody else can write
_BUSY_SECONDS = 20.0  # as MLflow waits for the lock
_OLDEST_SQLITE = (3, 24, 0)  # the first with ON CONFLICT
_LARGEST = 1.7976931348623157e308  # stands for an infinity in MLflow's tables
_NAME_TAG = "mlflow.runName"
_USER_TAG = "mlflow.user"

_RUN = """
INSERT INTO runs (run_uuid, name, user_id, start_time, artifact_uri, experiment_id, status,
    source_type, source_name, entry_point_name, source_version, lifecycle_stage)
VALUES (?, ?, ?, ?, ?, ?, 'RUNNING', 'UNKNOWN', '', '', '', 'active')"""
_TAG = """
INSERT INTO tags (run_uuid, key, value) VALUES (?, ?, ?)
ON CONFLICT (key, run_uuid) DO UPDATE SET value = excluded.value"""
_PARAM = "INSERT INTO params (run_uuid, key, value) VALUES (?, ?, ?)"
_METRIC = """
INSERT INTO metrics (run_uuid, key, step, timestamp, value, is_nan) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (key, timestamp, step, run_uuid, value, is_nan) DO NOTHING"""
_LATEST = """
INSERT INTO latest_metrics (run_uuid, key, step, timestamp, value, is_nan)
VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (key, run_uuid) DO UPDATE SET step = excluded.step, timestamp = excluded.timestamp,
    value = excluded.value, is_nan = excluded.is_nan
WHERE (excluded.step, excluded.timestamp, excluded.value)
    > (latest_metrics.step, latest_metrics.timestamp, latest_metrics.value)"""
_END = "UPDATE runs SET status = ?, end_time = ? WHERE run_uuid = ?"
_ACTIVE = "SELECT 1 FROM runs WHERE run_uuid = ? AND lifecycle_stage = 'active'"
_LOCATION = """
SELECT artifact_location FROM experiments
WHERE experiment_id = ? AND lifecycle_stage = 'active'"""

Rows = list[tuple[Any, ...]]


class Bulk:
    """Writes runs to MLflow's database; from one thread at a time.

    Args:
        database: A file of the revision `REVISION`; see `open_bulk`.
        busy_seconds: How long to wait for another that writes.
    """

    def __init__(self, database: Path, busy_seconds: float = _BUSY_SECONDS) -> None:
        # It begins and ends its transactions itself: else they begin as readers, and a reader may
        # be refused when it comes to write.
        self._connection = sqlite3.connect(
            database, timeout=busy_seconds, isolation_level=None, check_same_thread=False
        )
        self._connection.execute("PRAGMA foreign_keys = ON")
        self._names: set[str] = set()

    def create(self, experiment_id: str, new: Sequence[NewRun]) -> list[str] | None:
        """Opens runs in one transaction.

        Returns:
            Their ids in the same order; None where this is left to the client: the experiment is
            not active, or a run has no plain name, time or tags.

        Raises:
            StoreError: The database refused; nothing was written.
        """
        from mlflow.utils.uri import append_to_uri_path

        if not all(self._is_plain_start(run) for run in new):
            return None
        with _refusals("Opening runs"):
            found = self._connection.execute(_LOCATION, (int(experiment_id),)).fetchone()
        if found is None or not found[0]:
            return None
        ids = [uuid.uuid4().hex for _ in new]
        runs: Rows = []
        tags: Rows = []
        for run_id, run in zip(ids, new, strict=True):
            location = append_to_uri_path(found[0], run_id, "artifacts")  # type: ignore[no-untyped-call]
            texts = {key: cut_tag(value) for key, value in run.tags.items()}
            user = texts.get(_USER_TAG, "unknown")
            runs.append((run_id, run.name, user, run.started_ms, location, int(experiment_id)))
            tags += [(run_id, key, value) for key, value in {**texts, _NAME_TAG: run.name}.items()]
        with _refusals("Opening runs"), self._transaction():
            self._connection.executemany(_RUN, runs)
            self._connection.executemany(_TAG, tags)
        return ids

    def write(self, changes: Sequence[Change]) -> list[Change]:
        """Writes changes in transactions of a few thousand rows, each short.

        Returns:
            The changes that are left to the client: those with files, with a name that MLflow
            refuses or treats specially, with a parameter that was written before, and those of a
            run that is not there or was deleted.

        Raises:
            StoreError: The database refused. Some changes may be written; writing them again
                changes nothing.
        """
        plain: list[Change] = []
        left: list[Change] = []
        for change in changes:
            (plain if self._is_plain(change) else left).append(change)
        with _refusals("Writing runs"):
            for group in _groups(plain):
                left += self._write(group)
        return left

    def close(self) -> None:
        """Closes the database."""
        self._connection.close()

    def _write(self, changes: Sequence[Change]) -> list[Change]:
        active: list[Change] = []
        left: list[Change] = []
        for change in changes:
            is_active = self._connection.execute(_ACTIVE, (change.run_id,)).fetchone()
            (active if is_active else left).append(change)
        rows = _rows(active)  # before the transaction, which keeps others from writing
        try:
            with self._transaction():
                for statement, values in rows.items():
                    self._connection.executemany(statement, values)
        except sqlite3.IntegrityError:  # such as a parameter that was written before
            return list(changes)
        return left

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise

    def _is_plain_start(self, run: NewRun) -> bool:
        return (
            bool(run.name)
            and run.started_ms > 0
            and _NAME_TAG not in run.tags
            and self._are_names(run.tags)
        )

    def _is_plain(self, change: Change) -> bool:
        return (
            not change.files
            and _NAME_TAG not in change.tags
            and all(cut_param(text) == text for text in change.texts().values())
            and (change.status is None or change.ended_ms > 0)
            and all(timestamp_ms >= 0 for _, _, timestamp_ms, _ in change.metrics)
            and self._are_names(change.params)
            and self._are_names(change.tags)
            and self._are_names({name for name, *_ in change.metrics})
        )

    def _are_names(self, names: Iterable[str]) -> bool:
        fresh = set(names) - self._names
        if not all(_is_name(name) for name in fresh):
            return False
        self._names |= fresh
        return True


def open_bulk(tracking_uri: str) -> Bulk | None:
    """Opens the database of a tracking URI.

    Returns:
        None where everything is left to MLflow's client: for a server, for a database that is no
        SQLite file, and for tables of another revision than the known one.
    """
    from sqlalchemy import make_url

    if sqlite3.sqlite_version_info < _OLDEST_SQLITE or not tracking_uri.startswith("sqlite:///"):
        return None
    url = make_url(tracking_uri)
    if url.query or not url.database or url.database == ":memory:":
        return None
    database = Path(url.database)
    if not database.is_file() or _revision(database) != REVISION:
        return None
    return Bulk(database)


def _revision(database: Path) -> str | None:
    try:
        with closing(sqlite3.connect(database, timeout=_BUSY_SECONDS)) as connection:
            found = connection.execute("SELECT version_num FROM alembic_version").fetchall()
    except sqlite3.Error:
        return None
    return str(found[0][0]) if len(found) == 1 else None


@contextmanager
def _refusals(action: str) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise StoreError(f"{action} failed: {error}") from error


def _is_name(name: str) -> bool:
    from mlflow.utils import validation

    # These functions have no hints.
    allowed: Any = validation.validate_param_and_metric_name(name)  # type: ignore[no-untyped-call]
    moved: Any = validation.path_not_unique(name)  # type: ignore[no-untyped-call]
    return bool(allowed) and not moved and len(name) <= validation.MAX_ENTITY_KEY_LENGTH


def _groups(changes: Sequence[Change]) -> Iterator[list[Change]]:
    group: list[Change] = []
    n_rows = 0
    for change in changes:
        size = len(change.metrics) + len(change.params) + len(change.tags)
        if group and n_rows + size > _ROWS:
            yield group
            group, n_rows = [], 0
        group.append(change)
        n_rows += size
    if group:
        yield group


def _rows(changes: Sequence[Change]) -> dict[str, Rows]:
    """Returns the rows by statement, in the order in which they are to be written."""
    rows: dict[str, Rows] = {_PARAM: [], _METRIC: [], _LATEST: [], _TAG: [], _END: []}
    for change in changes:
        run_id = change.run_id
        rows[_PARAM] += [(run_id, key, text) for key, text in change.texts().items()]
        points = [_point(run_id, *values) for values in change.metrics]
        rows[_METRIC] += points
        rows[_LATEST] += _latest(points)
        rows[_TAG] += [(run_id, key, cut_tag(text)) for key, text in change.tags.items()]
        if change.status is not None:
            rows[_END].append((change.status, change.ended_ms, run_id))
    return rows


def _point(
    run_id: str, name: str, value: float, timestamp_ms: int, step: int
) -> tuple[str, str, int, int, float, bool]:
    if math.isnan(value):
        return run_id, name, step, timestamp_ms, 0.0, True
    return run_id, name, step, timestamp_ms, min(max(value, -_LARGEST), _LARGEST), False


def _latest(points: Rows) -> Rows:
    """Returns the point of each metric that MLflow shows: of the largest step, time and value."""
    latest: dict[str, tuple[Any, ...]] = {}
    for point in points:
        before = latest.get(point[1])
        if before is None or point[2:5] > before[2:5]:
            latest[point[1]] = point
    return list(latest.values())
