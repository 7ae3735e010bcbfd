"""A study of three kinds of task that trains in a moment, on a table with everything in it."""

from typing import Any

import numpy as np
import pandas as pd

from pipeline.study.loading import Study, parse_study

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
search: {trials: 8, cohort: 4, population: 2, keep: 1}
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
