"""A study of three kinds of task that trains in a moment, on a table with everything in it."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline import prepare
from pipeline.comparison.readings import Readings
from pipeline.data.prepared import Prepared
from pipeline.driver.choice import Choice, choose
from pipeline.driver.records import TrialRecord
from pipeline.driver.study_folder import StudyFolder
from pipeline.study.loading import Study, parse_study
from pipeline.tracking.store import Store

STUDY = """
name: chain
seed: 0
sources:
  people: {id: row}
tasks:
  bought: {kind: binary, target: bought, positive: "yes"}
  colour: {kind: multiclass, target: colour, metric: accuracy}
  size: {kind: regression, target: size}
split: {column: part}
model: {layers: [8], dropout: {low: 0.0, high: 0.3}}
weights: {low: 0.2, high: 5}
train:
  lr: {low: 1.0e-4, high: 1.0e+4, log: true}    # so far up that some trials diverge
  epochs: 4
  batch_size: 32
  patience: null
search: {trials: 8, cohort: 4, population: 2, keep: 1, finalists: {k: 2, seeds: 3}}
promote: {gates: {min_gain: 0.0, max_task_loss: 0.01}}
"""
N_ROWS = 300


def chain_study(name: str = "chain", **overrides: Any) -> Study:
    """The study with other values, by dotted path with `__` for a dot."""
    values = {key.replace("__", "."): value for key, value in overrides.items()}
    return parse_study(STUDY, overrides={"name": name, **values})


def people() -> pd.DataFrame:
    """Numbers, categories, yes and no, missing values; a city that only test rows have."""
    draw = np.random.default_rng(0)
    age, height, noise = draw.normal(size=(3, N_ROWS))
    city = draw.choice(["Bern", "Basel", "Chur"], N_ROWS)
    warm = city == "Chur"
    part = np.array(["train"] * 180 + ["valid"] * 60 + ["test"] * 60)
    frame = pd.DataFrame(
        {
            "row": [f"r{index:03d}" for index in range(N_ROWS)],
            "age": np.where(draw.random(N_ROWS) < 0.1, np.nan, age * 12 + 40),
            "height": height,
            "city": np.where(draw.random(N_ROWS) < 0.1, None, city),
            "member": draw.random(N_ROWS) < 0.5,
            "bought": np.where(age + warm + noise / 2 > 0.3, "yes", "no"),
            "colour": np.where(height > 0.5, "red", np.where(warm, "green", "blue")),
            "size": age - 2 * height + noise / 3,
            "part": part,
        }
    )
    frame.loc[frame.index[-15:], "city"] = "Zug"
    frame.loc[::11, "colour"] = None  # not every row has every label
    return frame


@dataclass
class Chain:
    """The study, its data, its place, and what its stages returned."""

    study: Study
    frame: pd.DataFrame
    store: Store
    found: dict[str, dict[str, Any]] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)

    @property
    def where(self) -> dict[str, Any]:
        return {"store": self.store, "tables": {"people": self.frame}, "say": self.said.append}

    @property
    def folder(self) -> StudyFolder:
        return StudyFolder(self.store.studies, self.study.spec.name)

    @property
    def trials(self) -> list[TrialRecord]:
        return self.folder.trials()

    @property
    def prepared(self) -> Prepared:
        return prepare(self.study, self.store, {"people": self.frame})

    @property
    def n_readings(self) -> int:
        return len(Readings(self.folder).all())

    @property
    def choice(self) -> Choice:
        found = choose(self.folder, self.study.spec.search.finalists)
        assert found is not None
        return found

    @property
    def shipped(self) -> TrialRecord:
        return self.choice.shipped

    def trial(self, number: int) -> TrialRecord:
        return self.trials[number]

    def ended_as(self, state: str) -> list[TrialRecord]:
        return [trial for trial in self.trials if trial.state == state]

    def files(self) -> dict[Path, bytes]:
        """What the store holds, but for locks and the database, which reading may touch."""
        return {
            path: path.read_bytes()
            for path in sorted(self.store.folder.rglob("*"))
            if path.is_file() and path.suffix != ".lock" and not path.name.startswith("mlflow.db")
        }
