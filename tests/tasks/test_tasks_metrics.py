"""Every formula against scikit-learn, members stacked, under ties, absent classes and weights."""

import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn import metrics as sk
from sklearn.exceptions import UndefinedMetricWarning

from pipeline.tasks import metrics, ranking
from pipeline.tasks.base import Decoded

Array = NDArray[Any]

quick = settings(max_examples=40, deadline=None)  # shared machines are slow at times
seeds = st.integers(0, 2**32 - 1)
sizes = st.integers(1, 30)


def reference(function: Callable[..., float], *args: Any, **options: Any) -> float:
    """scikit-learn's value, without its warnings about undefined cases."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UndefinedMetricWarning)
        warnings.simplefilter("ignore", UserWarning)
        return float(function(*args, **options))


def tied(random: np.random.Generator, *shape: int) -> Array:
    """Probabilities on a coarse grid, so that many are equal."""
    return random.integers(0, 6, shape) / 6 + 1 / 12


def row_weights(random: np.random.Generator, n_rows: int) -> Array | None:
    """None, or three draws."""
    if random.random() < 0.5:
        return None
    return random.integers(1, 4, (3, n_rows)) / 2


def agree(
    function: Any, target: Array, predicted: Array, weight: Array | None, second: Any
) -> None:
    """Compares one formula with `second(target, predicted of one member, weight of one draw)`."""
    if weight is None:
        expected = [second(target, member, None) for member in predicted]
    else:
        predicted = predicted[:1]
        expected = [second(target, predicted[0], draw) for draw in weight]
    np.testing.assert_allclose(function(target, predicted, weight), expected, rtol=1e-9, atol=1e-12)


@quick
@given(seeds, sizes)
def test_binary_rankings_agree_with_scikit_learn(seed: int, n_rows: int) -> None:
    random = np.random.default_rng(seed)
    target = random.integers(0, 2, n_rows).astype(np.float32)
    scores, weight = tied(random, 3, n_rows), row_weights(random, n_rows)

    def auc(truth: Array, member: Array, draw: Array | None) -> float:
        if len(set(truth)) == 1:
            return 0.5
        return float(sk.roc_auc_score(truth, member, sample_weight=draw))

    def precision(truth: Array, member: Array, draw: Array | None) -> float:
        return reference(sk.average_precision_score, truth, member, sample_weight=draw)

    agree(ranking.roc_auc, target, scores, weight, auc)
    agree(ranking.average_precision, target, scores, weight, precision)


@quick
@given(seeds, sizes)
def test_binary_answers_agree_with_scikit_learn(seed: int, n_rows: int) -> None:
    random = np.random.default_rng(seed)
    target = random.integers(0, 2, n_rows).astype(np.float32)
    answers, weight = random.integers(0, 2, (3, n_rows)), row_weights(random, n_rows)

    def f1(truth: Array, member: Array, draw: Array | None) -> float:
        return reference(sk.f1_score, truth, member, sample_weight=draw, zero_division=0)

    def accuracy(truth: Array, member: Array, draw: Array | None) -> float:
        return reference(sk.accuracy_score, truth, member, sample_weight=draw)

    agree(metrics.binary_f1, target, answers, weight, f1)
    agree(metrics.accuracy, target, answers, weight, accuracy)


@quick
@given(seeds, sizes, st.integers(2, 6))
def test_class_metrics_agree_with_scikit_learn(seed: int, n_rows: int, n_classes: int) -> None:
    random = np.random.default_rng(seed)
    target = random.integers(0, n_classes, n_rows).astype(np.float32)
    answers, weight = random.integers(0, n_classes, (3, n_rows)), row_weights(random, n_rows)
    predicted = tied(random, 3, n_rows, n_classes)
    predicted /= predicted.sum(axis=2, keepdims=True)
    classes = list(range(n_classes))

    def macro_f1(truth: Array, member: Array, draw: Array | None) -> float:
        return reference(
            sk.f1_score, truth, member, average="macro", sample_weight=draw, zero_division=0
        )

    def loss(truth: Array, member: Array, draw: Array | None) -> float:
        return reference(sk.log_loss, truth, member, sample_weight=draw, labels=classes)

    def auc(truth: Array, member: Array, draw: Array | None) -> float:
        areas = [
            sk.roc_auc_score(truth == c, member[:, c], sample_weight=draw)
            for c in classes
            if 0 < (truth == c).sum() < len(truth)
        ]
        return float(np.mean(areas)) if areas else 0.5

    agree(metrics.macro_f1, target, answers, weight, macro_f1)
    agree(metrics.log_loss, target, predicted, weight, loss)
    agree(ranking.roc_auc_of_classes, target, predicted, weight, auc)


def test_roc_auc_of_classes_is_one_versus_rest() -> None:
    random = np.random.default_rng(0)
    target, predicted = random.integers(0, 4, 60), random.dirichlet(np.ones(4), (1, 60))
    expected = sk.roc_auc_score(target, predicted[0], multi_class="ovr", average="macro")
    np.testing.assert_allclose(ranking.roc_auc_of_classes(target, predicted), [expected])


def test_micro_f1_of_classes_is_accuracy() -> None:
    random = np.random.default_rng(0)
    target, answers = random.integers(0, 4, 50), random.integers(0, 4, (2, 50))
    expected = [sk.f1_score(target, member, average="micro") for member in answers]
    np.testing.assert_allclose(metrics.accuracy(target, answers), expected)


@quick
@given(seeds, sizes, st.integers(2, 5))
def test_label_metrics_agree_with_scikit_learn(seed: int, n_rows: int, n_labels: int) -> None:
    random = np.random.default_rng(seed)
    target = random.integers(0, 2, (n_rows, n_labels)).astype(np.float32)
    answers, weight = random.integers(0, 2, (3, n_rows, n_labels)), row_weights(random, n_rows)
    predicted = tied(random, 3, n_rows, n_labels)

    def f1(average: str) -> Any:
        def second(truth: Array, member: Array, draw: Array | None) -> float:
            return reference(
                sk.f1_score, truth, member, average=average, sample_weight=draw, zero_division=0
            )

        return second

    def accuracy(truth: Array, member: Array, draw: Array | None) -> float:
        right = (truth == member).all(axis=1)
        return float(np.average(right, weights=draw))

    def areas(function: Any, undefined: float, needs_both: bool) -> Any:
        def second(truth: Array, member: Array, draw: Array | None) -> float:
            found = [
                function(truth[:, i], member[:, i], sample_weight=draw)
                for i in range(n_labels)
                if truth[:, i].any() and not (needs_both and truth[:, i].all())
            ]
            return float(np.mean(found)) if found else undefined

        return second

    def loss(truth: Array, member: Array, draw: Array | None) -> float:
        losses = [
            sk.log_loss(truth[:, i], member[:, i], sample_weight=draw, labels=[0, 1])
            for i in range(n_labels)
        ]
        return float(np.mean(losses))

    agree(metrics.macro_f1_of_labels, target, answers, weight, f1("macro"))
    agree(metrics.micro_f1_of_labels, target, answers, weight, f1("micro"))
    agree(metrics.accuracy, target, answers, weight, accuracy)
    agree(ranking.roc_auc_of_labels, target, predicted, weight, areas(sk.roc_auc_score, 0.5, True))
    agree(
        ranking.average_precision_of_labels,
        target,
        predicted,
        weight,
        areas(sk.average_precision_score, 0.0, False),
    )
    agree(metrics.log_loss_of_labels, target, predicted, weight, loss)


@quick
@given(seeds, st.integers(2, 30), st.sampled_from([0.0, 1e4]))
def test_regression_metrics_agree_with_scikit_learn(seed: int, n_rows: int, offset: float) -> None:
    random = np.random.default_rng(seed)
    target = (offset + random.normal(size=n_rows)).astype(np.float32)
    answers, weight = offset + random.normal(size=(3, n_rows)), row_weights(random, n_rows)
    truth = target.astype(np.float64)

    def second(function: Any) -> Any:
        return lambda _, member, draw: reference(function, truth, member, sample_weight=draw)

    np.testing.assert_allclose(
        metrics.r2(target, answers), [sk.r2_score(truth, member) for member in answers], rtol=1e-6
    )
    agree(metrics.rmse, target, answers, weight, second(sk.root_mean_squared_error))
    agree(metrics.mae, target, answers, weight, second(sk.mean_absolute_error))


@quick
@given(seeds, st.integers(3, 30))
def test_r2_of_weighted_rows_is_r2_of_repeated_rows(seed: int, n_rows: int) -> None:
    random = np.random.default_rng(seed)
    target, answers = random.normal(size=n_rows), random.normal(size=(1, n_rows))
    weight = random.integers(1, 4, (2, n_rows)).astype(np.float64)
    expected = [
        sk.r2_score(np.repeat(target, draw.astype(int)), np.repeat(answers[0], draw.astype(int)))
        for draw in weight
    ]
    np.testing.assert_allclose(metrics.r2(target, answers, weight), expected, rtol=1e-9)


@pytest.mark.parametrize("level", [0.0, 0.1, 3.3e7])
def test_r2_of_a_constant_target_is_defined(level: float) -> None:
    target = np.full(5, level, dtype=np.float32)
    exact = target.astype(np.float64)
    np.testing.assert_array_equal(metrics.r2(target, np.stack([exact, exact + 1])), [1.0, 0.0])
    draws = np.array([[1.0, 0.0, 0.0], [2.0, 1.0, 0.0]])  # the first draws one row only
    found = metrics.r2(np.array([level, 1.0, 2.0]), np.zeros((1, 3)), draws)
    assert found[0] == (1.0 if level == 0 else 0.0)
    assert math.isfinite(found[1])


def test_a_draw_of_no_rows_is_nan_in_a_mean() -> None:
    nothing = np.zeros((1, 2))
    assert math.isnan(metrics.accuracy(np.zeros(2), np.zeros((1, 2)), nothing)[0])


def test_undefined_rankings_have_their_documented_values() -> None:
    ones, scores = np.ones(4), np.linspace(0, 1, 4)[None]
    assert ranking.roc_auc(ones, scores)[0] == 0.5
    assert ranking.average_precision(1 - ones, scores)[0] == 0.0
    predicted = np.stack([scores, 1 - scores], axis=2)
    assert ranking.roc_auc_of_classes(ones, predicted)[0] == 0.5
    assert ranking.roc_auc_of_labels(np.ones((4, 2)), predicted)[0] == 0.5


@quick
@given(seeds)
def test_a_ranking_ignores_any_increasing_change_of_scores(seed: int) -> None:
    random = np.random.default_rng(seed)
    target, scores = random.integers(0, 2, 20), tied(random, 2, 20)
    np.testing.assert_array_equal(
        ranking.roc_auc(target, scores), ranking.roc_auc(target, np.log(scores))
    )


def test_a_metric_reads_and_orients() -> None:
    decoded = Decoded(np.array([[1.0, 2.0]]))
    error = metrics.Metric("mae", metrics.mae, metrics.values, False, False)
    value = error(np.array([1.0, 4.0]), decoded)
    assert value[0] == 1.0
    assert error.score(value)[0] == -1.0
