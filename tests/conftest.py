"""What several rooms' tests need: a real store, a small model, and prepared rows for it."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import settings

from pipeline.data.encoding import CategoricalColumn, Encoder, NumericColumn
from pipeline.data.prepared import Part, Prepared, PrepareReport
from pipeline.study import catalogue
from pipeline.study.task_spec import TaskSpec
from pipeline.tasks.base import TaskInfo
from pipeline.tracking.store import Store, open_store

# No deadline: shared machines are slow at times. In continuous integration the same examples every
# time, so that a red run is about the change; elsewhere new ones, which look further.
settings.register_profile("here", deadline=None, derandomize=bool(os.environ.get("CI")))
settings.load_profile("here")


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """One store for all tests: making a database takes 3 s. Use a study name of your own."""
    return open_store(tmp_path_factory.mktemp("store"))


@pytest.fixture
def small_tasks() -> tuple[TaskInfo, ...]:
    labels = pd.DataFrame(
        {"income": ["low", "high", "low"] * 5, "job": list("uvw") * 5, "hours": np.arange(15.0)}
    )
    kinds = {"income": "binary", "job": "multiclass", "hours": "regression"}
    return tuple(
        catalogue.load("kind", kind).fit(
            task, task, TaskSpec(kind=kind, target=task), labels[[task]]
        )
        for task, kind in kinds.items()
    )


@pytest.fixture
def small_encoder() -> Encoder:
    return Encoder(
        numeric=(
            NumericColumn("age", median=40.0, mean=41.0, std=10.0, indicator=True),
            NumericColumn("weight", median=70.0, mean=70.0, std=12.0),
        ),
        categorical=(CategoricalColumn("city", ("Bern", "Bonn", "3")),),
    )


@pytest.fixture
def make_predictor(small_encoder: Encoder, small_tasks: tuple[TaskInfo, ...]) -> Callable:
    """Gives an untrained model of the first tasks; another seed, another model."""
    from pipeline.models.architecture import Architecture
    from pipeline.models.build import build, initialise, member_tensors
    from pipeline.serving.predictor import Predictor
    from pipeline.study.model_spec import ModelSpec
    from pipeline.tasks.registry import kind_of
    from pipeline.training.members import sharing_options

    def make(
        seed: int = 0,
        layers: tuple[int, ...] = (8, 8),
        n_tasks: int = 3,
        sharing: str = "shared_bottom",
    ) -> Predictor:
        tasks = small_tasks[:n_tasks]
        architecture = Architecture(
            sharing=sharing,
            layers=layers,
            activation="relu",
            norm="batch",
            head_layers=(),
            embedding=4,
            n_numeric=small_encoder.n_numeric,
            n_codes=small_encoder.n_codes,
            heads={task.name: kind_of(task).width for task in tasks},
            options=sharing_options(ModelSpec(sharing=sharing)),
        )
        model = build(architecture, 1)
        initialise(model, [seed])
        parameters = {
            name: tensor[0].detach().numpy().copy() for name, tensor in member_tensors(model)
        }
        return Predictor(small_encoder, architecture, tasks, parameters)

    return make


@pytest.fixture
def raw_rows() -> pd.DataFrame:
    """Rows as a file gives them: whole numbers, missing values, an unseen category."""
    return pd.DataFrame(
        {
            "age": [30, None, 55, 41],
            "weight": [60, 70, 80, 90],
            "city": ["Bern", "Basel", None, "3"],
            "ignored": ["x"] * 4,
        },
        index=[3, 5, 7, 7],
    )


@pytest.fixture
def small_prepared(small_encoder: Encoder, small_tasks: tuple[TaskInfo, ...]) -> Prepared:
    random = np.random.default_rng(0)

    def part(n_rows: int) -> Part:
        return Part(
            numeric=random.normal(size=(n_rows, small_encoder.n_numeric)).astype(np.float32),
            codes=random.integers(0, 5, size=(n_rows, 1)).astype(np.int32),
            targets={task.name: np.zeros(n_rows, np.float32) for task in small_tasks},
            ids=np.array([f"{row:08d}".encode() for row in range(n_rows)]),
        )

    parts = {"train": part(60), "valid": part(20), "test": part(30)}
    return Prepared(
        parts=parts,
        encoder=small_encoder,
        tasks=small_tasks,
        data_digest="d" * 32,
        prepared_digest="e" * 32,
        report=PrepareReport(
            n_rows={name: len(part) for name, part in parts.items()},
            duplicates={"train/test": 1},
            dropped=0,
            warnings=(),
            sources={"people": {"path": "people.csv", "rows": 110, "sha256": "0" * 64}},
        ),
    )


@pytest.fixture
def outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Runs a test in a folder that is no repository, and checks that nothing was left in it."""
    folder = tmp_path / "outside"
    folder.mkdir()
    monkeypatch.chdir(folder)
    yield folder
    assert list(folder.iterdir()) == []
