"""What all competitors train: one table, one network, one space of settings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline import load_study, prepare
from pipeline.data.prepared import Prepared
from pipeline.study.loading import Study

N_INPUTS, N_TASKS, N_CLASSES = 64, 4, 5


@dataclass(frozen=True)
class Workload:
    """One cell of the benchmark.

    Attributes:
        width: Of both layers of the trunk.
        batch: Rows of a step.
        epochs: Of every trial; no competitor stops early but by pruning.
        n_train: Train rows; valid and test have a quarter each.
        seed: Of the study.
    """

    width: int = 64
    batch: int = 64
    epochs: int = 20
    n_train: int = 4096
    seed: int = 0

    def study(self, folder: Path, name: str = "bench", search: str = "") -> Study:
        """Returns the study, whose table `write_table` wrote into the folder.

        Args:
            folder: Where the table lies.
            name: Of the study.
            search: Further keys of the section `search`.
        """
        tasks = "\n".join(
            f"  t{t}: {{kind: multiclass, target: t{t}, metric: accuracy}}" for t in range(N_TASKS)
        )
        path = folder / f"{name}.yaml"
        path.write_text(
            f"""name: {name}
seed: {self.seed}
sources: {{rows: {{path: rows.csv}}}}
tasks:
{tasks}
split: {{column: split}}
model:
  layers: [{self.width}, {self.width}]
  dropout: {{low: 0.05, high: 0.5}}
weights: {{low: 0.1, high: 10}}
train:
  optimizer: adamw
  lr: {{low: 1.0e-4, high: 3.0e-2, log: true}}
  weight_decay: {{low: 1.0e-5, high: 1.0, log: true}}
  schedule: constant
  patience: null
  epochs: {self.epochs}
  batch_size: {self.batch}
search: {{trials: 64, keep: 1, finalists: null{search}}}
"""
        )
        return load_study(path, data_dir=folder)

    def write_table(self, folder: Path) -> None:
        """Writes the table: classes of a shared hidden layer, noisier from task to task."""
        random = np.random.default_rng(5)
        n_rows = self.n_train * 3 // 2
        inputs = random.normal(size=(n_rows, N_INPUTS))
        hidden = np.tanh(inputs @ random.normal(size=(N_INPUTS, 24)) / 4)
        columns = {f"x{i}": inputs[:, i].round(4) for i in range(N_INPUTS)}
        for task in range(N_TASKS):
            scores = hidden @ random.normal(size=(24, N_CLASSES))
            noise = random.normal(scale=0.5 + 0.7 * task, size=scores.shape)
            columns[f"t{task}"] = [f"c{label}" for label in (scores + noise).argmax(1)]
        parts = ["train"] * self.n_train + ["valid"] * (self.n_train // 4)
        columns["split"] = parts + ["test"] * (n_rows - len(parts))
        pd.DataFrame(columns).to_csv(folder / "rows.csv", index=False)

    def prepared(self, folder: Path) -> Prepared:
        """Prepares the table once; everyone reads the arrays from the cache."""
        return prepare(self.study(folder), folder / "store")
