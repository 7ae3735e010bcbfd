from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from test_training_weighting_population import DIFFERENT
from torch import Tensor
from training_data import SPECS, member

from pipeline.data.prepared import Prepared
from pipeline.study.catalogue import names
from pipeline.training import diagnostics
from pipeline.training.diagnostics import COST, describe, is_due, look_steps
from pipeline.training.gradients import gramian_of
from pipeline.training.loop import train
from pipeline.training.members import EpochResult, Member, Trained
from pipeline.training.population import Population

# --- how often -----------------------------------------------------------------------------------


@given(st.integers(1, 400), st.integers(2, 20), st.integers(1, 60))
def test_looks_never_cost_more_than_their_share(steps: int, n_tasks: int, n_epochs: int) -> None:
    looks = 0
    for epoch in range(1, n_epochs + 1):
        looks += is_due(epoch, steps, n_tasks)
        assert looks * look_steps(n_tasks) <= COST * steps * epoch + 1e-9
    if steps * COST <= look_steps(n_tasks):  # else once an epoch is less than is paid for
        assert (looks + 1) * look_steps(n_tasks) > COST * steps * n_epochs - 1e-9


def test_one_task_has_nothing_to_compare() -> None:
    assert not any(is_due(epoch, 10_000, 1) for epoch in range(1, 9))
    assert is_due(1, 10_000, 2)


# --- what is said --------------------------------------------------------------------------------


def test_norms_and_cosines_are_those_of_the_tasks_that_a_member_trains() -> None:
    rows = torch.tensor([[3.0, 4.0], [float("nan"), 0.0], [0.0, 2.0], [-1.0, 0.0], [0.0, 0.0]])
    found = describe(rows @ rows.T, list("abcde"), [True, False, True, True, True])
    assert found is not None
    assert found.norms == pytest.approx({"a": 5.0, "c": 2.0, "d": 1.0, "e": 0.0})
    assert found.cosines == pytest.approx({("a", "c"): 0.8, ("a", "d"): -0.6, ("c", "d"): 0.0})
    assert found.conflicting == pytest.approx(1 / 3)
    assert found.mean_cosine("a") == pytest.approx(0.1)
    assert found.mean_cosine("e") != found.mean_cosine("e")
    alone = describe(rows @ rows.T, list("abcde"), [True, False, False, False, False])
    assert alone is not None
    assert alone.norms == pytest.approx({"a": 5.0})
    assert alone.conflicting != alone.conflicting


def test_gradients_that_are_not_finite_say_nothing() -> None:
    assert describe(torch.full((2, 2), float("nan")), ["a", "b"], [True, True]) is None


# --- in a population -----------------------------------------------------------------------------


def gradients_by_moving(one: Member, data: Prepared) -> tuple[Tensor, Tensor]:
    """Returns the (T, P) gradients that steps of rate 1 show, and which columns are shared."""
    rows = []
    for task in range(len(SPECS)):
        weights = tuple(float(task == other) for other in range(len(SPECS)))
        alone = Population([replace(one, weights=weights)], data, torch.float64)
        before = alone.state.parameters.clone()
        alone.train_epoch(1)
        rows.append((before - alone.state.parameters)[0])
    return torch.stack(rows), alone.state.shared


@pytest.mark.parametrize(
    "shape", [{"head_layers": [5]}, *({"sharing": name} for name in names("sharing"))]
)
def test_the_gramian_is_that_of_the_shared_gradients(
    complete: Prepared, shape: dict[str, object]
) -> None:
    one = member(0, optimizer="gd", lr=1.0, schedule="constant", activation="tanh", **shape)
    population = Population([one, replace(one, number=1, seed=5)], complete, torch.float64)
    population.streams.start(1)
    found = population.gramian()
    for k, own in enumerate(population.members):
        rows, shared = gradients_by_moving(own, complete)
        expected = gramian_of(rows[:, shared].unsqueeze(0))[0]
        torch.testing.assert_close(found[k], expected, rtol=1e-9, atol=1e-12)
        assert bool(found[k].any()) is (shape.get("sharing") != "separate")


def test_a_member_is_looked_at_as_if_it_were_alone(prepared: Prepared) -> None:
    members = [member(number, norm="batch", **values) for number, values in enumerate(DIFFERENT)]
    together = Population(members, prepared, torch.float64)
    together.train_epoch(1)
    gramians = together.gramian()
    for k, one in enumerate(members):
        alone = Population([one], prepared, torch.float64)
        alone.train_epoch(1)
        torch.testing.assert_close(gramians[k], alone.gramian()[0], rtol=1e-6, atol=1e-9)


def trained(members: list[Member], data: Prepared) -> tuple[list[Trained], list[EpochResult]]:
    seen: list[EpochResult] = []
    return train(members, data, lambda results: seen.extend(results) or {}), seen  # type: ignore[func-returns-value]


def test_looking_changes_nothing_that_trains(
    prepared: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(diagnostics, "COST", 10.0)  # after every epoch
    ends = []
    for look in (True, False):
        members = [member(k, dropout=0.3, norm="batch", diagnostics=look) for k in range(2)]
        ends.append(trained(members, prepared)[0])
    for seen, unseen in zip(*ends, strict=True):
        assert seen.cosines
        assert not unseen.cosines
        for name, values in seen.parameters.items():
            assert (values == unseen.parameters[name]).all()


def test_what_looks_showed_is_told_with_the_epoch_and_in_the_mean(
    prepared: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        diagnostics, "COST", 0.5 * look_steps(4) / 5
    )  # every second epoch of five steps
    members = [member(0), member(1, weights=(1.0, 0.0, 1.0, 0.0)), member(2, lr=1e30)]
    (whole, two, wild), seen = trained(members, prepared)
    looks = [result for result in seen if result.gradients is not None]
    assert {result.epoch for result in looks} == {2, 4}
    assert {result.number for result in looks} == {0, 1}  # the third had diverged
    for end, pairs in ((whole, 6), (two, 1)):
        own = [result.gradients for result in looks if result.number == end.number]
        assert [len(gradients.cosines) for gradients in own if gradients] == [pairs, pairs]
        cosines = [gradients.cosines["bought", "price"] for gradients in own if gradients]
        assert end.cosines["bought"]["price"] == pytest.approx(sum(cosines) / 2)
    assert two.cosines == {"bought": {"price": two.cosines["bought"]["price"]}}
    assert wild.cosines == {}
