"""The bootstrap: draws equal repeated rows, pairs share draws, groups stay whole."""

import time
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.errors import DataError
from pipeline.evaluation import bootstrap
from pipeline.evaluation.bootstrap import (
    bootstrap_means,
    bootstrap_models,
    interval,
    n_units,
)
from pipeline.evaluation.evaluate import evaluate_one
from pipeline.study import catalogue
from pipeline.study.task_spec import TaskSpec
from pipeline.tasks.base import Kind
from pipeline.tasks.registry import kind_of

SPECS = {
    "sick": TaskSpec("binary", "sick"),
    "risk": TaskSpec("binary", "sick", metric="average_precision"),
    "stage": TaskSpec("multiclass", "stage"),
    "area": TaskSpec("multiclass", "stage", metric="roc_auc"),
    "signs": TaskSpec("multilabel", ["a", "b"]),
    "sure": TaskSpec("multilabel", ["a", "b"], metric="log_loss"),
    "age": TaskSpec("regression", "age"),
    "error": TaskSpec("regression", "age", metric="rmse"),
}

Arrays = dict[str, NDArray[Any]]


def study(n_rows: int, seed: int, missing: float = 0.2) -> tuple[list[Kind], Arrays, Arrays]:
    """Tasks, head outputs with ties, and targets."""
    random = np.random.default_rng(seed)
    table = pd.DataFrame(
        {
            "sick": random.integers(0, 2, n_rows),
            "stage": random.integers(0, 4, n_rows),
            "a": random.integers(0, 2, n_rows),
            "b": random.integers(0, 2, n_rows),
            "age": random.normal(size=n_rows),
        }
    )
    kinds = [
        kind_of(catalogue.load("kind", spec.kind).fit(task, task, spec, table))
        for task, spec in SPECS.items()
    ]
    table = table.mask(random.random(table.shape) < missing)
    targets = {kind.info.name: kind.encode(table) for kind in kinds}
    outputs: Arrays = {
        kind.info.name: random.normal(size=(n_rows, kind.width)).round(1) for kind in kinds
    }
    return kinds, outputs, targets


def counts_of_draws(
    n_rows: int, groups: NDArray[np.int64] | None, n_draws: int, seed: int
) -> NDArray[Any]:
    return np.concatenate(list(bootstrap.row_counts(n_rows, groups, n_draws, seed)))


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_a_draw_scores_as_its_rows_repeated(seed: int) -> None:
    kinds, outputs, targets = study(40, seed % 1000)
    samples = bootstrap_means(kinds, outputs, targets, n_draws=5, seed=seed)
    assert samples.shape == (5, len(kinds))
    for draw, counts in enumerate(counts_of_draws(40, None, 5, seed)):
        rows = np.repeat(np.arange(40), counts.astype(int))
        drawn = evaluate_one(
            kinds,
            {task: array[rows] for task, array in outputs.items()},
            {task: array[rows] for task, array in targets.items()},
            "test",
        )
        np.testing.assert_allclose(samples[draw], list(drawn.scores.values()), rtol=1e-9)


def test_draws_depend_on_the_seed_alone_and_not_on_their_number() -> None:
    kinds, outputs, targets = study(30, 1)
    many = bootstrap_means(kinds, outputs, targets, n_draws=70, seed=3)
    few = bootstrap_means(kinds, outputs, targets, n_draws=40, seed=3)
    np.testing.assert_array_equal(many[:40], few)
    assert not np.array_equal(few, bootstrap_means(kinds, outputs, targets, n_draws=40, seed=4))


def test_every_draw_has_as_many_rows_as_the_part() -> None:
    counts = counts_of_draws(30, None, 40, 0)
    assert counts.shape == (40, 30)
    assert (counts.sum(axis=1) == 30).all()
    assert abs(counts.mean() - 1) < 1e-12
    assert abs(counts.var() - 1) < 0.2  # as Poisson draws of rate 1


def test_groups_are_drawn_whole() -> None:
    groups = np.array([7, 7, 7, -1, -1, 3], dtype=np.int64)
    counts = counts_of_draws(6, groups, 50, 0)
    for group in (7, -1, 3):
        assert (np.ptp(counts[:, groups == group], axis=1) == 0).all()
    firsts = counts[:, [0, 3, 5]]
    assert (firsts.sum(axis=1) == 3).all()
    assert len(np.unique(counts.sum(axis=1))) > 1


def test_a_draw_without_a_labelled_row_does_not_count() -> None:
    kinds, outputs, targets = study(12, 2, missing=0.0)
    targets["error"][1:] = np.nan
    samples = bootstrap_means(kinds, outputs, targets, n_draws=200)[:, list(SPECS).index("error")]
    assert 0.2 < np.isnan(samples).mean() < 0.5  # (1 - 1/12) ** 12 = 0.35
    low, high = interval(samples)
    assert low == high == samples[~np.isnan(samples)][0]
    assert all(np.isnan(interval(np.full(3, np.nan))))


def test_a_task_without_a_labelled_row_is_named() -> None:
    kinds, outputs, targets = study(12, 2)
    targets["age"][:] = np.nan
    with pytest.raises(DataError, match="`age` must have a labelled row"):
        bootstrap_means(kinds, outputs, targets)


def test_the_interval_of_a_mean_is_that_of_theory() -> None:
    random = np.random.default_rng(0)
    table = pd.DataFrame({"age": random.normal(size=2000)})
    spec = TaskSpec("regression", "age", metric="mae")
    kind = kind_of(catalogue.load("kind", "regression").fit("age", "age", spec, table))
    target = kind.encode(table)
    outputs = np.zeros((2000, 1))
    low, high = interval(bootstrap_means([kind], {"age": outputs}, {"age": target})[:, 0])
    errors = np.abs(target - target.mean())
    half = 1.96 * errors.std() / np.sqrt(2000)
    assert (high - low) / 2 == pytest.approx(half, rel=0.1)
    assert (high + low) / 2 == pytest.approx(-errors.mean(), abs=0.2 * half)


def test_models_share_draws_and_may_answer_some_tasks_only() -> None:
    kinds, outputs, targets = study(60, 5)
    nudged = {task: array + 0.3 for task, array in outputs.items()}
    some = [kinds[2], kinds[0]]
    first, second = bootstrap_models([(kinds, outputs), (some, nudged)], targets, n_draws=70)
    np.testing.assert_array_equal(first, bootstrap_means(kinds, outputs, targets, n_draws=70))
    np.testing.assert_array_equal(second, bootstrap_means(some, nudged, targets, n_draws=70))


def test_what_is_drawn_is_counted_with_its_labels() -> None:
    kinds, _, targets = study(30, 1)
    kind = kinds[0]
    rows = np.flatnonzero(~np.isnan(targets[kind.info.name]))
    assert n_units(kind, targets) == len(rows) < 30
    groups = np.arange(30) // 7
    assert n_units(kind, targets, groups) == len({row // 7 for row in rows.tolist()})


def test_a_thousand_draws_of_a_large_table_take_seconds() -> None:
    n_rows = 16_000
    kinds, outputs, targets = study(n_rows, 0, missing=0.0)
    chosen = [kinds[list(SPECS).index(task)] for task in ("sick", "stage", "age")]
    start = time.process_time()
    bootstrap_means(chosen, outputs, targets, n_draws=250)
    assert time.process_time() - start < 3
