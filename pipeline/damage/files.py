"""Damaged and left files of a study, found without its data."""

from __future__ import annotations

import json
import re
import shutil
import zipfile
import zlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from pipeline.damage.finding import Damage
from pipeline.driver.study_folder import StudyFolder
from pipeline.errors import StoreError

TORN = "is no JSON"
"""Of a file that must be put aside before outcomes can be read."""

_TEMPORARY = re.compile(r"\..+\.\d+")  # `.NAME.PROCESS`, renamed when it is whole
_LOG = "trials.jsonl"
_LOST = {
    "cohorts": "its trials run again, with the same values and seeds",
    "finalists": "these finalists are trained again",
    "readings.json": "test counts as unread, and is read again when it is asked for",
}
"""What setting aside a damaged file leads to, by its folder or name."""


def file_damage(folder: StudyFolder) -> Iterator[Damage]:
    """Yields what is wrong with the files of a study and of its rows.

    The caller holds the study: a temporary file is then nobody's.

    Raises:
        StoreError: What the study was launched with cannot be read: nothing can go on.
    """
    _check_record(folder)
    root = folder.path.parent
    for path in sorted(folder.path.rglob("*")):
        where = str(path.relative_to(root))
        if any(_TEMPORARY.fullmatch(part) for part in path.relative_to(folder.path).parts[:-1]):
            continue  # inside of one
        if _TEMPORARY.fullmatch(path.name):
            what = "was left by a killed process"
            yield Damage(what, where, "deleted", partial(_delete, path))
        elif path.suffix == ".json" and path.is_file() and _is_torn(path):
            yield Damage(TORN, where, _aside(path), partial(_set_aside, path))
        elif path.name == _LOG:
            yield from _log_damage(path, where)
        elif path.parent.name == "models" and path.is_dir() and not _is_model(path):
            what = "is no whole model"
            remedy = "deleted; it is trained again from its record when it is asked for"
            yield Damage(what, where, remedy, partial(_delete, path))


def _check_record(folder: StudyFolder) -> None:
    path = folder.path / "record.json"
    if path.exists() and _is_torn(path):
        raise StoreError(
            f"{path} is no JSON, and nothing else says what the study was launched with. Put back "
            "a copy of it, or start again with `mtl search --fresh`, which keeps the old study."
        )


def _is_torn(path: Path) -> bool:
    try:
        json.loads(path.read_text("utf-8"))
    except ValueError:
        return True
    return False


def _aside(path: Path) -> str:
    lost = _LOST.get(path.name) or _LOST.get(path.parent.name)
    return f"put aside as {path.name}.damaged; {lost or 'it is made again when it is asked for'}"


def _set_aside(path: Path) -> None:
    path.replace(path.with_name(f"{path.name}.damaged"))


def _log_damage(path: Path, where: str) -> Iterator[Damage]:
    """Yields lines of ended trials that cannot be read; those after the last break count not."""
    lines = path.read_bytes().splitlines(keepends=True)
    good = [line for line in lines if line.endswith(b"\n") and _is_json(line)]
    if len(good) == len(lines):
        return
    if good == lines[:-1] and not lines[-1].endswith(b"\n"):
        what, remedy = "ends with half a line", "cut there; that trial runs again"
    else:
        n_bad = len(lines) - len(good)
        what = f"has {n_bad} unreadable line{'s' if n_bad > 1 else ''}"
        remedy = f"left out, the old file kept as {path.name}.damaged; those trials run again"
    yield Damage(what, where, remedy, partial(_rewrite, path, good))


def _is_json(line: bytes) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True


def _rewrite(path: Path, lines: list[bytes]) -> None:
    shutil.copy2(path, path.with_name(f"{path.name}.damaged"))
    temporary = path.with_name(f"{path.name}.mended")
    temporary.write_bytes(b"".join(lines))
    temporary.replace(path)


def _is_model(path: Path) -> bool:
    """Tells whether a model's files are whole; its code is not run, which may be the user's own."""
    if not {"model.json", "weights.npz"} <= {file.name for file in path.iterdir()}:
        return False
    return not _is_torn(path / "model.json") and all(map(_is_archive, path.rglob("*.npz")))


def _is_archive(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except (zipfile.BadZipFile, OSError, zlib.error):
        return False


def _delete(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
