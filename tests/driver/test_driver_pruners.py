from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.pruners._successive_halving import _is_trial_promotable_to_next_rung
from optuna.study import StudyDirection

from pipeline.driver.pruners import Halving, Hyperband, Median, Never, Pruner, Rung
from pipeline.study import catalogue

quick = settings(max_examples=60, deadline=None)  # shared machines are slow at times
RULES = [Median, Hyperband, Halving]
scores = st.integers(-8, 8).map(lambda eighths: eighths / 8)  # few values, so that ties occur


@st.composite
def rungs_of(draw: st.DrawFn, rule: type[Pruner]) -> tuple[Pruner, Rung]:
    """A pruner and a rung of it: all who train have reached it, others may have ended before."""
    n_epochs = draw(st.integers(4, 20))
    pruner = rule(n_epochs, draw(st.integers(0, 99)))
    epoch = draw(st.sampled_from(sorted(pruner.rungs())))
    n_told, n_own, n_ended = (draw(st.integers(*bounds)) for bounds in ((0, 12), (1, 8), (0, 3)))
    lengths = [draw(st.integers(0, n_epochs)) for _ in range(n_told)]
    lengths += [epoch] * n_own + [draw(st.integers(0, epoch - 1)) for _ in range(n_ended)]
    curves = [draw(st.lists(scores, min_size=size, max_size=size)) for size in lengths]
    told = dict(enumerate(curves[:n_told]))
    own = dict(enumerate(curves[n_told:], n_told))
    training = frozenset(number for number, curve in own.items() if len(curve) == epoch)
    return pruner, Rung(epoch, told, own, training)


either = st.sampled_from(RULES).flatmap(rungs_of)


@quick
@given(either, st.randoms())
def test_the_order_in_which_curves_are_listed_decides_nothing(
    case: tuple[Pruner, Rung], random: Random
) -> None:
    pruner, rung = case
    told, own = list(rung.told.items()), list(rung.own.items())
    random.shuffle(told)
    random.shuffle(own)
    again = Rung(rung.epoch, dict(told), dict(own), rung.training)
    assert pruner.decide(again) == pruner.decide(rung)


@quick
@given(either)
def test_the_best_is_never_stopped(case: tuple[Pruner, Rung]) -> None:
    pruner, rung = case
    reached = {
        number: max(curve[: rung.epoch])
        for number, curve in {**rung.told, **rung.own}.items()
        if len(curve) >= rung.epoch
    }
    best = {number for number, score in reached.items() if score == max(reached.values())}
    assert not best & pruner.decide(rung).keys()


@quick
@given(either)
def test_only_members_that_train_are_stopped_and_as_pruned(case: tuple[Pruner, Rung]) -> None:
    pruner, rung = case
    stops = pruner.decide(rung)
    assert stops.keys() <= rung.training
    assert {stop.state for stop in stops.values()} <= {"pruned"}
    assert all(f"epoch {rung.epoch}" in stop.reason for stop in stops.values())


@quick
@given(either)
def test_who_scores_at_least_as_much_as_a_survivor_survives_in_its_bracket(
    case: tuple[Pruner, Rung],
) -> None:
    pruner, rung = case
    stops = pruner.decide(rung)
    place = pruner.bracket if isinstance(pruner, Hyperband) else lambda _: 0
    for lost in stops:
        for won in rung.training - stops.keys():
            if place(lost) == place(won):
                assert max(rung.own[lost]) < max(rung.own[won])


@quick
@given(either)
def test_epochs_after_the_rung_decide_nothing(case: tuple[Pruner, Rung]) -> None:
    pruner, rung = case
    cut = {number: curve[: rung.epoch] for number, curve in rung.told.items()}
    assert pruner.decide(Rung(rung.epoch, cut, rung.own, rung.training)) == pruner.decide(rung)


@quick
@given(rungs_of(Median))
def test_the_median_is_that_of_numpy(case: tuple[Pruner, Rung]) -> None:
    pruner, rung = case
    best = {
        number: max(curve[: rung.epoch])
        for number, curve in {**rung.told, **rung.own}.items()
        if curve
    }
    expected = set()
    if len(best) >= 5:
        middle = np.median(list(best.values()))
        expected = {number for number in rung.training if best[number] < middle}
    assert set(pruner.decide(rung)) == expected


@quick
@given(st.sampled_from([*RULES, Never]), st.integers(1, 300), st.integers(0, 9))
def test_rungs_lie_below_the_last_epoch(rule: type[Pruner], n_epochs: int, seed: int) -> None:
    assert all(1 <= epoch < n_epochs for epoch in rule(n_epochs, seed).rungs())


def test_a_hyperband_member_is_judged_in_its_own_bracket() -> None:
    pruner = Hyperband(n_epochs=27, seed=0)
    by_bracket = {b: [n for n in range(200) if pruner.bracket(n) == b] for b in range(3)}
    here, other = by_bracket[0][:6], by_bracket[1][:6]
    curves = {number: [float(rank)] * 3 for rank, number in enumerate(here)}
    rung = Rung(3, {}, curves, frozenset(here))
    stops = pruner.decide(rung)
    assert set(stops) == set(here[:4])  # the best third of six goes on
    strangers = {number: [99.0] * 3 for number in other}
    assert pruner.decide(Rung(3, strangers, curves, rung.training)) == stops


def test_a_later_bracket_is_spared_at_early_rungs() -> None:
    pruner = Hyperband(n_epochs=27, seed=0)
    late = [n for n in range(300) if pruner.bracket(n) == 2][:9]
    curves = {number: [float(rank)] * 9 for rank, number in enumerate(late)}
    training = frozenset(late)
    assert pruner.decide(Rung(3, {}, {n: c[:3] for n, c in curves.items()}, training)) == {}
    assert set(pruner.decide(Rung(9, {}, curves, training))) == set(late[:6])


@pytest.mark.parametrize("n_epochs", [5, 30, 81])
def test_brackets_share_trials_by_their_first_rung(n_epochs: int) -> None:
    pruner = Hyperband(n_epochs, seed=1)
    shares = np.bincount([pruner.bracket(n) for n in range(3000)]) / 3000
    weights = 3.0 ** np.arange(len(shares), 0, -1)
    assert len(shares) == pruner.n_brackets
    np.testing.assert_allclose(shares, weights / weights.sum(), atol=0.03)


def test_never_stops_nobody() -> None:
    pruner = Never(10, 0)
    assert pruner.decide(Rung(3, {}, {0: [0.0] * 3, 1: [9.0] * 3}, frozenset({0, 1}))) == {}


@pytest.mark.parametrize("name", catalogue.names("pruner"))
def test_every_pruner_of_the_catalogue_is_a_rule(name: str) -> None:
    assert issubclass(catalogue.load("pruner", name), Pruner)


def test_a_rung_does_not_halve_those_that_the_rung_before_spared() -> None:
    pruner = Median(30, seed=0)
    own = {number: [number / 10] for number in range(8)}
    first = pruner.decide(Rung(1, {}, own, frozenset(own)))
    assert set(first) == {0, 1, 2, 3}
    spared = {n: [*curve, n / 10] if n > 3 else curve for n, curve in own.items()}
    assert pruner.decide(Rung(2, {}, spared, frozenset(range(4, 8)))) == {}


@quick
@given(rungs_of(Halving))
def test_halving_lets_go_on_whom_optuna_does(case: tuple[Pruner, Rung]) -> None:
    """One after the other, as they come to the rung; Optuna's rule for the first two is harder."""
    pruner, rung = case
    there = {n: max(curve[: rung.epoch]) for n, curve in rung.told.items()
             if len(curve) >= rung.epoch}  # fmt: skip
    told = dict(rung.told)
    for number in sorted(rung.training):
        score = max(rung.own[number])
        there[number] = score
        own = {number: rung.own[number]}
        stops = pruner.decide(Rung(rung.epoch, told, own, frozenset(own)))
        told |= own
        if len(there) < 3:
            assert stops == {}
            continue
        goes_on = _is_trial_promotable_to_next_rung(
            score, list(there.values()), 3, StudyDirection.MAXIMIZE
        )
        assert (number not in stops) == goes_on
        if stops:
            assert stops[number].reason == (
                f"{score:.4f} is not in the best third of {len(there)} trials at epoch {rung.epoch}"
            )


@pytest.mark.parametrize(
    ("n_epochs", "rungs"),
    [(1, set()), (2, {1}), (9, {1, 3}), (10, {2, 6}), (20, {3, 9}), (27, {3, 9}), (81, {9, 27})],
)
def test_halving_has_its_rungs_at_a_ninth_and_a_third(n_epochs: int, rungs: set[int]) -> None:
    assert Halving(n_epochs, 0).rungs() == rungs
