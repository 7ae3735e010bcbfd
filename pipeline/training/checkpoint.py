"""Checkpoints: an array that trains for long goes on from an epoch's end where a kill broke it off.

A checkpoint holds what the next epoch depends on, and every epoch so far as it was told and
answered. Whoever starts the array again is told all of it again, at once: so that curves, rungs
and records are rebuilt by the code that built them before, and nothing has to be kept twice. When
the array has ended, its checkpoint tells how, until whoever started it has kept that and deletes
the file.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from pipeline.data.whole_file import whole_file
from pipeline.training.ends import Progress
from pipeline.training.members import Member
from pipeline.training.placement import Placed
from pipeline.training.population import Population
from pipeline.training.provenance import provenance
from pipeline.training.told import Reader, Told, progress_to_json, told_to_json


@dataclass(frozen=True)
class Saved:
    """What a checkpoint holds.

    Attributes:
        population: Members before their next epoch; None where all have ended.
        progress: Of them, by number.
        told: The epochs before.
        n_parameters: Of each member.
    """

    population: Population | None
    progress: dict[int, Progress]
    told: list[Told]
    n_parameters: int


class Checkpoints:
    """The checkpoints of a worker's arrays.

    Args:
        folder: Where they lie; made with the first.
        say: Told, once, that one cannot be written: training goes on without.
    """

    def __init__(self, folder: Path, say: Callable[[str], None] = lambda text: None) -> None:
        self.folder = folder
        self._say = say
        self._has_failed = False

    def of(self, members: Sequence[Member], first_epoch: int, placed: Placed) -> Checkpoint:
        """Returns the checkpoint of one array; arguments as for `Checkpoint`."""
        return Checkpoint(self, members, first_epoch, placed)

    def write(self, path: Path, content: bytes) -> bool:
        """Writes a file whole, or leaves what was there; returns whether it could."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with whole_file(path) as file:
                file.write(content)
        except OSError as error:
            if not self._has_failed:
                self._say(
                    f"Warning: checkpoints cannot be written to {self.folder}: "
                    f"{error.strerror or error}. Training goes on; a kill costs all that no "
                    "checkpoint has. Free the disk, or set `train.checkpoint_minutes: 0`."
                )
            self._has_failed = True
            return False
        return True


class Checkpoint:
    """The checkpoint of one array: one file, written whole.

    Its name begins with the lowest number of a member, by which it is found when it may go; then
    comes a digest of all that the array depends on: the members, the data, the device, the code
    and the libraries. A checkpoint of anything else is not found.

    Args:
        all_of_them: The worker's.
        members: Those that start together, of one structure.
        first_epoch: Number of the array's first epoch.
        placed: The data where they train.
    """

    def __init__(
        self,
        all_of_them: Checkpoints,
        members: Sequence[Member],
        first_epoch: int,
        placed: Placed,
    ) -> None:
        self._all = all_of_them
        self._members = list(members)
        self._first_epoch = first_epoch
        self._placed = placed
        minutes = members[0].train.checkpoint_minutes
        self._seconds = 60 * minutes if minutes else float("inf")
        self._written = time.perf_counter()
        self._is_there = False
        self._told: list[Told] = []

    @cached_property
    def path(self) -> Path:
        """The file; its name is found out when it is first needed."""
        members = [
            asdict(replace(member, train=replace(member.train, checkpoint_minutes=None)))
            for member in self._members
        ]
        prepared, device = self._placed.prepared, self._placed.device
        found = [
            members, self._first_epoch, prepared.data_digest, prepared.prepared_digest, device.type,
            self._placed.bf16, *provenance(members),
        ]  # fmt: skip
        digest = hashlib.sha256(json.dumps(found, default=str).encode()).hexdigest()[:32]
        lowest = min(member.number for member in self._members)
        return self._all.folder / f"{lowest:06d}-{digest}.safetensors"

    def load(self) -> Saved | None:
        """Returns what an earlier run of the array left; None where it left nothing whole."""
        if not self._all.folder.is_dir() or not self.path.exists():
            return None
        try:
            with safe_open(self.path, "pt") as file:
                known = json.loads(file.metadata()["checkpoint"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (SafetensorError, OSError):
            return None
        self._is_there = True
        best = {int(name): found for name, found in _part(tensors, "best").items()}
        reader = Reader(self._members, self._first_epoch, best)
        going = [reader.progress(one) for one in known["going"]]
        told = [reader.told(one) for one in known["told"]]
        population = None
        if going:
            present = [one.member for one in going]
            population = Population(present, self._placed.prepared, placed=self._placed)
            _restore(population, tensors)
        self._told = list(told)
        by_number = {one.member.number: one for one in going}
        return Saved(population, by_number, told, known["n_parameters"])

    def note(self, told: Told, population: Population, progress: Mapping[int, Progress]) -> None:
        """Keeps an epoch that was told, and writes the file where it is due.

        It is due at the end of the array too where there is a file already.

        Args:
            told: The epoch.
            population: Those who go on, where there are any.
            progress: Of them, by number.
        """
        if self._seconds == float("inf") and not self._is_there:
            return  # nothing is ever written
        for known in (*told.ended, *told.stopped):
            if known.state != "complete":
                known.best = None  # only complete members are read again
        self._told.append(told)
        is_due = time.perf_counter() - self._written >= self._seconds
        if is_due or (self._is_there and not progress):
            going = [progress[member.number] for member in population.members] if progress else []
            self._write(population, going)
            self._written = time.perf_counter()

    def drop(self) -> None:
        """Deletes the file."""
        if self._all.folder.is_dir():
            with suppress(OSError):  # where it cannot be deleted, none can be written
                self.path.unlink(missing_ok=True)
        self._is_there = False

    def _write(self, population: Population, going: Sequence[Progress]) -> None:
        ended = [one for told in self._told for one in (*told.ended, *told.stopped)]
        best = {
            f"best/{known.member.number}": known.best
            for known in (*ended, *going)
            if known.best is not None
        }
        state = _saved(population) if going else {}
        tensors = {name: found.cpu().contiguous() for name, found in {**state, **best}.items()}
        known = {
            "told": [told_to_json(told) for told in self._told],
            "going": [progress_to_json(one) for one in going],
            "n_parameters": population.state.n_parameters,
        }
        content = save(tensors, {"checkpoint": json.dumps(known)})
        self._is_there |= self._all.write(self.path, content)


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
    population.state.restore(there["state"])
    population.epochs, population.first_losses = there["epochs"], there["first_losses"]
    population.is_fresh = False
    population.optimizer.restore(_part(there, "optimizer"))
    population.weighting.restore(_part(there, "weighting"))


def _part(tensors: Mapping[str, Tensor], room: str) -> dict[str, Tensor]:
    """Returns the tensors whose names begin so, without that."""
    start = f"{room}/"
    return {n.removeprefix(start): kept for n, kept in tensors.items() if n.startswith(start)}
