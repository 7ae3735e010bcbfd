"""Texts of study files that several tests read."""

from typing import Any

import yaml

EXAMPLE = """
name: adult
seed: 0
sources:
  people:
    path: adult.csv.gz
    about: "UCI Adult"
    drop: [fnlwgt, relationship]
tasks:
  income:  {kind: binary, target: income, positive: ">50K"}
  marital: {kind: multiclass, target: marital_status, metric: accuracy}
  hours:   {kind: regression, target: hours_per_week}
split: {column: split, valid: 0.1}
model: {sharing: shared_bottom, layers: [64, 64], activation: relu, norm: none,
        dropout: {low: 0.0, high: 0.5}}
weights: {strategy: fixed, low: 0.1, high: 10}
train:
  optimizer: adamw
  lr: {low: 1.0e-4, high: 1.0e-2, log: true}
  weight_decay: {low: 1.0e-6, high: 1.0e-1, log: true}
  schedule: cosine
  clip: 1.0
  label_smoothing: 0.0
  augment: {noise: 0.0, drop: 0.0, mixup: 0.0}
  epochs: 30
  batch_size: 256
  patience: 5
search: {trials: 64, objective: mean, sampler: tpe, pruner: median, keep: 3}
promote: {model: adult, alias: champion, gates: {min_gain: 0.0, max_task_loss: 0.01}}
"""


def small(**sections: Any) -> str:
    """Returns the text of a small study with other sections in place."""
    tree: dict[str, Any] = {
        "name": "s",
        "sources": {"people": {"path": "people.csv"}},
        "tasks": {
            "a": {"kind": "binary", "target": "a"},
            "b": {"kind": "regression", "target": "b"},
        },
    }
    return yaml.safe_dump({**tree, **sections}, sort_keys=False)
