"""A backend of local worker processes, one thread each."""

from __future__ import annotations

import sys
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from pipeline.driver.backend import (
    ArrayLost,
    Backend,
    EpochDone,
    Event,
)
from pipeline.driver.fork_server import worker_context
from pipeline.driver.worker import work
from pipeline.training.loop import Answer
from pipeline.training.members import Member


@dataclass
class _Worker:
    process: BaseProcess
    pipe: Connection
    arrays: dict[int, int] = field(default_factory=dict)  # array to its members that train
    waited_seconds: float = 0.0

    @property
    def load(self) -> int:
        return sum(self.arrays.values())


class LocalProcesses(Backend):
    """Trains in processes of this machine; a worker that dies is replaced.

    Args:
        prepared: Folder of the prepared data; workers map it by path.
        n_workers: How many.
        checkpoints: See `ArraySet`.
        say: Told what workers have to say, the same once.
    """

    look_up_seconds = 0.2

    def __init__(
        self,
        prepared: Path,
        n_workers: int,
        checkpoints: Path | None = None,
        say: Callable[[str], None] = lambda text: None,
    ) -> None:
        self._prepared = prepared
        self._checkpoints = checkpoints
        self._say = say
        self._said: set[str] = set()
        self._context = worker_context()
        self._workers = [self._start() for _ in range(n_workers)]
        self._events: list[Event] = []
        self._waited_before = 0.0  # by workers that died

    @property
    def pids(self) -> list[int]:
        """Process numbers of the workers."""
        return [worker.process.pid or 0 for worker in self._workers]

    def submit(
        self, arrays: Mapping[int, Sequence[Member]], pauses: Container[int] | None = None
    ) -> None:
        """Gives each array, largest first, to the worker with the fewest members."""
        for array, members in sorted(arrays.items(), key=lambda item: -len(item[1])):
            worker = min(self._workers, key=lambda one: one.load)
            worker.arrays[array] = len(members)
            self._send(worker, ("add", array, (list(members), pauses)))

    def answer(self, array: int, answer: Answer) -> None:
        """Lets an array go on."""
        worker = self._worker_of(array)
        if worker is not None:
            worker.arrays[array] += len(answer.joining) - len(answer.stops)
            self._send(worker, ("answer", array, answer))

    def receive(self) -> Event | None:
        """Returns the next event, or None after a short while without one."""
        if not self._events:
            self._collect()
        return self._events.pop(0) if self._events else None

    @property
    def waited_seconds(self) -> float:
        """As the workers say with each event; those that died count with what they said."""
        now = sum(worker.waited_seconds for worker in self._workers)
        return (self._waited_before + now) / len(self._workers)

    def close(self) -> None:
        """Kills the workers: they hold nothing that must be saved."""
        for worker in self._workers:
            worker.process.kill()
        for worker in self._workers:
            worker.process.join()
            worker.pipe.close()
        self._workers = []

    def _collect(self) -> None:
        sources: list[Any] = []
        for worker in self._workers:
            sources += [worker.pipe, worker.process.sentinel]
        ready = set(wait(sources, timeout=self.look_up_seconds))
        for worker in list(self._workers):
            if worker.pipe in ready or worker.process.sentinel in ready:
                self._drain(worker)

    def _drain(self, worker: _Worker) -> None:
        """Reads what a worker sent; what it sent before it died is still there to read."""
        try:
            while worker.pipe.poll():
                event: Event
                event, worker.waited_seconds, said = worker.pipe.recv()
                self._say_once(said)
                if isinstance(event, EpochDone):
                    n_on = sum(not result.last for result in event.results)
                    worker.arrays[event.array] = n_on
                else:
                    worker.arrays.pop(event.array, None)
                self._events.append(event)
        except (EOFError, OSError):
            self._bury(worker)
            return
        if not worker.process.is_alive() and not worker.pipe.poll():
            self._bury(worker)

    def _say_once(self, said: Sequence[str]) -> None:
        for text in said:
            if text not in self._said:
                self._said.add(text)
                self._say(text)

    def _bury(self, worker: _Worker) -> None:
        worker.process.join()
        worker.pipe.close()
        self._waited_before += worker.waited_seconds
        reason = f"its worker process ended with exit code {worker.process.exitcode}"
        self._events += [ArrayLost(array, reason) for array in worker.arrays]
        self._workers[self._workers.index(worker)] = self._start()

    def _worker_of(self, array: int) -> _Worker | None:
        return next((worker for worker in self._workers if array in worker.arrays), None)

    def _send(self, worker: _Worker, message: tuple[str, int, Any]) -> None:
        try:
            worker.pipe.send(message)
        except (BrokenPipeError, OSError):
            return  # dead: found and told by the next `receive`

    def _start(self) -> _Worker:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(  # type: ignore[attr-defined]
            target=work, args=(theirs, self._prepared, self._checkpoints), daemon=True
        )
        with _main_hidden():
            process.start()
        theirs.close()  # else the end of the worker would not end the pipe
        return _Worker(process, ours)


@contextmanager
def _main_hidden() -> Iterator[None]:
    """Hides the program's main module: workers need none of it.

    Else each worker would run the user's script again from its first line, search included,
    where it does not stand under `if __name__ == "__main__"`.
    """
    main = sys.modules["__main__"]
    hidden = {name: vars(main)[name] for name in ("__file__", "__spec__") if name in vars(main)}
    for name in hidden:
        setattr(main, name, None)
    try:
        yield
    finally:
        for name, value in hidden.items():
            setattr(main, name, value)
