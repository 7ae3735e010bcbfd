"""What a worker process does: trains the arrays it is given, reports, never opens a store."""

from __future__ import annotations

import os
import signal
from multiprocessing.connection import Connection
from pathlib import Path

import torch

from pipeline.data.prepare import open_prepared
from pipeline.driver.backend import ArraySet


def work(pipe: Connection, prepared: Path, checkpoints: Path | None) -> None:
    """Serves one driver until it closes the pipe or dies.

    Args:
        pipe: Receives ("add", array, (members, pauses)), ("answer", array, answer); sends events,
            each with the seconds that it has waited so far, and what is to be said.
        prepared: Folder of the prepared data.
        checkpoints: See `ArraySet`.
    """
    # Ctrl-C reaches the whole process group: the driver decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    said: list[str] = []
    arrays = ArraySet(open_prepared(prepared), say=said.append, checkpoints=checkpoints)
    try:
        while True:
            while pipe.poll(None if not arrays.can_step else 0):
                _take(pipe, arrays)
            event = arrays.step()
            pipe.send((event, arrays.waited_seconds, tuple(said)))
            said.clear()
    except (EOFError, OSError):
        os._exit(0)  # the driver is gone: nobody is left to tell


def _take(pipe: Connection, arrays: ArraySet) -> None:
    verb, array, content = pipe.recv()
    if verb == "add":
        arrays.add(array, *content)
    else:
        arrays.answer(array, content)
