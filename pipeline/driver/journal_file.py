"""Optuna's journal file with one writer: many operations, one write."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from optuna.storages.journal import BaseJournalBackend


class OwnedJournalFile(BaseJournalBackend):
    """A journal file that nobody else writes while this object lives.

    Stock Optuna opens the same file. Its own backend locks, writes, syncs and reads the file
    again for each value of each trial; whoever holds the study's lock needs none of this.

    Args:
        path: The file; made where there is none.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        path.touch()
        self._lines = path.read_bytes().splitlines(keepends=True)
        self._n_written = len(self._lines)
        self._depth = 0

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:
        """Yields operations, those not yet written among them."""
        return (json.loads(line) for line in self._lines[log_number_from:])

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Adds operations, and writes them unless `together` waits for more."""
        self._lines += [
            json.dumps(log, separators=(",", ":")).encode() + b"\n" for log in logs
        ]  # fmt: skip
        if not self._depth:
            self._write()

    @contextmanager
    def together(self) -> Iterator[None]:
        """Writes what is added inside at once, at the end; may be nested.

        A process killed inside leaves nothing of it. What was added before an error is written.
        """
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1
            if not self._depth:
                self._write()

    def abandon(self) -> None:
        """Drops what is not written: whoever reads the file later does it again.

        The study that was read from here knows of it still, and must not be used any more.
        """
        del self._lines[self._n_written :]

    def _write(self) -> None:
        fresh = b"".join(self._lines[self._n_written :])
        if not fresh:
            return
        with self._path.open("ab") as file:
            file.write(fresh)
            file.flush()
            os.fsync(file.fileno())
        self._n_written = len(self._lines)
