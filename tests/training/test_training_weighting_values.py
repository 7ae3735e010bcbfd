"""The weights of each strategy against a second source: torchjd, or its formula by autograd."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_training_weighting import N_EPOCHS, N_STEPS, Course, make, ones, run
from torch import Tensor
from torchjd import aggregation, scalarization

from pipeline.study.catalogue import CATALOGUE
from pipeline.training.gradients import cosines_of, gramian_of, norms_of, task_gradients
from pipeline.training.weighting.balance import CLASSES, balance

BALANCES = [name for name in CLASSES if not CATALOGUE["strategy"][f"balance:{name}"].missing()]


def complete(n_members: int = 3, scale: float = 1.0, seed: int = 0) -> Course:
    course = Course.draw(n_members, seed=seed, scale=scale)
    course.labelled[:] = True
    return course


def slopes(scalarisation: Callable[[Tensor], Tensor], losses: Tensor) -> Tensor:
    """Returns the gradient of a scalarisation of one member's (T,) losses."""
    values = losses.clone().requires_grad_()
    return torch.autograd.grad(scalarisation(values), values)[0]


def flat(course: Course) -> Tensor:
    """Returns the (steps, K, T) losses of a course."""
    return course.losses.flatten(0, 1)


def test_geometric_is_n_times_the_geometric_mean_of_torchjd() -> None:
    course = complete()
    found = run(make("geometric", ones(3)), course)
    for weights, losses in zip(found.flatten(0, 1), flat(course).flatten(0, 1), strict=True):
        expected = 4 * slopes(scalarization.GeometricMean(), losses)
        torch.testing.assert_close(weights, expected, rtol=1e-12, atol=0)


def test_log_is_the_slope_of_the_sum_of_logarithms() -> None:
    course = complete()
    found = run(make("log", ones(3)), course)
    for weights, losses in zip(found.flatten(0, 1), flat(course).flatten(0, 1), strict=True):
        expected = slopes(lambda values: values.log().sum(), losses)
        torch.testing.assert_close(weights, expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize("own_rate", [None, 0.2])
def test_uncertainty_is_twice_that_of_torchjd_under_adam(own_rate: float | None) -> None:
    course = complete()
    options = {} if own_rate is None else {"own_lr": own_rate}
    found = run(make("uncertainty", ones(3), **options), course)
    for k in range(3):
        stock = scalarization.UW(4).double()
        adam = torch.optim.Adam(stock.parameters(), lr=own_rate or 0.05)  # the course's rate
        for weights, losses in zip(found[:, k], flat(course)[:, k], strict=True):
            values = losses.clone().requires_grad_()
            adam.zero_grad()
            stock(values).backward()
            assert values.grad is not None
            # Not closer: the epsilon of Adam sees that the gradient of s is twice the stock one.
            torch.testing.assert_close(weights, 2 * values.grad, rtol=1e-6, atol=1e-6)
            adam.step()


@pytest.mark.parametrize("temperature", [None, 0.5])
def test_dwa_is_that_of_torchjd(temperature: float | None) -> None:
    course = complete(scale=0.3)
    options = {} if temperature is None else {"temperature": temperature}
    found = run(make("dwa", ones(3), **options), course).unflatten(0, (N_EPOCHS, N_STEPS))
    for k in range(3):
        stock = scalarization.DWA(**options)
        for epoch in range(N_EPOCHS):
            for s in range(N_STEPS):
                expected = slopes(stock, course.losses[epoch, s, k])
                torch.testing.assert_close(found[epoch, s, k], expected, rtol=1e-9, atol=1e-9)
            stock.step()


def test_random_weights_are_a_softmax_of_normal_draws_common_to_all_members() -> None:
    weighting = make("random", ones(3))
    found = run(weighting, complete())
    weighting.streams.start(1)
    draws = weighting.streams.normal("weights", (4,))
    expected = 4 * torch.softmax(draws.double(), 0)
    torch.testing.assert_close(found[0], expected.expand(3, 4), rtol=1e-6, atol=0)
    assert not torch.allclose(found[0], found[1])
    # Logarithms of softmaxed normals differ as the normals do: variance 2 for each pair.
    many = torch.cat([run(weighting, complete())[:, 0] for _ in range(8)]).log()
    assert float(many.diff(dim=1).var()) == pytest.approx(2.0, rel=0.5)


@pytest.mark.parametrize("temperature", [None, 7.0])
def test_uw_so_is_the_softmax_of_the_inverse_losses(temperature: float | None) -> None:
    course = complete()
    options = {} if temperature is None else {"temperature": temperature}
    found = run(make("uw_so", ones(3), **options), course)
    raw = (1 / flat(course) / (temperature or 1.0)).exp()
    torch.testing.assert_close(found, 4 * raw / raw.sum(-1, keepdim=True), rtol=1e-9, atol=0)


@pytest.mark.parametrize("mu", [None, 0.1])
def test_stch_is_that_of_torchjd_for_logarithms(mu: float | None) -> None:
    course = complete()
    options = {} if mu is None else {"mu": mu}
    found = run(make("stch", ones(3), **options), course)
    torch.testing.assert_close(found[:N_STEPS], 1 / course.losses[0], rtol=1e-12, atol=0)
    nadir = course.losses[0].mean(0)
    for k in range(3):
        stock = scalarization.STCH(
            mu or 1.0, weights=torch.ones(4).double(), reference=nadir[k].log()
        )
        for weights, losses in zip(found[N_STEPS:, k], flat(course)[N_STEPS:, k], strict=True):
            expected = 4 * slopes(lambda values, stock=stock: stock(values.log()), losses)
            torch.testing.assert_close(weights, expected, rtol=1e-9, atol=0)


@pytest.mark.parametrize("rate", [None, 0.3])
def test_famo_is_n_times_that_of_torchjd(rate: float | None) -> None:
    course = complete()
    options = {} if rate is None else {"own_lr": rate}
    found = run(make("famo", ones(3), **options), course).unflatten(0, (N_EPOCHS, N_STEPS))
    for k in range(3):
        stock = scalarization.FAMO(4, **({} if rate is None else {"lr": rate})).double()
        for epoch in range(N_EPOCHS):
            for s in range(N_STEPS):
                expected = 4 * slopes(stock, course.losses[epoch, s, k])
                torch.testing.assert_close(found[epoch, s, k], expected, rtol=1e-6, atol=1e-9)
                stock.update(course.losses[epoch, (s + 1) % N_STEPS, k])


@pytest.mark.parametrize("name", ["log", "geometric", "stch", "famo"])
def test_the_unit_of_a_loss_does_not_turn_the_gradient(name: str) -> None:
    course = complete(scale=0.5)
    factors = torch.tensor([1e-3, 1.0, 5.0, 1e4]).double()
    other = Course(course.losses * factors, course.labelled, course.gradients)
    plain = run(make(name, ones(3)), course)
    scaled = run(make(name, ones(3)), other) * factors  # what the gradient of the first unit gets
    ratio = scaled / plain
    # The direction stays for all of them; the length too where the method sums logarithms.
    tolerance = 1e-3 if name == "famo" else 1e-9  # to which each loss is raised by 1e-8
    torch.testing.assert_close(
        ratio / ratio[..., :1], torch.ones_like(ratio), rtol=tolerance, atol=0
    )
    if name in ("log", "stch"):
        torch.testing.assert_close(ratio, torch.ones_like(ratio), rtol=1e-6, atol=0)


# --- gradients -----------------------------------------------------------------------------------


def test_task_gradients_are_those_of_each_member_and_task_alone() -> None:
    generator = torch.Generator().manual_seed(1)
    shared = torch.randn(3, 5, 2, generator=generator, dtype=torch.float64, requires_grad=True)
    own = torch.randn(3, 2, generator=generator, dtype=torch.float64, requires_grad=True)
    x = torch.randn(5, generator=generator, dtype=torch.float64)

    def losses_of(a: Tensor, b: Tensor) -> Tensor:
        return torch.stack([(x @ a).square().sum(-1), ((x @ a) * b).sin().sum(-1)], dim=-1)

    found = task_gradients(losses_of(shared, own), [shared, own])
    assert found.shape == (3, 2, 12)
    for k in range(3):
        slope = torch.autograd.functional.jacobian(losses_of, (shared[k], own[k]))
        expected = torch.cat([slope[0].flatten(1), slope[1].flatten(1)], dim=1)
        torch.testing.assert_close(found[k], expected)
    assert not bool(found[:, 0, 10:].any())  # the first task does not know `own`


def test_gramian_cosines_and_norms_are_those_of_the_rows() -> None:
    rows = torch.randn(2, 3, 9, generator=torch.Generator().manual_seed(0))
    rows[1, 2] = 0
    gramian = gramian_of(rows)
    torch.testing.assert_close(norms_of(gramian), rows.norm(dim=2))
    expected = torch.nn.functional.cosine_similarity(rows.unsqueeze(1), rows.unsqueeze(2), dim=-1)
    torch.testing.assert_close(cosines_of(gramian)[0], expected[0])
    assert bool(cosines_of(gramian)[1, 2].isnan().all())
    assert bool(cosines_of(gramian)[1, :2, :2].isfinite().all())


# --- torchjd's balancing -------------------------------------------------------------------------

AGGREGATORS = {
    "upgrad": aggregation.UPGrad, "mgda": aggregation.MGDA, "pcgrad": aggregation.PCGrad,
    "imtl_g": aggregation.IMTLG, "aligned": aggregation.AlignedMTL,
    "dualproj": aggregation.DualProj,
    "cagrad": lambda: aggregation.CAGrad(c=0.4),
    "fairgrad": lambda: aggregation.FairGrad(alpha=2.0),
}  # fmt: skip


@pytest.mark.parametrize("name", BALANCES)
def test_balance_gives_what_the_aggregator_gives_on_the_gradients(name: str) -> None:
    generator = torch.Generator().manual_seed(2)
    for n_tasks in (2, 4):
        rows = torch.randn(n_tasks, 30, generator=generator, dtype=torch.float64)
        rows[1] -= 0.8 * rows[0]  # a conflict
        rows /= rows.square().sum(1).mean().sqrt()  # the length of `fairgrad` hangs on it
        found = balance(name, rows @ rows.T, seed=5) @ rows
        torch.manual_seed(5)
        expected = AGGREGATORS[name]()(rows)
        unit = AGGREGATORS[name]()(torch.eye(n_tasks).double()).mean()
        torch.testing.assert_close(found * unit, expected, rtol=1e-6, atol=1e-8)


hard_rows = st.tuples(
    st.integers(2, 5), st.integers(1, 8), st.integers(0, 2**20), st.sampled_from([1e-4, 1.0, 1e4])
)


@settings(max_examples=20, deadline=None)
@given(hard_rows)
@pytest.mark.parametrize("name", ["upgrad", "mgda", "dualproj"])
def test_no_task_loses_where_that_is_promised(
    name: str, shape: tuple[int, int, int, float]
) -> None:
    n_tasks, width, seed, scale = shape  # fewer columns than rows: gradients depend on each other
    generator = torch.Generator().manual_seed(seed)
    rows = scale * torch.randn(n_tasks, width, generator=generator, dtype=torch.float64)
    gramian = rows @ rows.T
    weights = balance(name, gramian, 0)
    assert bool((weights >= -1e-6).all())
    gained = gramian @ weights / gramian.diagonal().max() / max(1.0, float(weights.max()))
    assert float(gained.min()) >= (-5e-3 if name == "mgda" else -1e-3)


@pytest.mark.parametrize("name", BALANCES)
@pytest.mark.parametrize("rows", [torch.zeros(3, 4), torch.full((3, 4), float("nan")),
                                  torch.full((3, 4), float("inf"))])  # fmt: skip
def test_gradients_that_say_nothing_are_summed(name: str, rows: Tensor) -> None:
    rows = rows.double()
    assert balance(name, rows @ rows.T, 0).tolist() == [1, 1, 1]


def test_balancing_leaves_the_global_random_numbers_alone() -> None:
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    balance("pcgrad", torch.eye(3).double(), 1)
    assert torch.equal(torch.rand(2), expected)
