"""The rows to beat: head outputs of the right shape and meaning, chosen on valid, quickly."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression, Ridge

from pipeline.comparison import baselines
from pipeline.comparison.baselines import (
    BaselineResult,
    fit_boosting,
    fit_constant,
    fit_linear,
)
from pipeline.comparison.inputs import bin_edges
from pipeline.data.encoding import Encoder
from pipeline.data.prepared import Part, Prepared, PrepareReport
from pipeline.evaluation.evaluate import Evaluation, evaluate_one
from pipeline.study import catalogue
from pipeline.study.task_spec import TaskSpec
from pipeline.tasks.base import TaskInfo
from pipeline.tasks.registry import kind_of

SIZES = {"train": 400, "valid": 120, "test": 150}

SPECS = {
    "sick": TaskSpec("binary", "sick"),
    "stage": TaskSpec("multiclass", "stage"),
    "two": TaskSpec("multiclass", "sick"),
    "signs": TaskSpec("multilabel", ["a", "b"]),
    "age": TaskSpec("regression", "age"),
}


def prepared_of(
    specs: dict[str, TaskSpec],
    labels: pd.DataFrame,
    numeric: NDArray[Any],
    codes: NDArray[Any],
    sizes: dict[str, int],
) -> Prepared:
    """Rows in the order train, valid, test."""
    ends = np.cumsum([0, *sizes.values()])
    parts, tasks = {}, {}
    for task, spec in specs.items():
        kind = catalogue.load("kind", spec.kind)
        tasks[task] = kind.fit(task, task, spec, labels.iloc[: ends[1]])
    for part, start, end in zip(sizes, ends[:-1], ends[1:], strict=True):
        parts[part] = Part(
            numeric=numeric[start:end].astype(np.float32),
            codes=codes[start:end].astype(np.int32),
            targets={
                task: kind_of(info).encode(labels.iloc[start:end]) for task, info in tasks.items()
            },
            ids=np.arange(start, end).astype("S"),
        )
    report = PrepareReport(sizes, {}, 0, (), {})
    return Prepared(parts, Encoder((), ()), tuple(tasks.values()), "data", "prepared", report)


def study(specs: dict[str, TaskSpec] = SPECS, seed: int = 0) -> Prepared:
    """A number that matters, one that matters as a square, and a category that matters."""
    random = np.random.default_rng(seed)
    n_rows = sum(SIZES.values())
    numeric, codes = random.normal(size=(n_rows, 3)), random.integers(2, 6, (n_rows, 2))
    signal = numeric[:, 0] + 1.5 * (numeric[:, 1] ** 2 - 1) + 1.5 * (codes[:, 0] == 3)
    noisy = signal + 0.3 * random.normal(size=n_rows)
    labels = pd.DataFrame(
        {
            "sick": (noisy > 0.5).astype(float),
            "stage": np.digitize(noisy, [-0.5, 0.5, 2]),
            "a": (noisy > 1).astype(float),
            "b": (numeric[:, 2] > 0).astype(float),
            "age": 40 + 9 * noisy,
        }
    )
    labels = labels.mask(random.random(labels.shape) < 0.1)
    codes[-5:, 1] = 0  # unseen in train
    return prepared_of(specs, labels, numeric, codes, SIZES)


def scores(prepared: Prepared, result: BaselineResult, part: str = "test") -> Evaluation:
    kinds = [kind_of(info) for info in prepared.tasks]
    return evaluate_one(kinds, result.outputs[part], prepared.parts[part].targets, part)


Fit = Callable[[Prepared], BaselineResult]


@pytest.fixture(scope="module")
def results() -> dict[str, BaselineResult]:
    prepared = study()
    fits: list[Fit] = [fit_constant, fit_linear, fit_boosting]
    return {result.row: result for result in (fit(prepared) for fit in fits)}


@pytest.mark.parametrize("row", ["constant", "linear", "boosting"])
def test_outputs_are_those_of_heads(results: dict[str, BaselineResult], row: str) -> None:
    prepared, result = study(), results[row]
    for part in ("valid", "test"):
        for info in prepared.tasks:
            outputs = result.outputs[part][info.name]
            assert outputs.shape == (SIZES[part], kind_of(info).width)
            assert np.isfinite(outputs).all()
    assert 1 <= result.n_settings <= 10
    assert result.settings.keys() == SPECS.keys()


def test_rows_are_ordered_as_the_data_was_made(results: dict[str, BaselineResult]) -> None:
    prepared = study()
    constant, linear, boosting = (scores(prepared, results[row]) for row in results)
    for task in SPECS:
        assert linear.scores[task] > constant.scores[task] + 0.1
    for task in ("sick", "stage", "two", "age"):  # a square and a threshold are no lines
        assert boosting.scores[task] > linear.scores[task] + 0.03
    assert constant.scores["sick"] == 0.5
    assert abs(constant.scores["age"]) < 0.05


def test_a_multiclass_task_of_two_classes_is_the_binary_one(
    results: dict[str, BaselineResult],
) -> None:
    prepared = study()
    for row in ("linear", "boosting"):
        outputs = results[row].outputs["test"]
        if results[row].settings["sick"] == results[row].settings["two"]:
            positive = 1 if prepared.tasks[0].classes == prepared.tasks[2].classes else 0
            logits = outputs["two"][:, positive] - outputs["two"][:, 1 - positive]
            np.testing.assert_allclose(logits, outputs["sick"][:, 0], rtol=1e-3, atol=1e-2)


def test_linear_rows_are_those_of_plain_scikit_learn() -> None:
    prepared = study({task: SPECS[task] for task in ("stage", "age")})
    train, test = prepared.parts["train"], prepared.parts["test"]

    def matrix(part: Part) -> NDArray[Any]:
        hot = [part.codes[:, [column]] == np.arange(2, 6) for column in range(2)]
        return np.hstack([part.numeric, *hot])

    result = fit_linear(prepared)
    rows = ~np.isnan(train.targets["stage"])
    model = LogisticRegression(C=result.settings["stage"]["C"], max_iter=2000, tol=1e-8)
    model.fit(matrix(train)[rows], train.targets["stage"][rows])
    found = kind_of(prepared.tasks[0]).decode(result.outputs["test"]["stage"]).probabilities
    np.testing.assert_allclose(found, model.predict_proba(matrix(test)), atol=0.01)

    rows = ~np.isnan(train.targets["age"])
    ridge = Ridge(alpha=result.settings["age"]["alpha"])
    ridge.fit(matrix(train)[rows], train.targets["age"][rows])
    found = kind_of(prepared.tasks[1]).decode(result.outputs["test"]["age"]).values
    np.testing.assert_allclose(found, ridge.predict(matrix(test)), atol=0.01)


@pytest.mark.parametrize("fit", [fit_linear, fit_boosting])
def test_valid_chooses_and_test_labels_change_nothing(fit: Fit) -> None:
    specs = {"sick": SPECS["sick"], "age": SPECS["age"]}
    prepared = study(specs)
    first = fit(prepared)
    test = prepared.parts["test"]
    for target in test.targets.values():
        target[:] = np.nan  # whatever test says, and if it says nothing
    again = fit(prepared)
    assert first.settings == again.settings
    for task in specs:
        np.testing.assert_array_equal(first.outputs["test"][task], again.outputs["test"][task])


@pytest.mark.parametrize("fit", [fit_linear, fit_boosting])
def test_the_chosen_setting_is_the_best_on_valid(fit: Fit, monkeypatch: pytest.MonkeyPatch) -> None:
    prepared = study({"age": SPECS["age"]})
    seen: list[float] = []
    valid_score = baselines._valid_score

    def recorded(*args: Any) -> float:
        seen.append(valid_score(*args))
        return seen[-1]

    monkeypatch.setattr(baselines, "_valid_score", recorded)
    result = fit(prepared)
    assert len(seen) == result.n_settings
    assert scores(prepared, result, "valid").mean == max(seen)


def test_class_weights_reach_the_baselines() -> None:
    plain = study({"sick": SPECS["sick"], "signs": SPECS["signs"]})
    heavy = study(
        {
            "sick": TaskSpec("binary", "sick", class_weights={1: 20.0}),
            "signs": TaskSpec("multilabel", ["a", "b"], class_weights={"a": 20.0}),
        }
    )
    column = plain.tasks[0].classes.index("1")

    def shares(prepared: Prepared, result: BaselineResult) -> tuple[float, ...]:
        """Mean probability of being sick, of `a` and of `b`."""
        outputs = result.outputs["test"]
        sick, signs = (kind_of(info).decode(outputs[info.name]) for info in prepared.tasks)
        assert sick.probabilities is not None
        assert signs.probabilities is not None
        return (sick.probabilities[:, column].mean(), *signs.probabilities.mean(axis=0))

    for fit in (fit_linear, fit_boosting):
        light, weighty = shares(plain, fit(plain)), shares(heavy, fit(heavy))
        assert weighty[0] > light[0] + 0.02
        assert weighty[1] > light[1] + 0.02
        assert weighty[2] == pytest.approx(light[2], abs=0.03)


def test_columns_of_many_categories_are_taken() -> None:
    random = np.random.default_rng(0)
    n_rows = sum(SIZES.values())
    codes = np.column_stack([random.integers(2, 900, n_rows), random.integers(2, 4, n_rows)])
    labels = pd.DataFrame({"sick": (codes[:, 1] + (random.random(n_rows) < 0.1)) % 2})
    numeric = np.zeros((n_rows, 0))
    prepared = prepared_of({"sick": SPECS["sick"]}, labels, numeric, codes, SIZES)
    for fit in (fit_linear, fit_boosting):
        assert scores(prepared, fit(prepared)).scores["sick"] > 0.8


def test_a_table_without_categories_is_taken() -> None:
    prepared = study({"age": SPECS["age"]})
    parts = {
        name: Part(part.numeric, part.codes[:, :0], part.targets, part.ids)
        for name, part in prepared.parts.items()
    }
    bare = Prepared(parts, prepared.encoder, prepared.tasks, "", "", prepared.report)
    constant = scores(bare, fit_constant(bare)).mean
    for fit in (fit_linear, fit_boosting):
        assert scores(bare, fit(bare)).mean > constant


def test_thresholds_are_tuned_before_settings_are_chosen() -> None:
    spec = TaskSpec("multilabel", ["a", "b"], threshold="tuned")
    prepared = study({"signs": spec})
    info: TaskInfo = prepared.tasks[0]
    result = fit_linear(prepared)
    valid = prepared.parts["valid"]
    chosen = kind_of(kind_of(info).tune(result.outputs["valid"]["signs"], valid.targets["signs"]))
    tuned = evaluate_one([chosen], result.outputs["valid"], valid.targets, "valid").mean
    assert tuned >= scores(prepared, result, "valid").mean


def test_weighted_boosting_of_many_columns_is_quick() -> None:
    random = np.random.default_rng(0)
    numeric = random.normal(size=(sum(SIZES.values()), 60))
    labels = pd.DataFrame(numeric[:, :2] > 0, columns=["a", "b"])
    specs = {"signs": TaskSpec("multilabel", ["a", "b"], class_weights="balanced")}
    prepared = prepared_of(specs, labels, numeric, np.zeros((len(numeric), 0)), SIZES)
    start = time.process_time()
    assert scores(prepared, fit_boosting(prepared)).mean > 0.9
    assert time.process_time() - start < 10  # 15 where scikit-learn bins under weights


@pytest.mark.parametrize("n_distinct", [2, 200, 5000])
def test_bins_part_the_rows_evenly(n_distinct: int) -> None:
    column = np.random.default_rng(0).permutation(np.arange(10_000) % n_distinct).astype(float)
    bins = np.searchsorted(bin_edges(column), column)
    counts = np.bincount(bins)
    assert len(counts) == min(n_distinct, 255)
    assert counts.max() <= 2 * counts.min()
    assert (np.diff(bins[np.argsort(column)]) >= 0).all()


def test_a_rare_large_value_keeps_a_bin_of_its_own() -> None:
    column = np.concatenate([np.zeros(10_000), np.arange(1.0, 100.0)])
    assert len(bin_edges(column)) == 99
