"""Does a model answer without this package? It is loaded in a clean process and asked."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import pandas as pd

_STRANGER = Path(__file__).with_name("stranger.py")
_REFUSED = ("pipeline",)
_SECONDS = 900.0  # a model that writes texts word by word on a busy machine
_N_SINGLE = 16
_N_TIMED = 100
_PICKLED = (".pkl", ".pickle", ".pt", ".pth", ".joblib", ".dill")
_PROTOCOLS = tuple(b"\x80" + bytes([protocol]) for protocol in range(2, 6))

Rows = Mapping[str, list[Any]]
"""Column to plain values, None where one is missing: what an application may send as JSON."""


@dataclass(frozen=True)
class Standalone:
    """What a clean process found.

    Attributes:
        error: Why the model does not answer there; empty where it does.
        pickles: Files that are pickles, and classes that were unpickled while it answered.
        gap: Largest difference among its answers for rows one by one, for all rows at once, and
            those of this process; relative to values above 1. Infinite where labels differ.
        compared: What was compared, as a phrase.
        latency_ms: Milliseconds that 95 % of single rows took at most.
        size_mb: Megabytes of its files.
    """

    error: str = ""
    pickles: tuple[str, ...] = ()
    gap: float | None = None
    compared: str = ""
    latency_ms: float | None = None
    size_mb: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Returns plain JSON values."""
        return {**vars(self), "pickles": list(self.pickles)}


def check_standalone(
    folder: Path,
    frame: pd.DataFrame,
    expected: Callable[[pd.DataFrame], pd.DataFrame] | None = None,
    n_timed: int = _N_TIMED,
) -> Standalone:
    """Loads a model's folder in a process that cannot import this package, and asks it.

    Args:
        folder: The model as MLflow saved it.
        frame: Raw rows to ask for; without any, the model is loaded only.
        expected: Gives this process's answers for such rows.
        n_timed: Calls of one row that are timed.
    """
    rows = plain_rows(frame)
    n_single = min(_N_SINGLE, len(frame))
    task = {
        "model": str(folder), "rows": rows, "refused": _REFUSED,
        "n_single": n_single, "n_timed": n_timed,
    }  # fmt: skip
    files = [path for path in folder.rglob("*") if path.is_file()]
    pickled = tuple(str(path.relative_to(folder)) for path in files if _is_pickle(path))
    size_mb = sum(path.stat().st_size for path in files) / 1e6
    found, error = _ask(task)
    if found is None:
        return Standalone(error, pickled, size_mb=size_mb)
    gap, latency_ms = None, None
    if len(frame):
        sides = [(found["single"], found["batch"])]
        if expected is not None:
            here = expected(pd.DataFrame(rows))
            sides.append((found["batch"], {str(name): here[name].tolist() for name in here}))
        gap = max(largest_gap(one, other) for one, other in sides)
        latency_ms = 1000 * float(np.quantile(found["seconds"], 0.95))
    return Standalone(
        pickles=(*pickled, *found["pickles"]),
        gap=gap,
        compared=f"{n_single} rows alone, {len(frame)} at once" if len(frame) else "",
        latency_ms=latency_ms,
        size_mb=size_mb,
    )


def plain_rows(frame: pd.DataFrame) -> Rows:
    """Returns the columns of a frame as plain values."""
    return {str(name): [_plain(value) for value in frame[name]] for name in frame}


def largest_gap(answers: Mapping[str, Sequence[Any]], others: Mapping[str, Sequence[Any]]) -> float:
    """Returns the largest difference of the first rows that both answer, relative above 1."""
    if {*answers} != {*others}:
        return math.inf
    return max((_gap(answers[name], others[name]) for name in answers), default=0.0)


def _gap(answers: Sequence[Any], others: Sequence[Any]) -> float:
    pairs = list(zip(answers, others, strict=False))
    if not all(isinstance(value, int | float) for pair in pairs for value in pair):
        return 0.0 if all(str(one) == str(other) for one, other in pairs) else math.inf
    ours, theirs = np.array(pairs, np.float64).reshape(-1, 2).T
    both = np.isnan(ours) & np.isnan(theirs)
    gaps = np.where(both, 0.0, np.abs(ours - theirs) / np.maximum(1.0, np.abs(theirs)))
    return float(np.nan_to_num(gaps, nan=math.inf).max(initial=0.0))


def _ask(task: Mapping[str, Any]) -> tuple[Any, str]:
    """Runs the clean process; returns what it found, or None and why it did not."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("MLFLOW_")}
    with tempfile.TemporaryDirectory(prefix="stranger-") as made:
        asked, answered = Path(made) / "task.json", Path(made) / "answer.json"
        asked.write_text(json.dumps(task), encoding="utf-8")
        try:
            done = subprocess.run(
                # Isolated, and leaving no compiled files in the model's folder.
                [sys.executable, "-I", "-B", str(_STRANGER), str(asked), str(answered)],
                cwd=made,
                env={**kept, "MLFLOW_DISABLE_TELEMETRY": "true"},
                capture_output=True,
                text=True,
                check=False,
                timeout=_SECONDS,
            )
        except subprocess.TimeoutExpired:
            return None, f"it did not answer within {_SECONDS:g} seconds"
        if done.returncode or not answered.exists():
            last = (done.stderr.strip() or f"it ended with {done.returncode}").splitlines()[-1]
            return None, last[:300]
        return json.loads(answered.read_text("utf-8")), ""


def _is_pickle(path: Path) -> bool:
    """Tells whether a file is a pickle or holds one, as torch's and numpy's archives may."""
    if path.suffix in _PICKLED:
        return True
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            return any(_is_pickled(archive.open(name)) for name in archive.namelist())
    return _is_pickled(path.open("rb"))


def _is_pickled(opened: IO[bytes]) -> bool:
    with opened as file:
        head = file.read(256)
    return head.startswith(_PROTOCOLS) or (head.startswith(b"\x93NUMPY") and b"'|O'" in head)


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return None if value is None or value is pd.NA or value is pd.NaT else str(value)
