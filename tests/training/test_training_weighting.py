"""The contract of all strategies: what `weighting.base` promises."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pipeline.study.catalogue import CATALOGUE, load
from pipeline.study.weights_spec import WeightsSpec
from pipeline.training.streams import Streams
from pipeline.training.weighting.base import Step, Weighting
from pipeline.training.weighting.moments import fresh_moments, move

STRATEGIES = [name for name, entry in CATALOGUE["strategy"].items() if not entry.missing()]
SUM_TO_N = {"equal", "dwa", "random", "uw_so", "famo", "balance:mgda", "balance:imtl_g"}
MAY_BE_NEGATIVE = {"balance:imtl_g", "balance:aligned"}
DRAW_AN_ORDER = {"random", "balance:pcgrad"}
N_STEPS, N_EPOCHS = 4, 4


def make(name: str, weights: Tensor, **options: float) -> Weighting:
    streams = Streams(3)
    streams.start(1)
    specs = [WeightsSpec(strategy=name, **options) for _ in weights]
    made: Weighting = load("strategy", name)(specs, weights, streams)
    return made


@dataclass
class Course:
    """Losses, labels and gradients of some epochs, whatever is made of them.

    Attributes:
        losses: (E, S, K, T), positive.
        labelled: (E, S, T) bool, the same for all members.
        gradients: (E, S, K, T, P).
    """

    losses: Tensor
    labelled: Tensor
    gradients: Tensor

    @classmethod
    def draw(cls, n_members: int, n_tasks: int = 4, seed: int = 0, scale: float = 2.0) -> Course:
        generator = torch.Generator().manual_seed(seed)
        shape = (N_EPOCHS, N_STEPS, n_members, n_tasks)
        losses = (scale * torch.randn(shape, generator=generator, dtype=torch.float64)).exp()
        labelled = torch.rand(N_EPOCHS, N_STEPS, n_tasks, generator=generator) < 0.8
        labelled[..., 0] = True
        gradients = torch.randn(*shape, 7, generator=generator, dtype=torch.float64)
        return cls(losses, labelled, gradients)

    def of(self, members: Sequence[int]) -> Course:
        index = list(members)
        return Course(self.losses[:, :, index], self.labelled, self.gradients[:, :, index])

    def by_task(self, tasks: Sequence[int]) -> Course:
        index = list(tasks)
        return Course(
            self.losses[..., index], self.labelled[..., index], self.gradients[:, :, :, index]
        )


def run(weighting: Weighting, course: Course, epochs: Sequence[int] | None = None) -> Tensor:
    """Returns the (steps, K, T) weights of a strategy that sees a course."""
    return torch.stack(list(_run(weighting, course, epochs or range(N_EPOCHS))))


def _run(weighting: Weighting, course: Course, epochs: Sequence[int]) -> Iterator[Tensor]:
    for epoch in epochs:
        weighting.streams.start(epoch + 1)
        for s in range(N_STEPS):
            active = (weighting.weights > 0) & course.labelled[epoch, s]
            rows = course.gradients[epoch, s]
            step = Step(course.losses[epoch, s], active, torch.full((len(rows), 1), 0.05).double(),
                        torch.bmm(rows, rows.mT))  # fmt: skip
            yield weighting.weigh(step).clone()
            if weighting.looks_again:
                after = course.losses[epoch, (s + 1) % N_STEPS]
                weighting.look(Step(after, active, step.lr))
        seen = course.labelled[epoch].unsqueeze(1) & (weighting.weights > 0)
        mean = (course.losses[epoch] * seen).sum(0) / seen.sum(0)
        weighting.end_epoch(mean)


def ones(n_members: int, n_tasks: int = 4) -> Tensor:
    return torch.ones(n_members, n_tasks, dtype=torch.float64)


def differing() -> Tensor:
    """Static weights of 8 members, some of which leave tasks out or learn one alone."""
    weights = ones(8)
    weights[1, 2] = weights[2, 1:] = weights[3, [0, 3]] = 0
    return weights


each_strategy = pytest.mark.parametrize("name", STRATEGIES)
# What the others draw for a task depends on its place among them.
each_without_order = pytest.mark.parametrize("name", sorted({*STRATEGIES} - DRAW_AN_ORDER))


@each_strategy
def test_a_row_of_eight_members_is_that_of_the_member_alone(name: str) -> None:
    course, weights = Course.draw(8), differing()
    together = run(make(name, weights), course)
    for k in range(8):
        alone = run(make(name, weights[[k]]), course.of([k]))
        torch.testing.assert_close(together[:, [k]], alone, rtol=0, atol=1e-12)


@each_strategy
def test_losses_that_are_not_finite_disturb_no_other_member(name: str) -> None:
    course = Course.draw(3)
    expected = run(make(name, ones(3)), course)
    course.losses[1, 2:, 1] = float("nan")
    course.losses[2:, :, 1, 0] = float("inf")
    course.gradients[1, 2:, 1] = float("nan")
    found = run(make(name, ones(3)), course)
    assert torch.equal(found[:, [0, 2]], expected[:, [0, 2]])


@each_without_order
def test_a_task_of_weight_0_is_as_if_it_were_not_there(name: str) -> None:
    course, weights = Course.draw(2), ones(2)
    weights[:, 1] = 0
    course.losses[..., 1] = float("nan")  # must not even be looked at
    course.gradients[:, :, :, 1] = 0.0
    found = run(make(name, weights), course)
    assert not bool(found[..., 1].any())
    others = [0, 2, 3]
    without = run(make(name, ones(2, 3)), course.by_task(others))
    torch.testing.assert_close(found[..., others], without, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", [name for name in STRATEGIES if load("strategy", name).moves])
def test_a_batch_without_labels_of_a_task_gives_it_no_weight(name: str) -> None:
    course = Course.draw(2)
    found = run(make(name, ones(2)), course)
    labelled = course.labelled.flatten(0, 1).unsqueeze(1).expand_as(found)
    assert not bool(found[~labelled].any())
    assert bool(found[labelled].all())


@each_strategy
def test_a_batch_without_any_label_changes_nothing(name: str) -> None:
    course = Course.draw(2)
    course.labelled[0] = True
    weighting = make(name, ones(2))
    run(weighting, course, [0])
    before = weighting.save()
    nothing = Step(
        torch.zeros(2, 4).double(), torch.zeros(2, 4, dtype=torch.bool), torch.ones(2, 1).double(),
        torch.zeros(2, 4, 4).double(),
    )  # fmt: skip
    weights = weighting.weigh(nothing)
    assert bool(weights.isfinite().all())
    if weighting.looks_again:
        weighting.look(nothing)
    for state, values in weighting.save().items():
        if state != "before":  # the losses of the last step, whatever they were
            torch.testing.assert_close(values, before[state], rtol=0, atol=0, equal_nan=True)


@each_strategy
def test_weights_are_positive_and_sum_to_n_where_promised(name: str) -> None:
    course = Course.draw(5)
    course.labelled[:] = True
    found = run(make(name, ones(5)), course)
    if name not in MAY_BE_NEGATIVE:
        assert bool((found >= 0).all())
    if name in SUM_TO_N:
        torch.testing.assert_close(found.sum(-1), torch.full_like(found[..., 0], 4.0))


@pytest.mark.parametrize("name", [name for name in STRATEGIES if name != "random"])
def test_weights_are_one_where_tasks_are_alike(name: str) -> None:
    course = Course.draw(3)
    course.losses[:] = 1.0
    course.labelled[:] = True
    course.gradients = torch.eye(4, 7).double().expand(N_EPOCHS, N_STEPS, 3, 4, 7)
    found = run(make(name, ones(3)), course)
    torch.testing.assert_close(found, torch.ones_like(found), rtol=0, atol=1e-6)


@settings(max_examples=5, deadline=None)
@given(order=st.permutations(range(4)), seed=st.integers(0, 99))
@each_without_order
def test_the_order_of_tasks_does_not_matter(name: str, order: list[int], seed: int) -> None:
    course = Course.draw(2, seed=seed)
    weights = differing()[:2]
    found = run(make(name, weights), course)[..., order]
    permuted = run(make(name, weights[:, order]), course.by_task(order))
    tolerance = 1e-2 if name == "balance:mgda" else 1e-6  # it stops at 0.001
    torch.testing.assert_close(found, permuted, rtol=tolerance, atol=tolerance)


@each_strategy
def test_members_that_leave_and_join_change_no_other(name: str) -> None:
    course, weights = Course.draw(8), differing()
    weighting = make(name, weights)
    first = run(weighting, course, [0, 1])
    weighting.keep(torch.tensor([6, 1, 3]))
    weighting.add([WeightsSpec(strategy=name)] * 2, weights[[2, 5]])
    rest = run(weighting, course.of([6, 1, 3, 2, 5]), [2, 3])
    whole = run(make(name, weights), course)
    torch.testing.assert_close(first, whole[: 2 * N_STEPS], rtol=0, atol=0)
    torch.testing.assert_close(rest[:, :3], whole[2 * N_STEPS :, [6, 1, 3]], rtol=0, atol=1e-12)
    fresh = run(make(name, weights[[2, 5]]), course.of([2, 5]), [2, 3])
    torch.testing.assert_close(rest[:, 3:], fresh, rtol=0, atol=1e-12)


@each_strategy
def test_state_is_saved_and_restored_exactly(name: str) -> None:
    course = Course.draw(4)
    whole = run(make(name, ones(4)), course)
    weighting = make(name, ones(4))
    run(weighting, course, [0, 1])
    saved = weighting.save()
    again = make(name, ones(4))
    again.restore(saved)
    run(weighting, course, [2])  # what goes on does not reach into what was saved
    assert torch.equal(run(again, course, [2, 3]), whole[2 * N_STEPS :])
    assert all(values.shape[0] == 4 for values in saved.values())


@pytest.mark.parametrize(
    ("name", "option"),
    [("dwa", "temperature"), ("uw_so", "temperature"), ("stch", "mu"), ("uncertainty", "own_lr"),
     ("famo", "own_lr")],
)  # fmt: skip
def test_each_member_has_its_own_option(name: str, option: str) -> None:
    course, values = Course.draw(1).of([0, 0, 0]), [0.02, 0.7, None]
    weighting = make(name, ones(3))
    weighting.specs = [WeightsSpec(strategy=name, **{option: value}) for value in values]
    found = run(weighting, course)
    for k, value in enumerate(values):
        own = make(name, ones(1), **{} if value is None else {option: value})
        torch.testing.assert_close(found[:, [k]], run(own, course.of([0])), rtol=0, atol=1e-12)
    assert not torch.allclose(found[-1, 0], found[-1, 1])
    assert not torch.allclose(found[-1, 1], found[-1, 2])


def test_every_option_of_a_strategy_is_a_key_and_read() -> None:
    # What the catalogue says a strategy reads: a key of the section, and no key is nobody's;
    # `options` are those of a strategy of one's own.
    read = {option for entry in CATALOGUE["strategy"].values() for option in entry.options}
    assert read == set(WeightsSpec.__dataclass_fields__) - {"strategy", "options"}  # type: ignore[attr-defined]


def test_moments_move_each_task_as_adam_does() -> None:
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(3, 4, generator=generator, dtype=torch.float64)
    lr = torch.tensor([[0.1], [0.01], [1.0]]).double()
    stock = [[values[k, t].clone().requires_grad_() for t in range(4)] for k in range(3)]
    adams = [[torch.optim.Adam([p], lr=float(lr[k])) for p in row] for k, row in enumerate(stock)]
    moments = fresh_moments(values)
    for _ in range(20):
        gradient = torch.randn(3, 4, generator=generator, dtype=torch.float64)
        active = torch.rand(3, 4, generator=generator) < 0.7
        move(values, gradient, moments, active, lr)
        for k, t in active.nonzero().tolist():
            stock[k][t].grad = gradient[k, t].clone()
            adams[k][t].step()
    expected = torch.stack([torch.stack([p.detach() for p in row]) for row in stock])
    torch.testing.assert_close(values, expected, rtol=0, atol=1e-12)
