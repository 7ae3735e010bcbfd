import logging
from collections.abc import Callable

import pytest

from pipeline.cli import main
from pipeline.stages.session import Session, workers_of
from pipeline.stages.telling import PROGRESS


@pytest.mark.parametrize("words", [["prepare", "none.yaml", "--json"], ["prepare", "none.yaml"]])
def test_progress_is_told_unless_the_answer_is_json(words: list[str]) -> None:
    level = PROGRESS.level
    try:
        assert main(words) == 2  # there is no such study: the level is set before it is read
        assert (PROGRESS.level > logging.INFO) == ("--json" in words)
    finally:
        PROGRESS.setLevel(level)


def test_a_gpu_has_one_worker_and_says_so(session_on: Callable[[str], Session]) -> None:
    said: list[str] = []
    assert workers_of(session_on("cpu"), 3, said.append) == 3
    assert workers_of(session_on("cuda"), None, said.append) == 1
    assert workers_of(session_on("cuda"), 1, said.append) == 1
    assert said == []
    assert workers_of(session_on("cuda"), 4, said.append) == 1
    assert said == ["Note: one worker serves cuda; 4 would wait for each other."]
