"""A small data set with four kinds of task, and members to train on it, for many tests."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from pipeline.data.encoding import CategoricalColumn, Encoder, NumericColumn
from pipeline.data.prepared import Part, Prepared, PrepareReport
from pipeline.study import catalogue
from pipeline.study.model_spec import ModelSpec
from pipeline.study.task_spec import TaskSpec
from pipeline.study.train_spec import AugmentSpec, TrainSpec
from pipeline.study.weights_spec import WeightsSpec
from pipeline.training.members import Member

SPECS = {
    "bought": TaskSpec(kind="binary", target="bought"),
    "colour": TaskSpec(kind="multiclass", target="colour"),
    "price": TaskSpec(kind="regression", target="price"),
    "tags": TaskSpec(kind="multilabel", target=["new", "used", "rare"]),
}
SIZES = {"train": 150, "valid": 60, "test": 40}
N_NUMERIC, N_CODES = 5, (5, 4)


def make_prepared(n_rows: dict[str, int] | None = None, missing: float = 0.2) -> Prepared:
    """Makes rows whose labels follow from their inputs.

    Args:
        n_rows: Rows of each part.
        missing: Share of the labels of `colour` and `tags` that are missing.
    """
    random = np.random.default_rng(0)
    sizes = n_rows or SIZES
    total = sum(sizes.values())
    numeric = random.normal(size=(total, N_NUMERIC)).astype(np.float32)
    codes = np.stack([random.integers(0, n, total) for n in N_CODES], axis=1).astype(np.int32)
    labels = _labels(random, numeric, codes, missing)
    starts = np.cumsum([0, *sizes.values()])
    slices = {name: slice(starts[i], starts[i + 1]) for i, name in enumerate(sizes)}
    fitted = {
        task: catalogue.load("kind", spec.kind).fit(task, task, spec, labels[slices["train"]])
        for task, spec in SPECS.items()
    }
    targets = {
        task: catalogue.load("kind", info.kind)(info).encode(labels)
        for task, info in fitted.items()
    }
    parts = {
        name: Part(
            numeric=numeric[rows],
            codes=codes[rows],
            targets={task: target[rows] for task, target in targets.items()},
            ids=np.array([f"{row:08d}".encode() for row in range(rows.start, rows.stop)]),
        )
        for name, rows in slices.items()
    }
    return Prepared(
        parts=parts,
        encoder=_encoder(),
        tasks=tuple(fitted.values()),
        data_digest="d" * 32,
        prepared_digest="p" * 32,
        report=PrepareReport(sizes, {}, 0, (), {}),
    )


def _labels(
    random: np.random.Generator, numeric: np.ndarray, codes: np.ndarray, missing: float
) -> pd.DataFrame:
    noise = random.normal(scale=0.5, size=(len(numeric), 6))
    signal = numeric @ random.normal(size=(N_NUMERIC, 6)) + codes[:, [0]] - 2 + noise
    colours = np.array(["blue", "green", "red"], dtype=object)
    frame = pd.DataFrame(
        {
            "bought": np.where(signal[:, 0] > 0, "yes", "no"),
            "colour": colours[signal[:, 1:4].argmax(axis=1)],
            "price": 100 + 20 * signal[:, 4],
            **{tag: (signal[:, i] > 0).astype(float) for i, tag in enumerate(SPECS["tags"].target)},
        }
    )
    frame.loc[random.random(len(frame)) < missing, "colour"] = None
    frame.loc[random.random(len(frame)) < missing, list(SPECS["tags"].target)] = None
    return frame


def _encoder() -> Encoder:
    return Encoder(
        tuple(NumericColumn(f"n{j}", 0.0, 0.0, 1.0) for j in range(N_NUMERIC)),
        tuple(
            CategoricalColumn(f"c{j}", tuple(str(i) for i in range(n - 2)))
            for j, n in enumerate(N_CODES)
        ),
    )


def only(prepared: Prepared, *names: str) -> Prepared:
    """Returns the data with some of its tasks."""
    return replace(prepared, tasks=tuple(t for t in prepared.tasks if t.name in names))


def with_train(prepared: Prepared, **changes: object) -> Prepared:
    """Returns the data with train rows of which some fields are others."""
    parts = {**prepared.parts, "train": replace(prepared.parts["train"], **changes)}
    return replace(prepared, parts=parts)


def member(number: int = 0, **values: Any) -> Member:
    """Makes a member; values go to the section that has them.

    Args:
        number: Of the member; its seed is `100 + number` where none is given.
        values: `weights`, `seed`, `stream`, `noise`, `drop`, `mixup`, or keys of the sections
            model, train and weights.
    """
    augment = {key: values.pop(key) for key in ("noise", "drop", "mixup") if key in values}
    model = {key: values.pop(key) for key in list(values) if key in ModelSpec.__dataclass_fields__}
    train = {key: values.pop(key) for key in list(values) if key in TrainSpec.__dataclass_fields__}
    keys = ("strategy", "temperature", "mu", "own_lr")
    weighting = {key: values.pop(key) for key in keys if key in values}
    defaults = {"layers": [12, 8], "embedding": 3}
    short = {"epochs": 4, "batch_size": 32, "patience": None, "lr": 1e-2}
    made = Member(
        number=number,
        seed=values.pop("seed", 100 + number),
        stream=values.pop("stream", 7),
        model=ModelSpec(**{**defaults, **model}),
        train=TrainSpec(**{**short, **train, "augment": AugmentSpec(**augment)}),
        tasks=SPECS,
        weights=tuple(values.pop("weights", (1.0, 1.0, 1.0, 1.0))),
        weighting=WeightsSpec(**weighting),
    )
    assert not values, f"no section has {list(values)}"
    return made
