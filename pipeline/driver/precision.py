"""Whether a study trains in bf16: only where valid scores agree with those of float32."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import isfinite
from typing import Any

import torch

from pipeline.data.prepared import Prepared
from pipeline.driver.backend import one_thread
from pipeline.driver.study_folder import StudyFolder
from pipeline.driver.trials import make_member
from pipeline.errors import TrainingError
from pipeline.study.loading import Study
from pipeline.study.seeds import derive_seed
from pipeline.training.devices import TOO_LARGE, give_back, is_out_of_memory
from pipeline.training.loop import Stops, train
from pipeline.training.members import EpochResult, Member, Stop
from pipeline.training.placement import Placed

MEMBERS = 4
"""Members at the centre of the ranges, each from a seed of its own, that are trained both ways."""

EPOCHS = 3
"""Epochs of each: rounding that harms shows while the losses fall fastest."""

TOLERANCE = 0.01
"""Most that the mean valid score of those members may differ after any of the epochs: a choice,
below what the trials of a search commonly differ by."""


def trains_in_bf16(
    study: Study,
    prepared: Prepared,
    folder: StudyFolder,
    device: torch.device,
    say: Callable[[str], None],
) -> bool:
    """Tells whether members train in bf16: from the study's record, or tried out and noted there.

    Args:
        study: The study.
        prepared: Its data.
        folder: Its files.
        device: Where members train.
        say: Told where float32 is taken though `bf16` was asked for.
    """
    if study.spec.train.precision == "float32":
        return False
    if device.type == "cpu":
        say("Note: `train.precision: bf16` is for GPUs; on this CPU float32 is taken.")
        return False
    record = folder.record()
    if "bf16" not in record:
        found = _try_out(study, prepared, device)
        record = {**record, "bf16": found}
        folder.save_record(record)
        if not found["used"]:
            say(f"Note: `train.precision: bf16` is not used, float32 is: {found['reason']}.")
    return bool(record["bf16"]["used"])


def _try_out(study: Study, prepared: Prepared, device: torch.device) -> dict[str, Any]:
    """Returns what the study's record keeps: whether bf16 is used, and why not.

    Where memory is short, which says nothing of bf16, half as many members are tried.

    Raises:
        TrainingError: The memory of the device is too small for one.
    """
    n_members = MEMBERS
    while True:
        try:
            difference = largest_difference(study, prepared, device, n_members)
            break
        except RuntimeError as error:
            if not is_out_of_memory(error):  # an operation that has no bf16
                why = str(error).splitlines()[0]
                reason = f"in bf16 training fails ({why})"
                return {"used": False, "difference": None, "reason": reason}
            if n_members == 1:
                raise TrainingError(TOO_LARGE) from error
        n_members //= 2
        give_back(device)
    if difference is None:
        return {"used": False, "difference": None, "reason": "a member diverged"}
    reason = (
        f"{n_members} members trained both ways differ by {difference:.3g} in their mean valid "
        f"score, which may be at most {TOLERANCE:g}"
    )
    return {"used": difference <= TOLERANCE, "difference": difference, "reason": reason}


def largest_difference(
    study: Study, prepared: Prepared, device: torch.device, n_members: int = MEMBERS
) -> float | None:
    """Returns how far the mean valid scores of some members differ, trained both ways.

    The largest over epochs; None where a member diverged.
    """
    centre = make_member(study, prepared, 0, study.centre())
    members = [
        replace(centre, number=k, seed=derive_seed(study.spec.seed, k, "precision"))
        for k in range(n_members)
    ]
    exact, rounded = (
        _mean_scores(members, prepared, Placed(prepared, device, bf16)) for bf16 in (False, True)
    )
    if len(exact) != len(rounded) or not all(map(isfinite, (*exact, *rounded))):
        return None
    return max(abs(one - other) for one, other in zip(exact, rounded, strict=True))


def _mean_scores(members: Sequence[Member], prepared: Prepared, placed: Placed) -> list[float]:
    """Returns the mean valid score after each epoch; NaN where a member diverged."""
    scores: list[float] = []

    def note(results: list[EpochResult]) -> Stops:
        known = [result.score for result in results]
        scores.append(sum(known) / len(members) if len(known) == len(members) else float("nan"))
        enough = len(scores) == min(EPOCHS, members[0].train.epochs)
        return {one.number: Stop("pruned", "it was a trial of precision")
                for one in results if enough}  # fmt: skip

    with one_thread():
        train(members, prepared, note, placed=placed)
    return scores
