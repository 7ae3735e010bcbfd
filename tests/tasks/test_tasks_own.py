"""Metrics of the user's own, called as those of the package are."""

import numpy as np
import pytest

from pipeline.tasks import metrics
from pipeline.tasks.base import Decoded
from pipeline.tasks.contract import as_metric
from pipeline.tasks.metrics import Metric

RANDOM = np.random.default_rng(0)
TARGET = RANDOM.normal(size=12)
ANSWERS = RANDOM.normal(size=(3, 12))
COUNTS = RANDOM.multinomial(12, np.full(12, 1 / 12), size=5).astype(float)


def plain(target: np.ndarray, answer: np.ndarray) -> float:
    return float(np.abs(target - answer).mean())


def weighted(target: np.ndarray, answer: np.ndarray, weight: np.ndarray | None) -> float:
    return float(np.average(np.abs(target - answer), weights=weight))


class Called:
    higher_is_better = False

    def __call__(self, target: np.ndarray, answer: np.ndarray) -> float:
        return plain(target, answer)


for function in (plain, weighted):
    function.higher_is_better = False  # type: ignore[attr-defined]


@pytest.mark.parametrize("own", [plain, weighted, Called, Called()])
def test_it_gives_what_the_package_gives_for_members_and_for_draws(own: object) -> None:
    metric = as_metric("my:own", own)
    assert (metric.name, metric.higher_is_better, metric.bounded_by_one) == ("my:own", False, False)
    expected = metrics.mae(TARGET, ANSWERS)
    np.testing.assert_allclose(metric(TARGET, Decoded(ANSWERS)), expected)
    of_one = Decoded(ANSWERS[:1])
    np.testing.assert_allclose(
        metric(TARGET, of_one, COUNTS), metrics.mae(TARGET, ANSWERS[:1], COUNTS)
    )
    np.testing.assert_allclose(metric.score(expected), -expected)


def test_it_may_read_probabilities_and_be_bounded() -> None:
    class Chance:
        higher_is_better = bounded_by_one = True
        reads = "probabilities"

        def __call__(self, target: np.ndarray, chances: np.ndarray) -> float:
            return float(chances[np.arange(len(target)), target.astype(int)].mean())

    chances = RANDOM.dirichlet(np.ones(3), size=(2, 12))
    codes = RANDOM.integers(0, 3, 12).astype(float)
    metric = as_metric("m:c", Chance)
    found = metric(codes, Decoded(chances.argmax(-1), lambda: chances))
    expected = [[own[row, int(code)] for row, code in enumerate(codes)] for own in chances]
    np.testing.assert_allclose(found, np.mean(expected, axis=1))
    assert metric.bounded_by_one


def test_a_metric_of_the_package_stays_but_for_its_name() -> None:
    own = as_metric("m:r2", Metric("r2", metrics.r2, metrics.values))
    assert own.name == "m:r2"
    np.testing.assert_allclose(own(TARGET, Decoded(ANSWERS)), metrics.r2(TARGET, ANSWERS))
