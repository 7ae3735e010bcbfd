"""What every kind of task promises to those who train, evaluate and serve it."""

import json
import subprocess
import sys
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray
from seq_cases import seq_folder

from pipeline.data.pieces import SUMMARIES
from pipeline.errors import DataError
from pipeline.study import catalogue
from pipeline.study.task_spec import BudgetSpec, TaskSpec
from pipeline.tasks.base import Kind, TaskInfo, labelled
from pipeline.tasks.documents import Document, Documents
from pipeline.tasks.registry import kind_of

N_ROWS = 40


def table() -> pd.DataFrame:
    random = np.random.default_rng(7)
    frame = pd.DataFrame(
        {
            "yes": random.choice(["no", "yes"], N_ROWS, p=[0.7, 0.3]),
            "grade": random.choice([1, 2, 10], N_ROWS).astype(float),
            "a": random.integers(0, 2, N_ROWS).astype(float),
            "b": random.integers(0, 2, N_ROWS).astype(bool),
            "tags": random.choice(["x", "y", "x|z", "y|z"], N_ROWS),
            "price": random.gamma(2.0, 100.0, N_ROWS),
            "worth": random.uniform(0, 1, N_ROWS),
            "document": np.arange(N_ROWS),
            "piece": np.zeros(N_ROWS),
            "number": np.arange(N_ROWS).astype(float),
            "words": [f"row {row}" for row in range(N_ROWS)],
            "read": [f"Row {row}." for row in range(N_ROWS)],
        }
    )
    frame.loc[[3, 17], ["yes", "grade", "a", "tags", "price", "worth", "number"]] = None
    return frame


# A row of a summary is a piece of a document; here each document has one, which is its reference.
DOCUMENTS = Documents(tuple(Document((f"Row {row}.",), (f"row {row}",)) for row in range(N_ROWS)))


def label_of(target: NDArray[Any], kind: Kind) -> NDArray[Any]:
    """What tells whether a row has a label, and the label where it is a number."""
    return target[:, 0] if kind.info.kind in SUMMARIES else target


def answer_of(target: NDArray[Any], kind: Kind) -> NDArray[Any]:
    """What a decoded answer is to be."""
    return target[:, 1:5] if kind.info.kind in SUMMARIES[1:] else label_of(target, kind)


@dataclass(frozen=True)
class Case:
    spec: TaskSpec
    plain: bool = True  # whether the loss is the one that the constant minimises


CASES = {
    "binary": Case(TaskSpec("binary", "yes")),
    "binary-weighted": Case(TaskSpec("binary", "yes", class_weights="balanced"), plain=False),
    "multiclass": Case(TaskSpec("multiclass", "grade")),
    "multiclass-weighted": Case(
        TaskSpec("multiclass", "grade", class_weights={10: 3.0}), plain=False
    ),
    "multilabel": Case(TaskSpec("multilabel", ["a", "b"])),
    "multilabel-one-column": Case(TaskSpec("multilabel", "tags", separator="|", threshold="tuned")),
    "multilabel-weighted": Case(
        TaskSpec("multilabel", ["a", "b"], class_weights="balanced"), plain=False
    ),
    "regression": Case(TaskSpec("regression", "price")),
    "regression-absolute": Case(TaskSpec("regression", "price", metric="mae", loss="absolute")),
    "regression-huber": Case(TaskSpec("regression", "price", loss="huber"), plain=False),
    "abstractive": Case(
        TaskSpec(
            "abstractive",
            ["number", "words", "read"],
            text="read",
            vocabulary=200,
            read=4,
            write=4,
            width=8,
            beam=1,
        ),
        plain=False,
    ),
    "abstractive_pretrained": Case(
        TaskSpec(
            "abstractive_pretrained", ["number", "words", "read"], text="read", write=4, beam=1
        ),
        plain=False,
    ),
    "summarisation": Case(
        TaskSpec(
            "summarisation",
            ["worth", "document", "piece"],
            text="text",
            budget=BudgetSpec(sentences=1),
        )
    ),
}


def spec_of(case: Case) -> TaskSpec:
    if case.spec.kind == "abstractive_pretrained":  # written when it is asked for
        return replace(case.spec, path=str(seq_folder("t5")))
    return case.spec


def fitted(case: Case) -> Kind:
    kind: Any = catalogue.load("kind", case.spec.kind)
    return kind_of(kind.fit("task", "task", spec_of(case), table())).with_documents(DOCUMENTS)


@pytest.fixture(params=CASES.values(), ids=CASES.keys())
def case(request: pytest.FixtureRequest) -> Case:
    chosen: Case = request.param
    return chosen


@pytest.fixture
def kind(case: Case) -> Kind:
    return fitted(case)


@pytest.fixture
def target(kind: Kind) -> NDArray[np.float32]:
    return kind.encode(table())


def some_outputs(kind: Kind, n_members: int) -> torch.Tensor:
    random = np.random.default_rng(1)
    return torch.tensor(random.normal(size=(n_members, N_ROWS, kind.width)), dtype=torch.float64)


def certain_outputs(kind: Kind, target: NDArray[np.float32]) -> NDArray[np.float64]:
    """Head outputs (N, width) that answer the target."""
    known = np.nan_to_num(target).astype(np.float64)
    if kind.info.kind == "regression":
        return ((known - kind.info.options["mean"]) / kind.info.options["std"])[:, None]
    if kind.info.kind == "summarisation":
        share = known[:, 0].clip(1e-9, 1 - 1e-9)
        return np.log(share / (1 - share))[:, None]
    if kind.info.kind in SUMMARIES[1:]:
        return known[:, 1:5]
    if kind.info.kind == "multiclass":
        return 9.0 * (known[:, None] == np.arange(kind.width))
    return 9.0 * (2 * known.reshape(len(known), -1) - 1)


def mean_loss(kind: Kind, outputs: NDArray[Any], target: NDArray[np.float32]) -> float:
    rows = torch.from_numpy(labelled(target))
    loss = kind.row_loss(
        torch.from_numpy(outputs)[None], torch.from_numpy(target), torch.zeros(1, 1)
    )
    return float(loss[0, rows].mean())


def test_every_kind_of_the_catalogue_has_a_case() -> None:
    assert {case.spec.kind for case in CASES.values()} == set(catalogue.names("kind"))


@pytest.mark.parametrize("name", catalogue.names("kind"))
def test_metrics_are_those_of_the_catalogue(name: str) -> None:
    kind = catalogue.load("kind", name)
    assert kind.name == name
    assert tuple(kind.metrics) == catalogue.entry("kind", name).metrics
    assert all(key == metric.name for key, metric in kind.metrics.items())


def test_targets_are_float32_and_nan_where_missing(kind: Kind, target: NDArray[np.float32]) -> None:
    assert target.dtype == np.float32
    label = label_of(target, kind)
    assert label.shape in ((N_ROWS,), (N_ROWS, kind.width))
    assert np.flatnonzero(~labelled(target)).tolist() == [3, 17]
    assert np.isnan(label[[3, 17]]).all()


def test_loss_and_gradient_are_finite_where_labels_are_missing(
    kind: Kind, target: NDArray[np.float32]
) -> None:
    outputs = some_outputs(kind, 3).requires_grad_()
    smoothing = torch.tensor([[0.0], [0.1], [0.5]])
    loss = kind.row_loss(outputs, torch.from_numpy(target), smoothing)
    assert loss.shape == (3, N_ROWS)
    assert loss.isfinite().all()
    loss.sum().backward()
    assert outputs.grad is not None
    assert outputs.grad.isfinite().all()
    weight = kind.row_weight(torch.from_numpy(target))
    assert weight is None or (weight.shape == (N_ROWS,) and bool(weight.isfinite().all()))


def test_loss_falls_along_its_gradient(kind: Kind, target: NDArray[np.float32]) -> None:
    outputs = some_outputs(kind, 1).requires_grad_()
    labels, smoothing = torch.from_numpy(target), torch.zeros(1, 1)
    before = kind.row_loss(outputs, labels, smoothing)
    (slope,) = torch.autograd.grad(before.sum(), outputs)
    after = kind.row_loss((outputs - 1e-3 * slope).detach(), labels, smoothing)
    assert after.sum() < before.sum()


def test_a_member_of_a_population_equals_the_member_alone(
    kind: Kind, target: NDArray[np.float32]
) -> None:
    outputs, labels = some_outputs(kind, 3), torch.from_numpy(target)
    smoothing = torch.tensor([[0.0], [0.1], [0.5]])
    together = kind.row_loss(outputs, labels, smoothing)
    decoded = kind.decode(outputs.numpy())
    for member in range(3):
        one = slice(member, member + 1)
        alone = kind.row_loss(outputs[one], labels, smoothing[one])
        torch.testing.assert_close(together[one], alone, rtol=1e-12, atol=1e-12)
        values = kind.decode(outputs[member].numpy()).values
        np.testing.assert_array_equal(decoded.values[member], values)


def test_labels_come_back_from_certain_outputs(kind: Kind, target: NDArray[np.float32]) -> None:
    rows = labelled(target)
    decoded = kind.decode(certain_outputs(kind, target))
    np.testing.assert_allclose(decoded.values[rows], answer_of(target, kind)[rows], rtol=1e-5)
    for metric in kind.metrics.values():
        perfect = metric(target[rows], kind.decode(certain_outputs(kind, target)[None, rows]))
        assert perfect == pytest.approx([1.0 if metric.higher_is_better else 0.0], abs=1e-3)


def test_answers_are_the_labels_of_the_table(kind: Kind, target: NDArray[np.float32]) -> None:
    columns = kind.answer(certain_outputs(kind, target))
    expected = [
        "task",
        *(f"task_proba_{label}" for label in kind.info.classes),
    ]
    assert list(columns) == expected
    assert {len(column) for column in columns.values()} == {N_ROWS}
    again = pd.DataFrame({kind.info.columns[0]: columns["task"]})
    if len(kind.info.columns) == 1:
        rows = labelled(target)
        np.testing.assert_allclose(kind.encode(again)[rows], target[rows], rtol=1e-6)


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.plain])
def test_the_constant_is_the_best_answer_without_inputs(name: str) -> None:
    kind = fitted(CASES[name])
    target = kind.encode(table())
    constant = np.tile(kind.info.constant, (N_ROWS, 1))
    best = mean_loss(kind, constant, target)
    random = np.random.default_rng(3)
    for _ in range(20):
        shift = random.normal(scale=0.3, size=kind.width)
        assert best <= mean_loss(kind, constant + shift, target) + 1e-12


def test_what_was_fitted_survives_json(kind: Kind) -> None:
    stored = json.loads(json.dumps(kind.info.to_json(), allow_nan=False))
    assert TaskInfo.from_json(stored) == kind.info


def test_tuning_keeps_what_the_task_is(kind: Kind, target: NDArray[np.float32]) -> None:
    tuned = kind.tune(some_outputs(kind, 1)[0].numpy(), target)
    assert tuned.to_json().keys() == kind.info.to_json().keys()
    assert (tuned.classes, tuned.constant) == (kind.info.classes, kind.info.constant)


def test_without_a_labelled_train_row_there_is_no_task(case: Case) -> None:
    kind: Any = catalogue.load("kind", case.spec.kind)
    empty = pd.DataFrame(np.nan, index=range(N_ROWS), columns=table().columns, dtype=object)
    with pytest.raises(DataError, match="`task` must have a labelled train row"):
        kind.fit("task", "task", case.spec, empty)


def test_an_unknown_metric_names_the_nearest(case: Case) -> None:
    wrong = {
        "regression": "rmsee",
        "summarisation": "rouge3",
        "abstractive": "rouge3",
        "abstractive_pretrained": "rouge3",
    }.get(case.spec.kind, "log_los")
    spec = replace(spec_of(case), metric=wrong)
    kind: Any = catalogue.load("kind", spec.kind)
    with pytest.raises(
        DataError, match=r"`tasks.task.metric`.*Did you mean `(log_loss|rmse|rouge.)`"
    ):
        kind.fit("task", "task", spec, table())


def test_checking_labels_imports_neither_torch_nor_scikit_learn() -> None:
    modules = {
        catalogue.entry("kind", name).target.partition(":")[0] for name in catalogue.names("kind")
    }
    code = (
        f"import sys, {', '.join(sorted(modules))}\n"
        "print('torch' in sys.modules, 'sklearn' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
