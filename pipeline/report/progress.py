"""Live progress of a search on a terminal, or a line a cohort where there is none."""

from __future__ import annotations

import time
from collections.abc import Sequence

from rich.console import Console
from rich.live import Live
from rich.text import Text

from pipeline.driver.records import TrialRecord, best_trials
from pipeline.report.tables import states_line
from pipeline.training.members import EpochResult

LINE_SECONDS = 10.0
"""Least time between two lines while trials run, where trials end one by one."""


class Progress:
    """Shows what is done, running and pruned, the best so far for each task, the expected end.

    Args:
        console: Where to write; a terminal gets one line that changes.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live: Live | None = None
        self._n_trials = 0
        self._trials: list[TrialRecord] = []
        self._epochs: dict[int, int] = {}
        self._ended: set[int] = set()
        self._running: set[int] = set()
        self._said = -float("inf")
        self._started = time.monotonic()
        self._n_before = 0
        self._finalists = ""

    def search_started(self, n_trials: int, finished: Sequence[TrialRecord]) -> None:
        """Notes how far an earlier launch came."""
        self._n_trials = n_trials
        self._trials = list(finished)
        self._n_before = len(finished)
        self._started = time.monotonic()
        if finished and len(finished) < n_trials:
            self._say(f"Resuming: {len(finished)} trials are finished.")
        if self._console.is_terminal:
            self._live = Live(console=self._console, transient=True, refresh_per_second=4)
            self._live.start()

    def trials_started(self, numbers: Sequence[int]) -> None:
        """Starts to show trials."""
        self._running.update(numbers)
        self._show()

    def epochs_done(self, results: Sequence[EpochResult]) -> None:
        """Shows how far the members came."""
        for result in results:
            self._epochs[result.number] = result.epoch
            if result.last:
                self._ended.add(result.number)
        self._show()

    def trials_done(self, trials: Sequence[TrialRecord]) -> None:
        """Shows how trials ended: where nothing else runs, or now and then, as a line."""
        self._trials += trials
        for trial in trials:
            self._running.discard(trial.number)
            self._epochs.pop(trial.number, None)
            self._ended.discard(trial.number)
        self._show(says=not self._running or self._is_due())

    def finalists_trained(self, what: str, epoch: int, n_epochs: int) -> None:
        """Shows at which epoch the finalists are: now and then, as a line."""
        self._finalists = f"{what} {epoch} of {n_epochs}"
        self._show(says=self._is_due())

    def search_ended(self) -> None:
        """Leaves the last state on the terminal."""
        self._finalists = ""
        if self._live is not None:
            self._live.stop()
            self._live = None
            self._say(self._line())

    def _is_due(self) -> bool:
        return time.monotonic() - self._said >= LINE_SECONDS

    def _show(self, says: bool = False) -> None:
        """Shows the state on a terminal; elsewhere only where it is to be said."""
        if self._live is not None:
            self._live.update(Text(self._line()))
        elif says:
            self._said = time.monotonic()
            self._say(self._line())

    def _say(self, line: str) -> None:
        # As it is: no markup in a task's name, no break at the edge of what is no terminal.
        self._console.print(line, highlight=False, markup=False, soft_wrap=True)

    def _line(self) -> str:
        parts = [f"{len(self._trials)} of {self._n_trials} trials: {states_line(self._trials)}"]
        if self._running:
            n_running = len(self._running - self._ended)
            epoch = max(self._epochs.values(), default=0)
            first, last = min(self._running), max(self._running)
            numbers = f"#{first} trains" if first == last else f"#{first} to #{last} train"
            parts.append(f"{numbers} ({n_running} on, epoch {epoch})")
        if self._finalists:
            parts.append(self._finalists)
        for best in best_trials(self._trials, 1):
            scores = best.evaluation.scores if best.evaluation else {}
            found = ", ".join(f"{task} {score:.4f}" for task, score in scores.items())
            parts.append(f"best #{best.number} {best.score:.4f} ({found})")
        remaining = self._remaining_seconds()
        if remaining is not None:
            parts.append(f"about {duration(remaining)} left")
        return " | ".join(parts)

    def _remaining_seconds(self) -> float | None:
        n_done = len(self._trials) - self._n_before
        n_left = self._n_trials - len(self._trials)
        if n_done <= 0 or n_left <= 0:
            return None
        return (time.monotonic() - self._started) / n_done * n_left


def duration(seconds: float) -> str:
    """Returns a duration as people say it."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
