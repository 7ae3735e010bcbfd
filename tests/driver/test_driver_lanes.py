"""Members of several rows in common arrays: each row goes its own way."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from driver_cases import members_of, small_study
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.data.prepared import Prepared
from pipeline.driver.backend import InProcess
from pipeline.driver.lanes import Lane, LanePruner, train_lanes
from pipeline.driver.pruners import Hyperband, Median, Never, Pruner, Rung
from pipeline.driver.rows import baseline_rows
from pipeline.errors import Interrupted
from pipeline.training.members import EpochResult, Member

N_EPOCHS = 12
score = st.integers(-8, 8).map(lambda eighths: eighths / 8)


@settings(max_examples=60, deadline=None)
@given(st.data(), st.sampled_from([Median(N_EPOCHS, 3), Hyperband(N_EPOCHS, 3)]))
def test_a_lane_is_pruned_as_if_it_were_alone(data: st.DataObject, rule: Pruner) -> None:
    epoch = data.draw(st.sampled_from(sorted(rule.rungs())))
    curve = st.lists(score, min_size=epoch, max_size=epoch)
    lanes, rungs, places, own, training = [], [], {}, {}, set()
    for index in range(data.draw(st.integers(1, 3))):
        numbers = data.draw(st.lists(st.integers(0, 40), min_size=1, max_size=8, unique=True))
        told = dict(enumerate(data.draw(st.lists(curve, max_size=6)), 100))
        curves = {number: data.draw(curve) for number in numbers}
        lanes.append(Lane([], told, lambda _: None))
        rungs.append(Rung(epoch, told, curves, frozenset(numbers)))
        for number in numbers:
            key = len(places)
            places[key] = (index, number)
            own[key] = curves[number]
            training.add(key)
    found = LanePruner(rule, lanes, places).decide(Rung(epoch, {}, own, frozenset(training)))
    expected = {
        key: rule.decide(rungs[index])[number]
        for key, (index, number) in places.items()
        if number in rule.decide(rungs[index])
    }
    assert found == expected


@pytest.fixture(scope="module")
def rows(prepared: Prepared) -> list[list[Member]]:
    """Members of equal weights and of each task alone, numbered alike, for twelve epochs."""
    study = small_study(train__epochs=N_EPOCHS)
    return [
        [replace(member, weights=row.weights or ()) for member in members_of(study, prepared, 6)]
        for row in baseline_rows(study, prepared)
    ]


def test_a_row_trains_beside_others_as_it_does_alone(prepared, rows) -> None:
    seen: list[list[tuple[int, int]]] = [[] for _ in rows]

    def lane(index: int, members: list[Member]) -> Lane:
        def on_epochs(results: Sequence[EpochResult]) -> None:
            seen[index] += [(result.number, result.epoch) for result in results]

        return Lane(members, {}, on_epochs)

    def run(lanes: list[Lane], population: int):
        return train_lanes(
            InProcess(prepared), lanes, population, Median(N_EPOCHS, 0), lambda: False
        )

    together = run([lane(index, members) for index, members in enumerate(rows)], 5)
    beside, seen = seen, [[] for _ in rows]
    states = set()
    for index, members in enumerate(rows):
        [alone] = run([lane(index, members)], 3)
        for one, other in zip(together[index], alone, strict=True):
            assert (one.number, one.state, one.epochs) == (other.number, other.state, other.epochs)
            assert one.score == pytest.approx(other.score, abs=1e-5)
            states.add(one.state)
        assert sorted(beside[index]) == sorted(seen[index])
    assert states == {"complete", "pruned"}, "the test needs both"


def test_a_stop_ends_all_lanes(prepared, rows) -> None:
    lanes = [Lane(members, {}, lambda _: None) for members in rows]
    with pytest.raises(Interrupted):
        train_lanes(InProcess(prepared), lanes, 4, Never(N_EPOCHS, 0), lambda: True)
