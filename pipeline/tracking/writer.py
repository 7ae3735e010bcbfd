"""A thread that writes, so that training does not wait for the store."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from pipeline.errors import StoreError
from pipeline.serving.connection import store_errors

_TRIES = 4
_PAUSE_SECONDS = 0.5  # doubles with each try; MLflow itself waits 20 s for a locked database
_TRANSIENT = ("TEMPORARILY_UNAVAILABLE", "INTERNAL_ERROR", "REQUEST_LIMIT_EXCEEDED")

T = TypeVar("T")


class Writer:
    """Runs jobs one after the other, in the order given, in a thread of its own.

    A job that fails is tried again, so jobs must be safe to repeat. What still fails is kept and
    raised by the next `call`, `flush` or `close`, in the caller's thread.

    Args:
        gathered: Writes what was gathered elsewhere, with `attempt`: called in the thread every
            `every_seconds` with False, and by `flush` and `close` with True, for all of it.
        every_seconds: Time between two such calls.
        pause_seconds: Before the second try of a job; doubles with each try.
    """

    def __init__(
        self,
        gathered: Callable[[bool], None] = lambda everything: None,
        every_seconds: float = 1.0,
        pause_seconds: float = _PAUSE_SECONDS,
    ) -> None:
        self._gathered = gathered
        self._every_seconds = every_seconds
        self._pause_seconds = pause_seconds
        self._jobs: queue.Queue[Callable[[], object] | None] = queue.Queue()
        self._one_at_a_time = threading.Lock()
        self._error: StoreError | None = None
        self._thread = threading.Thread(target=self._work, name="tracking", daemon=True)
        self._thread.start()

    @property
    def closed(self) -> bool:
        """Whether the thread has ended."""
        return not self._thread.is_alive()

    def submit(self, action: str, job: Callable[[], object]) -> None:
        """Queues a job; `action` names it in an error: "Logging trial 17"."""
        if self.closed:
            raise RuntimeError("The writer is closed.")
        self._jobs.put(lambda: self.attempt(action, job))

    def attempt(self, action: str, job: Callable[[], T]) -> T | None:
        """Runs a job now; returns None where it failed, and keeps the error for the caller."""
        try:
            return self._try(action, job)
        except Exception as error:
            self._keep(action, error)
        return None

    def call(self, action: str, job: Callable[[], T]) -> T:
        """Runs a job now, between two queued ones, and returns its result.

        Raises:
            StoreError: This job failed, or one before it had.
        """
        self._raise()
        return self._try(action, job)

    def flush(self) -> None:
        """Waits until every queued job has run and all that was gathered is written.

        Raises:
            StoreError: A job failed.
        """
        if not self.closed:
            self._jobs.put(lambda: self._write_gathered(True))
            self._jobs.join()
        self._raise()

    def close(self) -> None:
        """Writes as `flush` does and ends the thread. Closing twice does nothing.

        Raises:
            StoreError: A job failed.
        """
        if not self.closed:
            self._jobs.put(lambda: self._write_gathered(True))
            self._jobs.put(None)
            self._thread.join()
        self._raise()

    def _raise(self) -> None:
        error, self._error = self._error, None
        if error is not None:
            raise error

    def _keep(self, action: str, error: Exception) -> None:
        failure = error
        if not isinstance(failure, StoreError):
            failure = StoreError(f"{action} failed: {error!r}")
            failure.__cause__ = error
        self._error = self._error or failure

    def _work(self) -> None:
        due = time.monotonic() + self._every_seconds
        while True:
            try:
                job = self._jobs.get(timeout=max(0.0, due - time.monotonic()))
            except queue.Empty:
                self._write_gathered(False)
                due = time.monotonic() + self._every_seconds
                continue
            if job is None:
                return
            job()
            self._jobs.task_done()

    def _write_gathered(self, everything: bool) -> None:
        # The thread must live on, whatever happens: `flush` waits for it.
        try:
            self._gathered(everything)
        except Exception as error:
            self._keep("Writing what was gathered", error)

    def _try(self, action: str, job: Callable[[], T]) -> T:
        for attempt in range(_TRIES):
            try:
                with self._one_at_a_time, store_errors(action):
                    return job()
            except StoreError as error:
                if attempt == _TRIES - 1 or not _may_pass(error):
                    raise
            time.sleep(self._pause_seconds * 2**attempt)
        raise AssertionError("unreachable: the last attempt returns or raises")


def _may_pass(error: StoreError) -> bool:
    # A refused value stays refused; a busy database, server or disk may recover.
    code = getattr(error.__cause__, "error_code", "INTERNAL_ERROR")
    return code in _TRANSIENT
