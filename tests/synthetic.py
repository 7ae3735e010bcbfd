"""Tasks whose truth is known: two groups that share inside and conflict across, with a dial.

A task of group `a` or `b` is a sum of two hidden units, `tanh(2 u.x)` of the inputs. Both tasks of
a group read the same two directions u, with weights of their own; the groups' directions are at
right angles. A train row has the label of one task of each group; valid and test rows have all.

- Inside a group sharing helps: the directions are learned from twice the labels.
- Across groups it hurts: two groups need four hidden units, and rob a narrow trunk of its two.

The dial, and what each task gains in one model for all four, in r2 on test, against the same task
alone at the same settings (means over 20 draws of the family, 5 seeds each, 4,000 test rows; the
spread is that of a task's gain over draws, its seeds averaged):

| dial | trunk | labels a task | noise | alone | gain | spread | a pair inside | across |
| --- | --- | --- | --- | --- | --- | --- | --- | --- |
| -1 | 2 | 150 | 0.2 | 0.659 | -0.237 | 0.073 | +0.085 | -0.041 |
| -0.5 | 2 | 150 | 0.6 | 0.248 | -0.107 | 0.046 | +0.013 | -0.024 |
| 0 | 32 | 300 | 0.2 | 0.781 | -0.001 | 0.003 | -0.000 | -0.000 |
| 0.5 | 4 | 250 | 0.4 | 0.477 | +0.052 | 0.017 | +0.049 | -0.015 |
| 1 | 4 | 300 | 0.2 | 0.673 | +0.095 | 0.014 | +0.079 | -0.022 |

The sign of the dial was the sign of the true gain of every one of the 80 tasks of each row, so a
verdict with another sign is wrong. At dial 0 a task is a linear function of the inputs with a
direction of its own, enough labels and a wide trunk: there is nothing to gain or to lose. At both
strong settings the groups are what to find. One seed says little: a narrow trunk has good and bad
starts.

Measured again by `python tests/synthetic.py` with the project on the path: a minute.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.data.prepare import prepare_data
from pipeline.driver.backend import one_thread
from pipeline.driver.trials import make_member
from pipeline.evaluation.evaluate import evaluate_one
from pipeline.study.loading import Study, parse_study
from pipeline.tasks.registry import kind_of
from pipeline.training.loop import train
from pipeline.training.members import architecture_of
from pipeline.training.predict import predict_member


@dataclass(frozen=True)
class Setting:
    """One position of the dial.

    Attributes:
        width: Of the trunk's one layer.
        n_labels: Train labels of each task.
        noise: Share of a target's variance that no input explains.
        n_inputs: Inputs, all standard normal.
        batch_size: Rows a step.
        shared: Whether a group's tasks read the same hidden units; else each task is a linear
            function with a direction of its own.
    """

    width: int
    n_labels: int
    noise: float
    n_inputs: int = 20
    batch_size: int = 32
    shared: bool = True


SETTINGS = {
    -1.0: Setting(width=2, n_labels=150, noise=0.2),
    -0.5: Setting(width=2, n_labels=150, noise=0.6),
    0.0: Setting(width=32, n_labels=300, noise=0.2, n_inputs=8, batch_size=100, shared=False),
    0.5: Setting(width=4, n_labels=250, noise=0.4),
    1.0: Setting(width=4, n_labels=300, noise=0.2, n_inputs=30),
}
STRONG = (-1.0, 1.0)
TASKS = ("a0", "a1", "b0", "b1")
GROUPS = (("a0", "a1"), ("b0", "b1"))

STUDY = """
name: synthetic
sources: {rows: {}}
tasks:
  a0: {kind: regression, target: a0}
  a1: {kind: regression, target: a1}
  b0: {kind: regression, target: b0}
  b1: {kind: regression, target: b1}
split: {column: part}
model: {activation: tanh}
train:
  lr: {low: 0.008, high: 0.032, log: true}
  weight_decay: 0.01
  epochs: 60
  patience: 10
search: {trials: 4, cohort: 4, pruner: none, keep: 1}
"""


def synthetic_study(dial: float, seed: int = 0, **overrides: Any) -> Study:
    """Returns the study of one draw; other values by dotted path with `__` for a dot."""
    values = {key.replace("__", "."): value for key, value in overrides.items()}
    setting = SETTINGS[dial]
    fixed = {
        "model.layers": [setting.width], "train.batch_size": setting.batch_size, "seed": seed,
    }  # fmt: skip
    return parse_study(STUDY, overrides={**fixed, **values})


def synthetic_tables(
    dial: float, seed: int = 0, n_valid: int = 300, n_test: int = 600
) -> dict[str, pd.DataFrame]:
    """Returns the tables of one draw, for `search(study, tables=...)`: another seed, other truth.

    Args:
        dial: A key of `SETTINGS`.
        seed: Of the directions, weights, rows and noise.
        n_valid: Rows to select on, each with the labels of all tasks.
        n_test: Rows to test on, likewise.
    """
    setting = SETTINGS[dial]
    draw = np.random.default_rng(seed)
    n_train = 2 * setting.n_labels
    n_rows = n_train + n_valid + n_test
    inputs = draw.normal(size=(n_rows, setting.n_inputs))
    directions = np.linalg.qr(draw.normal(size=(setting.n_inputs,) * 2))[0].T
    frame = pd.DataFrame({f"x{i}": inputs[:, i] for i in range(setting.n_inputs)})
    turn = np.arange(n_train) % 2  # which task of each group has the label of a train row
    for group, names in enumerate(GROUPS):
        for index, task in enumerate(names):
            first = 2 * group if setting.shared else 4 * group + 2 * index
            hidden = inputs @ directions[first : first + 2].T  # (N, 2)
            if setting.shared:
                hidden = np.tanh(2.0 * hidden)
            target = _noisy(hidden @ _weights(draw, index), setting.noise, draw)
            target[:n_train][turn != index] = np.nan
            frame[task] = target
    frame["part"] = np.repeat(["train", "valid", "test"], [n_train, n_valid, n_test])
    return {"rows": frame}


def _weights(draw: np.random.Generator, index: int) -> NDArray[np.float64]:
    """Returns a task's weights of its two hidden units.

    The first counts more in both tasks of a group, and the second has another sign in each: a
    narrow trunk then keeps the first of each group, and loses a part of every task, in place of
    serving one group and dropping the other.
    """
    share = draw.uniform(0.6, 0.7)
    return np.sqrt([share, 1 - share]) * [1.0, (-1.0) ** index]


def _noisy(
    signal: NDArray[np.float64], noise: float, draw: np.random.Generator
) -> NDArray[np.float64]:
    """Returns a target of variance 1, of which `noise` is noise."""
    standard = signal / signal.std()
    drawn = draw.normal(size=len(signal))
    return np.asarray(np.sqrt(1 - noise) * standard + np.sqrt(noise) * drawn)


def true_scores(dial: float, seed: int, n_seeds: int = 5) -> NDArray[np.float64]:
    """Trains a draw at the centre of its ranges, and scores it on 4,000 test rows.

    Returns:
        (1 + 4 + 6, 4) mean r2 of each task in: all together, each alone, each pair.
    """
    study = synthetic_study(dial, seed)
    weights = [(1.0,) * 4, *_indicators(1), *_indicators(2)]
    with TemporaryDirectory() as cache:
        tables = synthetic_tables(dial, seed, n_test=4000)
        prepared = prepare_data(study.spec, Path(), Path(cache), tables=tables)
        members = [
            make_member(study, prepared, 100 * k + i, {}, seed=1000 * seed + k, weights=w)
            for k in range(n_seeds)
            for i, w in enumerate(weights)
        ]
        with one_thread():
            trained = train(members, prepared)
        rows, kinds = prepared.parts["test"], [kind_of(info) for info in prepared.tasks]
        scores = []
        for member, result in zip(members, trained, strict=True):
            shape = architecture_of(member, prepared)
            outputs = predict_member(shape, result.parameters, rows)
            scores.append([*evaluate_one(kinds, outputs, rows.targets, "test").scores.values()])
    return np.reshape(scores, (n_seeds, len(weights), 4)).mean(0)


def _indicators(count: int) -> list[tuple[float, ...]]:
    """Returns weight 1 for `count` tasks and 0 for the others, in every way."""
    return [tuple(float(i in kept) for i in range(4)) for kept in combinations(range(4), count)]


def _print_truth(n_draws: int = 20) -> None:
    for dial, setting in SETTINGS.items():
        scores = np.array([true_scores(dial, seed) for seed in range(n_draws)])
        alone = np.diagonal(scores[:, 1:5], axis1=1, axis2=2)  # (draws, 4)
        gain = scores[:, 0] - alone
        inside, across = [], []
        for i, pair in enumerate(combinations(range(4), 2)):
            found = scores[:, 5 + i, pair] - alone[:, pair]
            (inside if pair in ((0, 1), (2, 3)) else across).append(found)
        right = 1.0 if dial == 0 else np.mean(gain * dial > 0)
        print(
            f"| {dial:g} | {setting.width} | {setting.n_labels} | {setting.noise} | "
            f"{alone.mean():.3f} | {gain.mean():+.3f} | {gain.std():.3f} | "
            f"{np.mean(inside):+.3f} | {np.mean(across):+.3f} |  right sign {right:.3f}",
            flush=True,
        )


if __name__ == "__main__":
    _print_truth()
