"""Prepared data that a crash left half written, or that was damaged since."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

from filelock import FileLock, Timeout

from pipeline.damage.finding import Damage
from pipeline.data.cache import open_prepared
from pipeline.errors import DataError


def cache_damage(cache: Path, digest: str) -> Iterator[Damage]:
    """Yields drafts that nobody writes any more, and the study's own prepared data if damaged.

    Args:
        cache: The store's folder of prepared data.
        digest: Of the study's prepared data; empty where none was noted.
    """
    for draft in sorted([*cache.glob("*.draft"), *(cache / "index").glob("*.draft")]):
        lock = FileLock(cache / "index" / f"{draft.stem}.lock")
        if _is_free(lock):
            what = "was left by a process that was killed while preparing data"
            where = f"cache/{draft.relative_to(cache)}"
            yield Damage(what, where, "deleted", partial(_delete, draft, lock))
    folder = cache / digest
    if digest and folder.exists() and (fault := _fault(folder)):
        remedy = "deleted and prepared again"
        yield Damage(fault, f"cache/{digest}", remedy, partial(shutil.rmtree, folder))


def _fault(folder: Path) -> str:
    try:
        open_prepared(folder)
    except DataError as error:
        if "another version" in str(error):  # of this package: whoever uses it finds it whole
            return ""
        return f"is damaged: {str(error).partition(': ')[2] or str(error)}".rstrip(".")
    return ""


def _is_free(lock: FileLock) -> bool:
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return False
    lock.release()
    return True


def _delete(draft: Path, lock: FileLock) -> None:
    with suppress(Timeout), lock.acquire(timeout=0):  # somebody may have begun it again
        if draft.is_dir():
            shutil.rmtree(draft)
        else:
            draft.unlink(missing_ok=True)
