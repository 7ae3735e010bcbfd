"""bf16 is used where valid scores agree with float32, which is taken and said elsewhere."""

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from driver_cases import small_study
from stand_in import DEVICE, watch

from pipeline.data.prepared import Prepared
from pipeline.driver import precision
from pipeline.driver.precision import EPOCHS, TOLERANCE, largest_difference, trains_in_bf16
from pipeline.driver.study_folder import StudyFolder
from pipeline.driver.trials import make_member
from pipeline.errors import TrainingError
from pipeline.training.devices import CPU
from pipeline.training.loop import train
from pipeline.training.members import Member, Trained
from pipeline.training.placement import Placed

ELSEWHERE = torch.device("cuda")  # never used: what would train there is replaced
BF16 = small_study(train__precision="bf16")


@pytest.fixture
def folder(tmp_path: Path) -> StudyFolder:
    return StudyFolder(tmp_path, "small")


def test_float32_is_taken_unless_bf16_is_asked_for(prepared: Prepared, folder: StudyFolder) -> None:
    said: list[str] = []
    assert not trains_in_bf16(small_study(), prepared, folder, ELSEWHERE, said.append)
    assert said == []
    assert not trains_in_bf16(BF16, prepared, folder, CPU, said.append)
    assert said == ["Note: `train.precision: bf16` is for GPUs; on this CPU float32 is taken."]
    assert folder.record() == {}


@pytest.mark.parametrize(
    ("difference", "used", "words"),
    [
        (TOLERANCE / 2, True, ""),
        (TOLERANCE * 2, False, "differ by 0.02 in their mean valid score, which may be at most"),
        (None, False, "a member diverged"),
    ],
)
def test_what_was_tried_out_is_kept_and_said_once(
    prepared: Prepared, folder: StudyFolder, monkeypatch: pytest.MonkeyPatch,
    difference: float | None, used: bool, words: str,
) -> None:  # fmt: skip
    monkeypatch.setattr(precision, "largest_difference", lambda *_: difference)
    said: list[str] = []
    for _ in range(2):
        assert trains_in_bf16(BF16, prepared, folder, ELSEWHERE, said.append) == used
    assert folder.record()["bf16"]["used"] == used
    assert folder.record()["bf16"]["difference"] == difference
    assert len(said) == (not used)
    assert used or words in said[0]


def test_a_network_that_fails_in_bf16_trains_in_float32(
    prepared: Prepared, folder: StudyFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> float:
        raise RuntimeError("expected dtype float for `end` but got dtype c10::BFloat16")

    monkeypatch.setattr(precision, "largest_difference", fail)
    said: list[str] = []
    assert not trains_in_bf16(BF16, prepared, folder, ELSEWHERE, said.append)
    assert "in bf16 training fails (expected dtype float" in said[0]


def test_short_memory_is_no_fault_of_bf16(
    prepared: Prepared, folder: StudyFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With room for two members at once, two are tried; with room for none it is an error."""
    monkeypatch.setattr(torch, "autocast", lambda *_: nullcontext())  # the stand-in has none
    study = small_study(train__precision="bf16", train__diagnostics=False)

    def peak(n_members: int) -> int:
        with watch() as account:
            members = [make_member(study, prepared, k, study.centre()) for k in range(n_members)]
            train(members, prepared, placed=Placed(prepared, DEVICE))
            return account.peak

    small, large = peak(2), peak(4)
    with watch() as account:
        account.limit = (small + large) // 2
        assert trains_in_bf16(study, prepared, folder, DEVICE, print)
    assert folder.record()["bf16"]["reason"].startswith("2 members trained both ways")
    again = StudyFolder(folder.path.parent, "again")
    with watch() as account:
        account.limit = small // 2
        with pytest.raises(TrainingError, match="One member alone"):
            trains_in_bf16(study, prepared, again, DEVICE, print)
    assert again.record() == {}  # nothing is kept that memory alone decided


def test_members_trained_both_ways_are_compared_epoch_by_epoch(prepared: Prepared) -> None:
    """On this CPU, which has bf16 too: it differs, by less than float32 would be taken for."""
    difference = largest_difference(BF16, prepared, CPU)
    assert difference is not None
    assert 0 < difference < 0.1
    assert largest_difference(small_study(), prepared, CPU) == 0  # nobody asks for bf16


def test_scores_that_rounding_has_moved_are_seen(
    prepared: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    epochs: list[int] = []

    def worse_in_bf16(members: list[Member], *args: object, placed: Placed) -> list[Trained]:
        if placed.bf16:
            members = [replace(one, train=replace(one.train, lr=1e-6)) for one in members]
        found = train(members, *args, placed=Placed(prepared))
        epochs.extend(result.epochs for result in found)
        return found

    monkeypatch.setattr(precision, "train", worse_in_bf16)
    difference = largest_difference(BF16, prepared, CPU)
    assert difference is not None
    assert difference > TOLERANCE
    assert set(epochs) == {min(EPOCHS, BF16.spec.train.epochs)}


def test_a_diverged_member_is_no_agreement(prepared: Prepared) -> None:
    study = small_study(train__precision="bf16", train__lr=1e30)
    assert largest_difference(study, prepared, CPU) is None
