"""The process that worker processes are forked from: it has imported torch once for all of them.

It can be started before anything of it is needed, so that its imports (1.5 s of a core) run beside
those of the driver, or beside the preparation of data. Imports nothing heavy itself.
"""

from __future__ import annotations

import multiprocessing
from multiprocessing import forkserver
from multiprocessing.context import BaseContext

METHOD = "forkserver"
WORKER = "pipeline.driver.worker"
"""The module of what a worker process does."""


def worker_context() -> BaseContext:
    """Returns how worker processes are started: from the server where there can be one."""
    if METHOD not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context(METHOD)
    context.set_forkserver_preload([WORKER])
    return context


def start_ahead(n_workers: int | None = None, device: str = "auto") -> None:
    """Starts the server and returns at once; it ends with this process.

    Args:
        n_workers: Workers asked for: one trains in the driver's process, and needs no server.
        device: Where they train: on a GPU likewise.
    """
    if n_workers == 1 or device == "cuda":
        return
    if worker_context().get_start_method() == METHOD:
        forkserver.ensure_running()
