"""What an array was told to have done, epoch by epoch, and the form in which it is kept."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from pipeline.training.diagnostics import Gradients, MeanCosines
from pipeline.training.ends import Progress
from pipeline.training.members import EpochResult, Member, Stop


@dataclass(frozen=True)
class Told:
    """An epoch that was told, and what was answered.

    Attributes:
        results: Of each member that trained in it.
        ended: Members that ended with it by themselves.
        stops: Who must not go on.
        stopped: Members that ended by that.
    """

    results: list[EpochResult]
    ended: list[Progress]
    stops: Mapping[int, Stop]
    stopped: list[Progress]


def told_to_json(told: Told) -> dict[str, Any]:
    """Returns plain JSON values; the best parameters of members are kept apart."""
    return {
        "results": [_result_to_json(result) for result in told.results],
        "ended": [progress_to_json(known) for known in told.ended],
        "stops": {number: vars(stop) for number, stop in told.stops.items()},
        "stopped": [progress_to_json(known) for known in told.stopped],
    }


def progress_to_json(known: Progress) -> dict[str, Any]:
    """Returns plain JSON values, likewise."""
    return {
        "number": known.member.number,
        "spent": time.perf_counter() - known.started,
        "epochs": known.epochs,
        "best_epoch": known.best_epoch,
        "best_score": known.best_score,
        "state": known.state,
        "reason": known.reason,
        "cosines": _pairs_to_json(known.cosines.seen),
        "seconds": known.seconds,
    }


def _result_to_json(result: EpochResult) -> dict[str, Any]:
    looked = result.gradients
    gradients = looked and {"norms": looked.norms, "cosines": _pairs_to_json(looked.cosines)}
    return {**vars(result), "gradients": gradients}


def _result_from_json(stored: Mapping[str, Any]) -> EpochResult:
    looked = stored["gradients"]
    if looked is None:
        return EpochResult(**stored)
    cosines = {(one, other): cosine for one, other, cosine in looked["cosines"]}
    return EpochResult(**{**stored, "gradients": Gradients(looked["norms"], cosines)})


def _pairs_to_json(pairs: Mapping[tuple[str, str], Any]) -> list[list[Any]]:
    return [[*pair, value] for pair, value in pairs.items()]


class Reader:
    """Reads what was kept of an array.

    Args:
        members: Those that started together.
        first_epoch: Number of the array's first epoch.
        best: Best parameters of members, by number.
    """

    def __init__(
        self, members: Sequence[Member], first_epoch: int, best: Mapping[int, Tensor]
    ) -> None:
        self._members = {member.number: member for member in members}
        self._first_epoch = first_epoch
        self._best = best

    def told(self, stored: Mapping[str, Any]) -> Told:
        """Returns an epoch that was told."""
        return Told(
            [_result_from_json(one) for one in stored["results"]],
            [self.progress(one) for one in stored["ended"]],
            {int(number): Stop(**stop) for number, stop in stored["stops"].items()},
            [self.progress(one) for one in stored["stopped"]],
        )

    def progress(self, stored: Mapping[str, Any]) -> Progress:
        """Returns what was known of a member."""
        values = dict(stored)
        number, spent = values.pop("number"), values.pop("spent")
        cosines = MeanCosines({(one, other): seen for one, other, seen in values.pop("cosines")})
        return Progress(
            self._members[number], self._first_epoch, time.perf_counter() - spent,
            best=self._best.get(number), cosines=cosines, **values,
        )  # fmt: skip
