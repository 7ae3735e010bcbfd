from collections.abc import Iterator

from training_data import make_prepared, member

from pipeline.training.calibration import LEAST_SECONDS, LEAST_STEPS, seconds_per_step


def clock_of(durations: list[float]) -> tuple[Iterator[float], list[float]]:
    """A clock that shows the given seconds between one look and the next."""
    shown: list[float] = []

    def ticks() -> Iterator[float]:
        now = 0.0
        for duration in [0.0, *durations]:
            now += duration
            shown.append(now)
            yield now

    return ticks(), shown


def test_the_quickest_step_counts() -> None:
    ticks, _ = clock_of([0.03, 0.02, 0.05, 0.07])
    prepared = make_prepared({"train": 400, "valid": 10, "test": 10})
    assert abs(seconds_per_step([member(0)], prepared, lambda: next(ticks)) - 0.02) < 1e-12


def test_it_stops_after_a_moment() -> None:
    ticks, shown = clock_of([LEAST_SECONDS / 10] * 1000)
    prepared = make_prepared({"train": 2000, "valid": 10, "test": 10})
    seconds_per_step([member(0)], prepared, lambda: next(ticks))
    assert LEAST_STEPS < len(shown) <= 13


def test_data_of_one_batch_is_gone_through_again() -> None:
    ticks, shown = clock_of([0.03, 0.02, 0.01, 0.04])
    prepared = make_prepared({"train": 30, "valid": 20, "test": 20})
    assert abs(seconds_per_step([member(0)], prepared, lambda: next(ticks)) - 0.01) < 1e-12
    assert len(shown) == 4
