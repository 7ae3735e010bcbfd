"""Verdicts: differences under two kinds of luck, against simulation and theory."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import t as student
from scipy.stats import ttest_ind

from pipeline.evaluation.verdicts import (
    Difference,
    Judged,
    Scores,
    beats,
    difference,
    holm,
    mean_bounds,
    mean_scores,
    verdict,
)

N_DRAWS = 300


def scores(rows: NDArray[np.float64], counts: NDArray[np.float64]) -> Scores:
    """Scores whose metric is the mean of (S, N) row values, under (D, N) row counts."""
    return Scores(rows.mean(1), rows @ counts.T / rows.shape[1], rows.shape[1])


def drawn(random: np.random.Generator, n_rows: int) -> NDArray[np.float64]:
    return random.multinomial(n_rows, np.full(n_rows, 1 / n_rows), size=N_DRAWS).astype(float)


def arms(
    random: np.random.Generator,
    n_rows: int,
    n_seeds: int,
    row: float,
    seed: float,
    both: float,
    counts: NDArray[np.float64] | None = None,
) -> tuple[Scores, Scores]:
    """Two rows of no true difference: luck of rows, of seeds, and of seeds on rows."""
    counts = drawn(random, n_rows) if counts is None else counts
    common = random.normal(size=n_rows)
    apart = row * random.normal(size=n_rows)
    found = [
        scores(
            common
            + (apart if index else 0)
            + seed * random.normal(size=(n_seeds, 1))
            + both * random.normal(size=(n_seeds, n_rows)),
            counts,
        )
        for index in range(2)
    ]
    return found[0], found[1]


@pytest.mark.parametrize(
    ("row", "seed", "both"),
    [(1.0, 0.0, 0.0), (0.0, 0.1, 0.0), (0.0, 0.0, 1.0), (0.5, 0.05, 0.5), (0.1, 0.1, 1.0)],
)
def test_no_difference_is_found_where_there_is_none(row: float, seed: float, both: float) -> None:
    """At most the promised share of false alarms, with few seeds and whatever the luck is."""
    random = np.random.default_rng(1)
    for n_rows, n_seeds in ((40, 5), (150, 3)):
        counts = drawn(random, n_rows)
        pairs = [arms(random, n_rows, n_seeds, row, seed, both, counts) for _ in range(400)]
        p = np.array([difference(*pair).p for pair in pairs])
        for alpha in (0.05, 0.01):
            # Three standard deviations of a count of false alarms above the promise.
            most = alpha + 3 * np.sqrt(alpha * (1 - alpha) / len(p))
            assert (p < alpha).mean() <= most, (n_rows, n_seeds, alpha)


def test_the_error_is_that_of_theory() -> None:
    """Rows, seeds and their interaction are each counted once."""
    random = np.random.default_rng(2)
    n_rows, n_seeds, row, seed, both = 100, 5, 0.4, 0.05, 0.6
    counts = drawn(random, n_rows)
    found = [
        difference(*arms(random, n_rows, n_seeds, row, seed, both, counts)) for _ in range(300)
    ]
    variance = row**2 / n_rows + 2 * (seed**2 + both**2 / n_rows) / n_seeds
    assert np.mean([one.error**2 for one in found]) == pytest.approx(variance, rel=0.12)
    assert np.var([one.estimate for one in found]) == pytest.approx(variance, rel=0.25)


def test_with_seeds_alone_it_is_the_t_test_of_welch() -> None:
    random = np.random.default_rng(3)
    values = [random.normal(size=5), 1 + 3 * random.normal(size=5)]
    # Every draw of rows gives what all rows give: there is no luck in them.
    sides = [Scores(found, np.tile(found[:, None], N_DRAWS), 10**9) for found in values]
    found, expected = difference(*sides), ttest_ind(*values, equal_var=False)
    assert found.p == pytest.approx(expected.pvalue)
    assert found.freedom == pytest.approx(expected.df)
    assert found.bounds() == pytest.approx(tuple(expected.confidence_interval(0.95)))


def test_with_one_seed_it_is_the_bootstrap_of_rows() -> None:
    random = np.random.default_rng(4)
    counts = drawn(random, 200)
    one, other = (scores(random.normal(size=(1, 200)), counts) for _ in range(2))
    found = difference(one, other)
    spread = (one.samples - other.samples).std()
    assert found.error == pytest.approx(spread * np.sqrt(200 / 199))
    assert found.freedom == pytest.approx(199)


def test_seeds_that_spread_little_by_chance_do_not_count_for_more() -> None:
    random = np.random.default_rng(10)
    one, other = arms(random, 100, 3, 1.0, 0.0, 0.0)
    assert difference(one, other).freedom == 4  # of both rows' seeds, not of a hundred rows


def test_few_groups_widen_the_bounds() -> None:
    random = np.random.default_rng(5)
    one, other = arms(random, 50, 5, 1.0, 0.0, 0.0)
    few = [Scores(side.values, side.samples, 6) for side in (one, other)]
    many, found = difference(one, other), difference(*few)
    assert found.freedom < 6 < many.freedom
    assert np.ptp(found.bounds()) > 1.1 * np.ptp(many.bounds())


def test_identical_rows_differ_by_nothing() -> None:
    random = np.random.default_rng(6)
    constant = Scores(np.array([0.5]), np.full((1, N_DRAWS), 0.5), 40)
    found = difference(constant, constant)
    assert (found.estimate, found.error, found.p) == (0.0, 0.0, 1.0)
    assert found.bounds() == (0.0, 0.0)
    assert difference(Scores(np.array([0.6]), constant.samples + 0.1, 40), constant).p == 0.0
    assert not beats([constant], constant)
    assert beats([constant, scores(3 + random.normal(size=(4, 40)), drawn(random, 40))], constant)


def test_draws_without_a_label_do_not_count() -> None:
    one, other = arms(np.random.default_rng(7), 60, 3, 1.0, 0.1, 0.5)
    expected = difference(one, other)
    for side in (one, other):
        side.samples[:, :2] = np.nan
    found = difference(one, other)
    assert found.error == pytest.approx(expected.error, rel=0.05)
    assert all(np.isfinite(mean_bounds(one)))


differences = st.lists(
    st.tuples(st.floats(-1, 1), st.floats(0.01, 0.5), st.floats(2, 50)), min_size=1, max_size=8
).map(lambda found: {f"t{i}": Difference(*values) for i, values in enumerate(found)})


@settings(max_examples=200, deadline=None)
@given(differences)
def test_bounds_leave_out_zero_exactly_where_holm_rejects(found: dict[str, Difference]) -> None:
    judged = holm(found)
    assert [*judged] == [*found]
    # Holm (1979) by its definition: reject until p of rank k exceeds alpha / (m - k).
    ranked = sorted(found, key=lambda name: found[name].p)
    rejected = set()
    for rank, name in enumerate(ranked):
        if found[name].p > 0.05 / (len(ranked) - rank):
            break
        rejected.add(name)
    for name, one in judged.items():
        excluded = one.low > 0 or one.high < 0
        assert excluded == (name in rejected)
        assert one.low <= one.difference.estimate <= one.high
        assert one.p >= found[name].p
        assert (one.p <= 0.05) == (name in rejected)
        plain = one.difference.bounds()
        assert one.low <= plain[0] + 1e-12
        assert plain[1] <= one.high + 1e-12


def test_one_difference_is_judged_as_it_is() -> None:
    alone = Difference(0.3, 0.1, 8)
    judged = holm({"size": alone})["size"]
    assert (judged.low, judged.high) == pytest.approx(alone.bounds())
    half = 0.1 * student.ppf(0.975, 8)
    assert alone.bounds() == pytest.approx((0.3 - half, 0.3 + half))


@pytest.mark.parametrize(
    ("low", "high", "beaten", "several", "expected"),
    [
        (0.1, 0.2, True, True, "together"),
        (-0.2, -0.1, True, True, "alone"),
        (-0.1, 0.1, True, True, "unclear"),
        (0.1, 0.2, False, True, "neither"),
        (0.1, 0.2, True, False, "unclear"),
    ],
)
def test_a_verdict_follows_from_bounds_constant_and_seeds(
    low: float, high: float, beaten: bool, several: bool, expected: str
) -> None:
    judged = Judged(Difference((low + high) / 2, 0.1, 5), low, high, 0.01)
    assert verdict(judged, beaten, several) == expected


def test_without_a_pair_nothing_is_clear() -> None:
    assert verdict(None, beats_constant=True, several_seeds=True) == "unclear"


def test_the_interval_of_a_mean_holds_both_kinds_of_luck() -> None:
    random = np.random.default_rng(8)
    held = 0
    for _ in range(300):
        rows = 0.5 * random.normal(size=40) + 0.1 * random.normal(size=(5, 1))
        low, high = mean_bounds(scores(rows, drawn(random, 40)))
        held += low <= 0 <= high
    assert held / 300 >= 0.92
    one = Scores(np.array([0.5]), np.linspace(0, 1, N_DRAWS)[None], 40)
    assert mean_bounds(one) == pytest.approx((0.025, 0.975), abs=1e-6)
    lopsided = Scores(np.array([0.9]), np.linspace(-1, 1, N_DRAWS)[None], 40)
    low, high = mean_bounds(lopsided)
    assert 0.9 - low > 5 * (high - 0.9)
    nothing = Scores(np.array([0.5]), np.full((1, N_DRAWS), np.nan), 3)
    assert np.isnan(mean_bounds(nothing)).all()


def test_the_mean_over_tasks_is_seed_by_seed_and_in_their_units() -> None:
    random = np.random.default_rng(9)
    one, other = (Scores(random.normal(size=n), random.normal(size=(n, 7)), 20) for n in (4, 3))
    found = mean_scores([one, other], [1.0, 0.5])
    np.testing.assert_allclose(found.values, (one.values[:3] + 2 * other.values) / 2)
    np.testing.assert_allclose(found.samples, (one.samples[:3] + 2 * other.samples) / 2)
    np.testing.assert_allclose(mean_scores([one]).samples, one.samples)
