import logging

import pytest

from pipeline.cli import main
from pipeline.stages.session import PROGRESS, LongWork


def test_long_work_is_told_every_few_seconds_only() -> None:
    told: list[str] = []
    times = iter([0.0, 1.0, 6.0, 8.0, 12.0])
    tell = LongWork(told.append, lambda: next(times))
    for done in (1000, 2000, 3000, 4000):
        tell("Weighing terms, documents", done, 16407)
    assert told == [
        "Weighing terms, documents: 2,000 of 16,407", "Weighing terms, documents: 4,000 of 16,407",
    ]  # fmt: skip


def test_long_work_is_silent_where_the_logger_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    tell = LongWork(told.append, iter(range(0, 1000, 10)).__next__)
    monkeypatch.setattr(PROGRESS, "level", logging.WARNING)
    tell("Encoding, documents", 1, 2)
    assert told == []
    monkeypatch.setattr(PROGRESS, "level", logging.NOTSET)
    tell("Encoding, documents", 1, 2)
    assert told == ["Encoding, documents: 1 of 2"]


@pytest.mark.parametrize("words", [["prepare", "none.yaml", "--json"], ["prepare", "none.yaml"]])
def test_progress_is_told_unless_the_answer_is_json(words: list[str]) -> None:
    level = PROGRESS.level
    try:
        assert main(words) == 2  # there is no such study: the level is set before it is read
        assert (PROGRESS.level > logging.INFO) == ("--json" in words)
    finally:
        PROGRESS.setLevel(level)
