"""What stages tell people on stderr: sentences, and how far long work is."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Callable
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.text import Text

from pipeline.report.progress import duration

Say = Callable[[str], None]
PROGRESS = logging.getLogger("pipeline.progress")
"""Its level says whether long work is told of; the lines themselves go to stderr."""


def say_on_stderr(text: str) -> None:
    """Prints a message for people."""
    print(text, file=sys.stderr)


class LongWork:
    """Tells on stderr how far long work is, such as the encoding of texts: every few seconds.

    As a context it tells also while a step takes long by itself, such as the fit of a model: on a
    terminal in one line that changes, else in a line now and then, rarer where nothing is new.
    Silent where the logger `pipeline.progress` is above INFO, as under `--json`.

    Args:
        say: Told a line.
        clock: Tells seconds.
        console: Of the line that changes, where `say` is the default; by default stderr.
    """

    EVERY_SECONDS = 5.0
    STILL_SECONDS = 30.0
    """Between two lines that say the same but for the time."""

    def __init__(
        self,
        say: Say = say_on_stderr,
        clock: Callable[[], float] = time.monotonic,
        console: Console | None = None,
    ) -> None:
        self._say, self._clock, self._console = say, clock, console
        self._told = self._since = clock()
        self._doing = ""
        self._done: tuple[int, int | None] = (0, None)
        self._is_new = False
        self._live: Live | None = None
        self._lock = threading.RLock()
        self._ended = threading.Event()
        self._beating: threading.Thread | None = None

    def __call__(self, what: str, done: int, total: int | None = None) -> None:
        """Notes that so much of the work is done; of how much, where that is known."""
        with self._lock:
            now = self._clock()
            if what != self._doing:
                self._doing, self._since = what, now
            self._done, self._is_new = (done, total), True
            self._tell(now)

    def __enter__(self) -> Self:
        if PROGRESS.level > logging.INFO:
            return self
        console = self._console or Console(stderr=True)
        if console.is_terminal and self._say is say_on_stderr:
            self._live = Live(
                console=console, get_renderable=self._shown, transient=True, redirect_stdout=False
            )
            self._live.start()
        else:
            self._beating = threading.Thread(target=self._beat, daemon=True)
            self._beating.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None
        if self._beating is not None:
            self._ended.set()
            self._beating.join()

    def tell_if_due(self) -> None:
        """Tells how far the work is where nothing was told for long."""
        with self._lock:
            if self._doing:
                self._tell(self._clock())

    def _beat(self) -> None:
        while not self._ended.wait(1.0):
            self.tell_if_due()

    def _tell(self, now: float) -> None:
        pause = self.EVERY_SECONDS if self._is_new else self.STILL_SECONDS
        silent = self._live is not None or PROGRESS.level > logging.INFO
        if not silent and now - self._told >= pause:
            self._told, self._is_new = now, False
            self._say(self._line(now))

    def _shown(self) -> Text:
        width = self._live.console.width if self._live is not None else None
        with self._lock:
            line = self._line(self._clock(), width) if self._doing else ""
            return Text(line, no_wrap=True, overflow="ellipsis")

    def _line(self, now: float, width: int | None = None) -> str:
        done, total = self._done
        of_how_much = "" if total is None else f" of {total:,}"
        far = f": {done:,}{of_how_much}, {duration(now - self._since)}"
        return (self._doing if width is None else _cut(self._doing, width - len(far))) + far


def _cut(text: str, most: int) -> str:
    """Takes out what stands before the last word of a long text, which says what is counted."""
    if len(text) <= most:
        return text
    start, _, end = text.rpartition(" ")
    return f"{start[: max(0, most - len(end) - 2)]}\u2026 {end}"
