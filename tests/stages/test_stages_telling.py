"""Long work is told of: in one line on a terminal, elsewhere in a line now and then."""

import io
import logging
import sys
import time
from collections.abc import Callable

import pytest
from rich.console import Console

from pipeline.stages.telling import PROGRESS, LongWork


def clock_of(*times: float) -> Callable[[], float]:
    return iter(times).__next__


def test_long_work_is_told_every_few_seconds_only() -> None:
    told: list[str] = []
    tell = LongWork(told.append, clock_of(0.0, 1.0, 6.0, 8.0, 12.0))
    for done in (1000, 2000, 3000, 4000):
        tell("Weighing terms, documents", done, 16407)
    assert told == [
        "Weighing terms, documents: 2,000 of 16,407, 5 s",
        "Weighing terms, documents: 4,000 of 16,407, 11 s",
    ]


def test_a_step_without_news_is_told_rarely() -> None:
    told: list[str] = []
    tell = LongWork(told.append, clock_of(0.0, 1.0, 3.0, 7.0, 12.0, 36.0, 38.0, 140.0))
    tell("Linear, topic (task 1 of 2), fits", 2, 5)
    for _ in range(5):  # at 3, 7, 12, 36 and 38 seconds
        tell.tell_if_due()
    assert told == [
        "Linear, topic (task 1 of 2), fits: 2 of 5, 6 s",
        "Linear, topic (task 1 of 2), fits: 2 of 5, 37 s",
    ]
    tell("Rows seen", 4096)
    assert told[2:] == ["Rows seen: 4,096, 0 s"]


def test_nothing_is_told_before_there_is_any_work() -> None:
    told: list[str] = []
    LongWork(told.append, clock_of(0.0)).tell_if_due()
    assert told == []


def test_a_long_step_is_told_while_it_lasts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LongWork, "EVERY_SECONDS", 0.0)
    told: list[str] = []
    with LongWork(told.append) as tell:
        tell("Fits", 1, 2)
        assert told == ["Fits: 1 of 2, 0 s"]
        monkeypatch.setattr(LongWork, "STILL_SECONDS", 0.0)
        for _ in range(100):
            if len(told) > 1:
                break
            time.sleep(0.05)
    assert len(told) > 1
    n_told = len(told)
    time.sleep(0.1)
    assert len(told) == n_told


def test_on_a_terminal_one_line_changes_and_messages_stand_above_it() -> None:
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, width=80)
    with LongWork(console=console) as tell:
        tell("Writing [title], rows", 256, 2048)
        for _ in range(40):  # it is drawn four times a second
            if "256 of 2,048, 0 s" in file.getvalue():
                break
            time.sleep(0.05)
        print("A sentence.", file=sys.stderr)
    assert "Writing [title], rows: 256 of 2,048, 0 s" in file.getvalue()
    assert "A sentence." in file.getvalue()
    assert file.getvalue().endswith("\x1b[2K")  # nothing of the line stays


def test_a_long_line_loses_its_middle_and_not_how_far_it_is() -> None:
    file = io.StringIO()
    what = "Finalists of equal_weights #12, alone-left #3, alone-right #4, 25 models, epoch"
    with LongWork(console=Console(file=file, force_terminal=True, width=60)) as tell:
        tell(what, 7, 24)
        for _ in range(40):
            if "7 of 24" in file.getvalue():
                break
            time.sleep(0.05)
    line = "Finalists of equal_weights #12, alone-l\u2026 epoch: 7 of 24, 0 s"
    assert len(line) == 60
    assert line in file.getvalue()


@pytest.mark.parametrize("terminal", [True, False])
def test_long_work_is_silent_where_the_logger_says_so(
    terminal: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    file = io.StringIO()
    monkeypatch.setattr(PROGRESS, "level", logging.WARNING)
    console = Console(file=file, force_terminal=terminal)
    with LongWork(told.append, iter(range(0, 1000, 10)).__next__, console) as tell:
        tell("Encoding, documents", 1, 2)
    assert told == []
    assert file.getvalue() == ""
    monkeypatch.setattr(PROGRESS, "level", logging.NOTSET)
    tell("Encoding, documents", 1, 2)
    assert told == ["Encoding, documents: 1 of 2, 10 s"]
