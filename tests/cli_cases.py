"""A table, a study of it that trains in a moment, and the command `mtl` run in this process."""

import contextlib
import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline.cli import main

STUDY = """
name: NAME
sources: {people: {path: people.csv, about: "Ask Ann for people.csv."}}
tasks:
  bought: {kind: binary, target: bought}
  colour: {kind: multiclass, target: colour}
  size: {kind: regression, target: size}
split: {column: part}
model: {layers: [4], dropout: {low: 0.0, high: 0.3}}
train: {epochs: 2, batch_size: 32, lr: {low: 1.0e-3, high: 1.0e-1, log: true}}
search: {trials: 4, cohort: 4, population: 2, keep: 1, pruner: none}
"""
PARTS = {"train": 90, "valid": 30, "test": 30}
Change = Callable[[pd.DataFrame], object]


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """What it printed, which must be one JSON document."""
        return json.loads(self.out)


def mtl(*words: str | Path) -> Done:
    """Runs a command line in this process."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main([str(word) for word in words])
        except SystemExit as end:  # argparse's own way out
            code = int(end.code or 0)
    return Done(code, out.getvalue(), err.getvalue())


def people() -> pd.DataFrame:
    draw = np.random.default_rng(0)
    n_rows = sum(PARTS.values())
    age, height = draw.normal(size=(2, n_rows))
    return pd.DataFrame(
        {
            "age": (age * 10 + 40).round(1),
            "height": height,
            "city": draw.choice(["Bern", "Basel", "Chur"], n_rows),
            "person": [f"p{row}" for row in np.repeat(np.arange(n_rows // 3), 3)],
            "bought": np.where(age + height > 0, "yes", "no"),
            "colour": draw.choice(["red", "green", "blue"], n_rows),
            "size": (age - height).round(3),
            "part": np.repeat(list(PARTS), list(PARTS.values())),
        }
    )


def write_case(
    folder: Path,
    name: str = "people",
    change: Change | None = None,
    edits: tuple[tuple[str, str], ...] = (),
) -> Path:
    """Writes people.csv, changed in place, and study.yaml with edits; returns the study file."""
    frame = people()
    if change is not None:
        change(frame)
    frame.to_csv(folder / "people.csv", index=False)
    text = STUDY.replace("NAME", name)
    for old, new in edits:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    study = folder / "study.yaml"
    study.write_text(text)
    return study
