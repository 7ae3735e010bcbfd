"""Where members run: a backend takes arrays of members and hands back epochs and results.

A backend hides whether arrays train in this process, in local processes or elsewhere. It knows
nothing of trials, stores or pruning.
"""

from __future__ import annotations

import time
import traceback
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Container, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from pipeline.data.prepared import Prepared
from pipeline.training.checkpoint import Checkpoints
from pipeline.training.devices import CPU, give_back
from pipeline.training.halving import Halving
from pipeline.training.loop import Answer, Epochs, train_epochs
from pipeline.training.members import EpochResult, Member, Trained
from pipeline.training.placement import Placed

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True)
class EpochDone:
    """An array trained an epoch.

    Attributes:
        array: Its number.
        results: Of each member that trained in the epoch.
        trained: The ends of members that ended since the array's epoch before.
        waits: Whether it waits for an answer; else it goes on with whoever has not ended.
    """

    array: int
    results: tuple[EpochResult, ...]
    trained: tuple[Trained, ...] = ()
    waits: bool = True


@dataclass(frozen=True)
class ArrayDone:
    """An array has no members left; here are the ends that no epoch has told."""

    array: int
    trained: tuple[Trained, ...]


@dataclass(frozen=True)
class ArrayFailed:
    """An array raised an error; it runs no more."""

    array: int
    traceback: str


@dataclass(frozen=True)
class ArrayLost:
    """The worker of an array died; it runs no more, and may be submitted again."""

    array: int
    reason: str


Event = EpochDone | ArrayDone | ArrayFailed | ArrayLost


class Backend(ABC):
    """The contract of all backends (one contract test)."""

    @abstractmethod
    def submit(
        self, arrays: Mapping[int, Sequence[Member]], pauses: Container[int] | None = None
    ) -> None:
        """Starts arrays, each under a number of the caller's choice.

        They may run side by side, or interleaved epoch by epoch; every one of them reaches its
        first epoch without the others having to end.

        Args:
            arrays: The members of each.
            pauses: Epochs, of members that start together, after which an array waits for an
                answer; by default after each. A way to the caller and back costs a small array
                more than a step.
        """

    @abstractmethod
    def receive(self) -> Event | None:
        """Waits for the next event; returns None now and then so that the caller can look up."""

    @abstractmethod
    def answer(self, array: int, answer: Answer) -> None:
        """Lets an array that waits go on, with the members that join it."""

    @property
    @abstractmethod
    def waited_seconds(self) -> float:
        """How long a worker had nothing to train between its first epoch and its latest: mean.

        The time in which workers waited for the caller, or for each other where it made them.
        """

    @abstractmethod
    def close(self) -> None:
        """Ends everything at once; arrays that still run are abandoned."""


class ArraySet:
    """Arrays that one thread trains in turn, epoch by epoch; what every worker is made of.

    Args:
        prepared: The data.
        device: Where they train.
        say: Told where an array needs more memory than there is, or a checkpoint cannot be written.
        bf16: See `Placed`.
        checkpoints: Folder of checkpoints; see `train_epochs`.
    """

    def __init__(
        self,
        prepared: Prepared,
        device: torch.device = CPU,
        say: Callable[[str], None] = lambda text: None,
        bf16: bool = False,
        checkpoints: Path | None = None,
    ) -> None:
        placed = Placed(prepared, device, bf16)  # once for all arrays
        kept = None if checkpoints is None else Checkpoints(checkpoints, say)

        def start(members: Sequence[Member], first_epoch: int) -> Epochs:
            return train_epochs(members, prepared, first_epoch, placed, kept)

        self._halving = Halving(start, say, lambda: give_back(device))
        self._running: dict[int, tuple[Epochs, Container[int] | None]] = {}
        self._ready: deque[tuple[int, Answer | None]] = deque()
        self._paused: float | None = None  # when the latest step ended
        self.waited_seconds = 0.0

    def add(
        self, array: int, members: Sequence[Member], pauses: Container[int] | None = None
    ) -> None:
        """Takes an array on; see `Backend.submit`."""
        self._running[array] = self._halving.train_epochs(members), pauses
        self._ready.append((array, None))

    def answer(self, array: int, answer: Answer) -> None:
        """Lets an array go on."""
        self._ready.append((array, answer))

    @property
    def can_step(self) -> bool:
        """Whether some array need not wait for an answer."""
        return bool(self._ready)

    def step(self) -> Event:
        """Trains the next epoch of the array whose turn it is."""
        if self._paused is not None:
            self.waited_seconds += time.perf_counter() - self._paused
        try:
            return self._step()
        finally:
            self._paused = time.perf_counter()

    def _step(self) -> Event:
        array, answer = self._ready.popleft()
        epochs, pauses = self._running[array]
        try:
            end = next(epochs) if answer is None else epochs.send(answer)
        except StopIteration as stop:
            del self._running[array]
            return ArrayDone(array, tuple(stop.value))
        except Exception:
            del self._running[array]
            return ArrayFailed(array, traceback.format_exc())
        waits = pauses is None or end.results[0].epoch in pauses
        if not waits:
            self._ready.append((array, Answer()))
        return EpochDone(array, tuple(end.results), tuple(end.trained), waits)


@contextmanager
def one_thread() -> Iterator[None]:
    """Trains on one thread: results do not depend on the machine, and tiny steps run faster."""
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(n_threads)


class InProcess(Backend):
    """Trains in the calling thread, on the CPU or a GPU.

    Args:
        prepared: The data.
        device: Where arrays train.
        say: See `ArraySet`.
        bf16: See `Placed`.
        checkpoints: See `ArraySet`.
    """

    def __init__(
        self,
        prepared: Prepared,
        device: torch.device = CPU,
        say: Callable[[str], None] = lambda text: None,
        bf16: bool = False,
        checkpoints: Path | None = None,
    ) -> None:
        self._make = partial(ArraySet, prepared, device, say, bf16, checkpoints)
        self._arrays = self._make()

    def submit(
        self, arrays: Mapping[int, Sequence[Member]], pauses: Container[int] | None = None
    ) -> None:
        """Takes the arrays on; they train while `receive` is called."""
        for array, members in arrays.items():
            self._arrays.add(array, members, pauses)

    def receive(self) -> Event | None:
        """Trains one epoch of one array."""
        if not self._arrays.can_step:
            return None
        with one_thread():
            return self._arrays.step()

    def answer(self, array: int, answer: Answer) -> None:
        """Lets an array go on."""
        self._arrays.answer(array, answer)

    @property
    def waited_seconds(self) -> float:
        """The time between epochs."""
        return self._arrays.waited_seconds

    def close(self) -> None:
        """Abandons what still runs."""
        self._arrays = self._make()
