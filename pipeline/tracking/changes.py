"""What waits to be written to runs, gathered while a study trains."""

from __future__ import annotations

import hashlib
import json
import math
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

_PARAM_LIMIT = 6000  # characters; MLflow cuts silently
_TAG_LIMIT = 8000


@dataclass(frozen=True)
class NewRun:
    """A run to be opened.

    Attributes:
        name: Shown in the UI.
        tags: Texts by name; too long ones are cut.
        started_ms: When it began, in milliseconds since 1970.
    """

    name: str
    tags: Mapping[str, str]
    started_ms: int


@dataclass
class Change:
    """What waits to be written to one run. Writing it again changes nothing.

    Attributes:
        run_id: Of the run.
        metrics: Name, value, time in milliseconds, step.
        params: Values by name; each can be written once.
        tags: Texts by name.
        files: Texts of artifacts by path.
        status: MLflow's status of a run that ends; None for one that goes on.
        ended_ms: When it ended, in milliseconds since 1970.
        since: Monotonic time in seconds at which the first of all this came.
    """

    run_id: str
    metrics: list[tuple[str, float, int, int]] = field(default_factory=list)
    params: dict[str, Any] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    status: str | None = None
    ended_ms: int = 0
    since: float = field(default_factory=time.monotonic)

    @property
    def action(self) -> str:
        """What writing it does, as the subject of a sentence."""
        what = "Writing epochs of" if self.status is None else "Ending"
        return f"{what} the run {self.run_id}"

    def add(self, metrics: Mapping[str, float], step: int, timestamp_ms: int) -> None:
        """Appends values of one step."""
        step, timestamp_ms = int(step), int(timestamp_ms)  # a database takes none of NumPy's
        for name, value in metrics.items():
            # MLflow turns an infinity into 1.8e308, which flattens every chart.
            finite = float(value) if math.isfinite(value) else math.nan
            self.metrics.append((name, finite, timestamp_ms, step))

    def end(
        self, status: str, ended_ms: int, tags: Mapping[str, str], files: Mapping[str, str]
    ) -> None:
        """Notes that the run ends, with its last tags and files."""
        self.status, self.ended_ms = status, ended_ms
        self.tags.update(tags)
        self.files.update(files)

    def texts(self) -> dict[str, str]:
        """Returns the parameters as texts of any length."""
        return {name: _text(value) for name, value in self.params.items()}


class Changes:
    """The changes of all runs; any thread may add and take."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[str, Change] = {}

    def params(self, run_id: str, params: Mapping[str, Any]) -> None:
        """Adds parameters of a run."""
        with self._lock:
            self._of(run_id).params.update(params)

    def metrics(
        self, run_id: str, metrics: Mapping[str, float], step: int, timestamp_ms: int
    ) -> None:
        """Adds values of one step."""
        with self._lock:
            self._of(run_id).add(metrics, step, timestamp_ms)

    def end(
        self,
        run_id: str,
        status: str,
        ended_ms: int,
        tags: Mapping[str, str],
        files: Mapping[str, str],
    ) -> None:
        """Ends a run."""
        with self._lock:
            self._of(run_id).end(status, ended_ms, tags, files)

    def drop(self, run_id: str) -> None:
        """Forgets what waits for a run."""
        with self._lock:
            self._waiting.pop(run_id, None)

    def take(self, min_seconds: float = 0.0) -> list[Change]:
        """Takes out the changes of runs that end, and those that wait at least so long."""
        latest = time.monotonic() - min_seconds
        with self._lock:
            ripe = [
                change
                for change in self._waiting.values()
                if change.status is not None or change.since <= latest
            ]
            for change in ripe:
                del self._waiting[change.run_id]
        return ripe

    def _of(self, run_id: str) -> Change:
        change = self._waiting.get(run_id)
        if change is None:
            change = self._waiting[run_id] = Change(run_id)
        return change


def cut_tag(text: str) -> str:
    """Returns the text as long as a tag may be; a cut one ends with a digest of the whole."""
    return _cut(text, _TAG_LIMIT)


def cut_param(text: str) -> str:
    """Returns the text as long as a parameter may be; as `cut_tag`."""
    return _cut(text, _PARAM_LIMIT)


def _text(value: Any) -> str:
    if isinstance(value, list | tuple | dict):
        return json.dumps(value, separators=(",", ":"))
    return str(value)


def _cut(text: str, limit: int) -> str:
    if len(text) <= limit:
        return text
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    mark = f"... cut, sha256 {digest}"
    return text[: limit - len(mark)] + mark
