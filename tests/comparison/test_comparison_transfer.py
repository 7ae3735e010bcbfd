"""What tasks gain from each other: measured on simulated scores, and shrunk."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr
from transfer_cases import scores, symmetric

from pipeline.comparison import transfer as transfers
from pipeline.comparison.transfer import measure_transfer, rank_correlation, shrink


def test_transfer_is_the_mean_difference_with_its_spread_over_seeds() -> None:
    together, alone = scores(symmetric(3, 0), 0.02, 3, seed=1)
    found = measure_transfer(together, alone)
    for i in range(3):
        for j in range(3):
            if i == j:
                assert np.isnan(found.mean[i, j])
                continue
            gains = [together[s, i, j] - alone[s, i] for s in range(3)]
            assert found.mean[i, j] == pytest.approx(np.mean(gains))
            assert found.spread[i, j] == pytest.approx(np.std(gains, ddof=1))


def test_errors_and_their_common_part_are_those_that_were_simulated() -> None:
    """Task alone and pair have the same noise, so half of a difference's variance is common."""
    together, alone = scores(np.zeros((8, 8)), 0.02, 400, seed=2)
    found = measure_transfer(together, alone)
    expected = 0.02 * np.sqrt(2 / 400)
    assert found.error[0, 1] == pytest.approx(expected, rel=0.1)
    assert found.common == pytest.approx(0.5, abs=0.05)


def test_shrinking_moves_values_towards_the_common_mean_and_keeps_their_order() -> None:
    label = np.array([0, 0, 0, 1, 1])
    transfer = measure_transfer(
        *scores(np.where(label[:, None] == label, 0.06, -0.04), 0.02, 3, seed=3)
    )
    found = shrink(transfer)
    raw = (transfer.mean + transfer.mean.T) / 2
    pairs = np.triu_indices(5, 1)
    assert found.spread > 0
    assert np.all(
        np.abs(found.value[pairs] - found.mean) <= np.abs(raw[pairs] - found.mean) + 1e-12
    )
    np.testing.assert_array_equal(found.value, found.value.T)


def test_how_many_are_drawn_at_once_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    transfer = measure_transfer(*scores(np.full((5, 5), 0.03), 0.01, 3, seed=4))
    together = shrink(transfer)
    monkeypatch.setattr(transfers, "_NUMBERS", 1)
    one_by_one = shrink(transfer)
    assert together.mean == one_by_one.mean > 0
    np.testing.assert_array_equal(together.value, one_by_one.value)


def test_rank_correlation_is_scipys_over_known_pairs() -> None:
    draw = np.random.default_rng(0)
    transfer, estimate = draw.normal(size=(2, 5, 5))
    estimate[2, 3] = np.nan
    known = ~np.eye(5, dtype=bool) & np.isfinite(estimate)
    expected = spearmanr(transfer[known], estimate[known]).statistic
    assert rank_correlation(transfer, estimate) == pytest.approx(expected)
    assert rank_correlation(transfer, np.full((5, 5), np.nan)) is None
    assert rank_correlation(transfer, np.ones((5, 5))) is None
