"""A trial that is trained alone, where the session trains."""

from collections.abc import Callable

import pytest
import torch

from pipeline.driver.trials import make_member
from pipeline.errors import TrainingError
from pipeline.stages import trials
from pipeline.stages.session import Session


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

    monkeypatch.setattr(trials, "train", train)
    session = session_on("cpu")
    one = make_member(session.study, session.prepared, 0, {})
    with pytest.raises(TrainingError, match=r"One member alone.*--device cpu"):
        trials.train_alone(session, one, lambda results: {})
