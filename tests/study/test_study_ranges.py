import math
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.study.ranges import Choices, Range, label, parse_range

finite = st.floats(-1e6, 1e6, allow_nan=False)


@st.composite
def intervals(draw: st.DrawFn) -> Range:
    low, width = draw(finite), draw(st.floats(1e-3, 1e6))
    step = draw(st.none() | st.floats(0.01, 1.0).map(lambda share: share * width))
    return Range(low, low + width, step=step)


@given(intervals(), st.integers())
def test_centre_and_samples_lie_on_the_grid_within_the_bounds(found: Range, seed: int) -> None:
    for value in (found.centre(), found.sample(Random(seed)), found.snap(found.high)):
        assert found.low <= value <= found.high
        if found.step is not None:
            steps = (value - found.low) / found.step
            assert abs(steps - round(steps)) * found.step <= 1e-6 * (1 + abs(value))


@given(st.floats(1e-8, 1e3), st.floats(1.01, 1e6), st.integers())
def test_log_centre_is_the_geometric_mean(low: float, ratio: float, seed: int) -> None:
    found = Range(low, low * ratio, log=True)
    assert math.isclose(found.centre() / low, found.high / found.centre(), rel_tol=1e-9)
    assert found.low <= found.sample(Random(seed)) <= found.high


def test_log_samples_are_uniform_in_the_logarithm() -> None:
    found, random = Range(1e-4, 1.0, log=True), Random(0)
    logs = [math.log10(found.sample(random)) for _ in range(4000)]
    for decade in range(-4, 0):
        share = sum(decade <= value < decade + 1 for value in logs) / len(logs)
        assert share == pytest.approx(0.25, abs=0.03)


def test_integers_are_drawn_where_both_bounds_are_integers() -> None:
    found, faults = parse_range("train.epochs", {"low": 2, "high": 5})
    assert not faults
    assert isinstance(found, Range)
    draws = {found.sample(Random(seed)) for seed in range(200)}
    assert draws == {2, 3, 4, 5}
    assert all(type(draw) is int for draw in draws)
    assert parse_range("train.lr", {"low": 2.0, "high": 5})[0] == Range(2.0, 5)


def test_a_grid_that_misses_high_ends_below_it() -> None:
    # Optuna lowers `high` to the last value of the grid and refuses a first trial above it.
    assert Range(0.0, 1.0, step=0.35).snap(1.0) == pytest.approx(0.7)
    assert Range(0.0, 0.3, step=0.1).snap(0.3) == pytest.approx(0.3)


def test_numbers_written_as_yaml_text_are_numbers() -> None:
    assert parse_range("train.lr", {"low": "1e-4", "high": "1e-2", "log": True}) == (
        Range(1e-4, 1e-2, log=True),
        [],
    )


def test_choices_are_found_again_by_their_labels() -> None:
    found = Choices(([64, 64], [32], "none", None, 0.5))
    assert found.labels() == ("[64,64]", "[32]", "none", None, 0.5)
    assert [found.value(name) for name in found.labels()] == list(found.choices)
    assert found.centre() == [64, 64]
    assert {label(found.sample(Random(seed))) for seed in range(100)} == set(found.labels())


@pytest.mark.parametrize(
    ("written", "key", "words"),
    [
        ({"low": 3, "high": 1}, "k.low", ("below `high`", "3 and 1", "Swap")),
        ({"low": 1, "high": 1}, "k.low", ("below `high`", "1 and 1", "one value")),
        ({"low": 0, "high": 1, "log": True}, "k.low", ("above 0", "log")),
        ({"low": 1, "high": 9, "log": True, "step": 2}, "k.step", ("cannot stand beside",)),
        ({"low": 0, "high": 1, "step": 2}, "k.step", ("at most `high` - `low`", "2")),
        ({"low": 0, "high": 1, "step": 0}, "k.step", ("above 0",)),
        ({"low": "a", "high": 1}, "k.low", ("finite number", "'a'")),
        ({"low": True, "high": 2}, "k.low", ("finite number", "True")),
        ({"low": 0, "high": math.inf}, "k.high", ("finite number", "inf")),
        ({"low": 0, "high": 1, "log": "yes"}, "k.log", ("true or false", "'yes'")),
        ({"low": 0}, "k.high", ("is missing",)),
        ({"low": 0, "high": 1, "stepp": 1}, "k.stepp", ("not a key of a range", "low, high, log")),
        ({"choices": []}, "k.choices", ("at least one value", "[]")),
        ({"choices": 3}, "k.choices", ("must be a list", "3")),
        ({"choices": [1, 2, 1]}, "k.choices", ("must not repeat",)),
        ({"choices": [1], "low": 0}, "k.low", ("cannot stand beside `choices`", "0")),
    ],
)
def test_a_bad_range_tells_its_fault(
    written: dict[str, object], key: str, words: tuple[str, ...]
) -> None:
    found, faults = parse_range("k", written)
    assert found is None
    assert [fault.key for fault in faults] == [key]
    assert all(word in str(faults[0]) for word in words), str(faults[0])


def test_each_fault_of_a_range_is_told() -> None:
    _, faults = parse_range("k", {"low": "a", "high": "b", "log": 3, "lag": 1})
    assert sorted(fault.key for fault in faults) == ["k.high", "k.lag", "k.log", "k.low"]
