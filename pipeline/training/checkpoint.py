"""Checkpoints: an array that trains for long goes on from an epoch's end where a kill broke it off.

A checkpoint holds what the next epoch depends on, and every epoch so far as it was told and
answered. Whoever starts the array again is told all of it again, at once: so that curves, rungs
and records are rebuilt by the code that built them before, and nothing has to be kept twice.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from pipeline.data.whole_file import whole_file
from pipeline.study.own import is_own
from pipeline.study.own_files import follow
from pipeline.training.diagnostics import Gradients, MeanCosines
from pipeline.training.ends import Progress
from pipeline.training.members import EpochResult, Member, Stop
from pipeline.training.placement import Placed
from pipeline.training.population import Population

_PACKAGE = Path(__file__).resolve().parents[1]


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


@dataclass(frozen=True)
class Saved:
    """What a checkpoint holds: members before their next epoch, and the epochs before it."""

    population: Population
    progress: dict[int, Progress]
    told: list[Told]


class Checkpoint:
    """The checkpoint of one array: one file, written whole, deleted when the array ends.

    Its name is a digest of all that the array depends on: the members, the data, the device and
    the code. A checkpoint of anything else is not found.

    Args:
        folder: Where checkpoints lie; made with the first.
        members: Those that start together, of one structure.
        first_epoch: Number of the array's first epoch.
        placed: The data where they train.
    """

    def __init__(
        self, folder: Path, members: Sequence[Member], first_epoch: int, placed: Placed
    ) -> None:
        self._folder = folder
        self._members = {member.number: member for member in members}
        self._first_epoch = first_epoch
        self._placed = placed
        minutes = members[0].train.checkpoint_minutes
        self._seconds = 60 * minutes if minutes else float("inf")
        self._written = time.perf_counter()
        self._told: list[Told] = []

    @cached_property
    def path(self) -> Path:
        """The file; its name is found out when it is first needed."""
        members = [
            asdict(replace(member, train=replace(member.train, checkpoint_minutes=None)))
            for member in self._members.values()
        ]
        prepared, device = self._placed.prepared, self._placed.device
        found = [
            members, self._first_epoch, prepared.data_digest, prepared.prepared_digest, device.type,
            self._placed.bf16, torch.__version__, _code(), _own_code(members),
        ]  # fmt: skip
        digest = hashlib.sha256(json.dumps(found, default=str).encode()).hexdigest()[:32]
        return self._folder / f"{digest}.safetensors"

    def load(self) -> Saved | None:
        """Returns what an earlier run of the array left; None where it left nothing whole."""
        if not self._folder.is_dir() or not self.path.exists():
            return None
        try:
            with safe_open(self.path, "pt") as file:
                known = json.loads(file.metadata()["checkpoint"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except SafetensorError:
            return None
        told = [self._read_told(one, tensors) for one in known["told"]]
        going = [self._read_progress(one, tensors) for one in known["going"]]
        present = [known.member for known in going]
        population = Population(present, self._placed.prepared, placed=self._placed)
        _restore(population, tensors)
        self._told = list(told)
        return Saved(population, {known.member.number: known for known in going}, told)

    def note(self, told: Told, population: Population, progress: Mapping[int, Progress]) -> None:
        """Keeps an epoch that was told, and writes the file where it is due.

        Args:
            told: The epoch.
            population: Those who go on.
            progress: Of them, by number.
        """
        if self._seconds == float("inf"):
            return  # nothing is ever written
        for known in (*told.ended, *told.stopped):
            if known.state != "complete":
                known.best = None  # only complete members are read again
        self._told.append(told)
        if time.perf_counter() - self._written >= self._seconds:
            self._write(population, [progress[member.number] for member in population.members])
            self._written = time.perf_counter()

    def drop(self) -> None:
        """Deletes the file."""
        if self._folder.is_dir():
            self.path.unlink(missing_ok=True)

    def _write(self, population: Population, going: Sequence[Progress]) -> None:
        ended = [one for told in self._told for one in (*told.ended, *told.stopped)]
        best = {
            f"best/{known.member.number}": known.best
            for known in (*ended, *going)
            if known.best is not None
        }
        tensors = {
            name: found.cpu().contiguous() for name, found in {**_saved(population), **best}.items()
        }
        known = {
            "told": [_told_to_json(told) for told in self._told],
            "going": [_progress_to_json(one) for one in going],
        }
        self._folder.mkdir(parents=True, exist_ok=True)
        with whole_file(self.path) as file:
            file.write(save(tensors, {"checkpoint": json.dumps(known)}))

    def _read_told(self, stored: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Told:
        return Told(
            [_result_from_json(one) for one in stored["results"]],
            [self._read_progress(one, tensors) for one in stored["ended"]],
            {int(number): Stop(**stop) for number, stop in stored["stops"].items()},
            [self._read_progress(one, tensors) for one in stored["stopped"]],
        )

    def _read_progress(self, stored: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Progress:
        values = dict(stored)
        number, spent = values.pop("number"), values.pop("spent")
        cosines = MeanCosines({(one, other): seen for one, other, seen in values.pop("cosines")})
        return Progress(
            self._members[number], self._first_epoch, time.perf_counter() - spent,
            best=tensors.get(f"best/{number}"), cosines=cosines, **values,
        )  # fmt: skip


def _saved(population: Population) -> dict[str, Tensor]:
    """Returns a copy of all that the next epoch depends on and no setting tells.

    Streams are no part of it: each epoch starts them anew, from its number.
    """
    return {
        "state": population.state.snapshot(),
        "epochs": population.epochs,
        "first_losses": population.first_losses,
        **{f"optimizer/{name}": kept for name, kept in population.optimizer.save().items()},
        **{f"weighting/{name}": kept for name, kept in population.weighting.save().items()},
    }


def _restore(population: Population, saved: Mapping[str, Tensor]) -> None:
    """Goes on from what `_saved` gave for the present members."""
    there = {name: tensor.to(population.state.device) for name, tensor in saved.items()}

    def part(room: str) -> dict[str, Tensor]:
        start = f"{room}/"
        return {n.removeprefix(start): kept for n, kept in there.items() if n.startswith(start)}

    population.state.restore(there["state"])
    population.epochs, population.first_losses = there["epochs"], there["first_losses"]
    population.is_fresh = False
    population.optimizer.restore(part("optimizer"))
    population.weighting.restore(part("weighting"))


def _told_to_json(told: Told) -> dict[str, Any]:
    return {
        "results": [_result_to_json(result) for result in told.results],
        "ended": [_progress_to_json(known) for known in told.ended],
        "stops": {number: vars(stop) for number, stop in told.stops.items()},
        "stopped": [_progress_to_json(known) for known in told.stopped],
    }


def _progress_to_json(known: Progress) -> dict[str, Any]:
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


@cache
def _code() -> str:
    """Returns the digest of this package's code, read once a process."""
    return _digest(sorted(_PACKAGE.rglob("*.py")))


def _own_code(members: Sequence[Mapping[str, Any]]) -> str:
    """Returns the digest of the user's own files that what members name is made of."""
    modules = {name.partition(":")[0] for name in _strings(members) if is_own(name)}
    return _digest([*follow(modules).files.values()])


def _digest(files: Sequence[Path]) -> str:
    found = hashlib.sha256()
    for file in files:
        found.update(hashlib.sha256(file.read_bytes()).digest())
    return found.hexdigest()


def _strings(values: Any) -> Iterator[str]:
    """Yields the texts anywhere in plain values."""
    if isinstance(values, str):
        yield values
    elif isinstance(values, Mapping):
        for value in values.values():
            yield from _strings(value)
    elif isinstance(values, list | tuple):
        for value in values:
            yield from _strings(value)
