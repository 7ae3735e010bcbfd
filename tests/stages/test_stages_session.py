import logging
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from stage_cases import chain_study, people

from pipeline import prepare
from pipeline.cli import main
from pipeline.driver.records import StudyFolder
from pipeline.driver.trials import make_member
from pipeline.errors import TrainingError
from pipeline.stages import session as sessions
from pipeline.stages.session import Session, train_alone, workers_of
from pipeline.stages.telling import PROGRESS
from pipeline.tracking.store import Store


@pytest.fixture
def session_on(tmp_path: Path, store: Store) -> Callable[[str], Session]:
    """Opens a study as if its device were there."""
    study = chain_study()
    prepared = prepare(study, store, {"people": people()})
    folder = StudyFolder(tmp_path, "chain")

    def open_on(device: str) -> Session:
        return Session(study, prepared, store, folder, {}, device=torch.device(device))

    return open_on


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


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory."),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    ],
    ids=["torch", "cublas"],
)
def test_a_member_that_needs_too_much_memory_alone_is_told_with_the_remedy(
    error: Exception, session_on: Callable[[str], Session], monkeypatch: pytest.MonkeyPatch
) -> None:
    def train(*_: object) -> None:
        raise error

    monkeypatch.setattr(sessions, "train", train)
    session = session_on("cpu")
    one = make_member(session.study, session.prepared, 0, {})
    with pytest.raises(TrainingError, match=r"One member alone.*--device cpu"):
        train_alone(session, one, lambda results: {})
