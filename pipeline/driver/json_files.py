"""JSON on disk: files that are written whole or not at all, and files of lines."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pipeline.data.whole_file import whole_file
from pipeline.errors import StoreError


def read_json(path: Path) -> Any:
    """Returns the values of a JSON file; None where there is no such file.

    Raises:
        StoreError: The file is damaged: it was written whole, and is not whole any more.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise StoreError(
            f"{path} is damaged: {error}. `mtl repair STUDY` mends what a crash left."
        ) from error


def write_json(path: Path, values: Any, compact: bool = False) -> None:
    """Writes a JSON file whole or not at all.

    Args:
        path: The file.
        values: Its content.
        compact: On one line, which takes a tenth of the time; else for people to read.
    """
    text = json.dumps(values) if compact else json.dumps(values, indent=1)
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as file:
        file.write(text.encode())


class JsonLines:
    """A file of one value a line, with one writer and any number of readers.

    A line that a killed writer left by half counts for nothing, and is overwritten.

    Args:
        path: The file; made with the first value.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._n_bytes = 0  # of the whole lines that were read

    def fresh(self) -> list[Any]:
        """Returns the values that were added since the last call."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._n_bytes)
                content = file.read()
        except FileNotFoundError:
            return []
        whole = content[: content.rfind(b"\n") + 1]
        self._n_bytes += len(whole)
        return [json.loads(line) for line in whole.splitlines()]

    def append(self, values: Iterable[Any]) -> None:
        """Adds values after those that `fresh` has returned; they are on disk when this returns."""
        lines = "".join(json.dumps(value, separators=(",", ":")) + "\n" for value in values)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.touch()
        with self._path.open("r+b") as file:
            file.truncate(self._n_bytes)
            file.seek(self._n_bytes)
            file.write(lines.encode())
            file.flush()
            os.fsync(file.fileno())


def finite(values: Any) -> Any:
    """Returns JSON values with null in place of numbers that are not finite."""
    if isinstance(values, float) and not math.isfinite(values):
        return None
    if isinstance(values, Mapping):
        return {key: finite(value) for key, value in values.items()}
    if isinstance(values, list | tuple):
        return [finite(value) for value in values]
    return values
