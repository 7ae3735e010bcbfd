from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from pipeline.study.catalogue import load
from pipeline.study.train_spec import TrainSpec
from pipeline.training.optimizers import Adam, Optimizer, Rates

N_STEPS, P = 120, 11
CENTRES = torch.randn(3, P, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
SEGMENTS = (torch.arange(P) >= 5).long()  # the first five numbers, and the others
SCALES = torch.linspace(0.1, 4.0, P, dtype=torch.float64)


def gradient_at(parameters: Tensor, step: int) -> Tensor:
    """The gradient of a bowl whose centre moves, large at times, so that clipping matters."""
    return SCALES * (parameters - CENTRES[step % 3]) * (5.0 if step % 7 == 0 else 1.0)


def start(n_members: int) -> Tensor:
    generator = torch.Generator().manual_seed(2)
    return torch.randn(n_members, P, generator=generator, dtype=torch.float64)


def run(name: str, specs: list[TrainSpec]) -> Tensor:
    """Takes all steps with ours; returns the (steps, K, P) path."""
    made: Optimizer = load("optimizer", name)(len(specs), P, 2, torch.float64)
    rates, parameters = Rates.of(specs, torch.float64), start(len(specs))
    path = []
    for step in range(N_STEPS):
        gradient = torch.stack([gradient_at(row, step) for row in parameters])
        made.step(parameters, gradient, rates, rates.lr, SEGMENTS, None)
        path.append(parameters.clone())
    return torch.stack(path)


def run_torch(make: Callable[[list[Tensor]], Any], clip: float | None, row: Tensor) -> Tensor:
    parameter = torch.nn.Parameter(row.clone())
    theirs = make([parameter])
    path = []
    for step in range(N_STEPS):
        parameter.grad = gradient_at(parameter.detach(), step)
        if clip is not None:
            torch.nn.utils.clip_grad_norm_([parameter], clip)
        theirs.step()
        path.append(parameter.detach().clone())
    return torch.stack(path)


TWINS: dict[str, Callable[[TrainSpec], Callable[[list[Tensor]], Any]]] = {
    "gd": lambda s: lambda p: torch.optim.SGD(p, lr=s.lr, weight_decay=s.l2),
    "sgd": lambda s: lambda p: torch.optim.SGD(
        p, lr=s.lr, momentum=s.momentum, weight_decay=s.l2
    ),
    "adam": lambda s: lambda p: torch.optim.Adam(p, lr=s.lr, weight_decay=s.l2),
    "adamw": lambda s: lambda p: torch.optim.AdamW(p, lr=s.lr, weight_decay=s.weight_decay),
}  # fmt: skip


@pytest.mark.parametrize("name", TWINS)
def test_each_member_follows_the_path_of_torch(name: str) -> None:
    penalty = "weight_decay" if name == "adamw" else "l2"
    specs = [
        TrainSpec(lr=1e-2),
        TrainSpec(lr=3e-2, clip=0.5, momentum=0.5, **{penalty: 0.1}),
        TrainSpec(lr=1e-3, clip=2.0, momentum=0.0),
        TrainSpec(lr=5e-2, momentum=0.95, **{penalty: 0.02}),
    ]
    path = run(name, specs)
    for k, spec in enumerate(specs):
        expected = run_torch(TWINS[name](spec), spec.clip, start(4)[k])
        torch.testing.assert_close(path[:, k], expected, rtol=0, atol=1e-9)
    assert not torch.equal(path[-1, 0], path[-1, 3])


@pytest.mark.parametrize("name", ["gd", "subgradient"])
def test_gradient_steps_follow_their_formula(name: str) -> None:
    spec = TrainSpec(lr=1e-2, l1=0.3, l2=0.2, weight_decay=0.1)
    path = run(name, [spec])[:, 0]
    w = start(1)[0].numpy()
    for step in range(N_STEPS):
        size = spec.lr / np.sqrt(step + 1) if name == "subgradient" else spec.lr
        slope = gradient_at(torch.from_numpy(w), step).numpy() + 0.2 * w + 0.3 * np.sign(w)
        w = w * (1 - spec.lr * 0.1) - size * slope
        np.testing.assert_allclose(path[step], w, rtol=0, atol=1e-10)


@pytest.mark.parametrize("l1", [0.05, 0.4, 1.2])
def test_the_best_subgradient_iterate_solves_the_lasso(l1: float) -> None:
    # With orthonormal columns the lasso solution is soft-thresholding (Tibshirani, 1996).
    random = np.random.default_rng(0)
    design = torch.from_numpy(np.linalg.qr(random.normal(size=(40, 6)))[0])
    truth = torch.tensor([2.0, -1.0, 0.5, 0.0, 0.0, 0.1], dtype=torch.float64)
    y = design @ truth + 0.01 * torch.from_numpy(random.normal(size=40))
    fit = design.T @ y
    solution = fit.sign() * (fit.abs() - l1).clamp_min(0)

    def objective(w: Tensor) -> float:
        return float((y - design @ w).square().sum() / 2 + l1 * w.abs().sum())

    made = load("optimizer", "subgradient")(1, 6, 1, torch.float64)
    rates = Rates.of([TrainSpec(lr=0.1, l1=l1)], torch.float64)
    w = torch.ones(1, 6, dtype=torch.float64)
    best, best_value = w[0].clone(), objective(w[0])
    for _ in range(3000):
        gradient = ((design @ w[0] - y) @ design).unsqueeze(0)
        made.step(w, gradient, rates, rates.lr, torch.zeros(6, dtype=torch.int64), None)
        if objective(w[0]) < best_value:
            best, best_value = w[0].clone(), objective(w[0])
    assert best_value <= objective(solution) * (1 + 1e-2)
    torch.testing.assert_close(best, solution, rtol=0, atol=0.03)


def test_a_resting_segment_keeps_parameters_state_and_step_count() -> None:
    specs = [TrainSpec(lr=1e-2, weight_decay=0.1, l2=0.1, clip=1.0)] * 2
    made = load("optimizer", "adamw")(2, P, 2, torch.float64)
    rates, w = Rates.of(specs, torch.float64), start(2)
    segments = SEGMENTS
    made.step(w, gradient_at(w, 0), rates, rates.lr, segments, None)
    before, mean, square = w.clone(), made.mean.clone(), made.square.clone()
    active = torch.tensor([[True, False], [True, True]])
    made.step(w, gradient_at(w, 1), rates, rates.lr, segments, active)
    assert torch.equal(w[0, 5:], before[0, 5:])
    assert torch.equal(made.mean[0, 5:], mean[0, 5:])
    assert torch.equal(made.square[0, 5:], square[0, 5:])
    assert not bool((w[0, :5] == before[0, :5]).any())
    assert not bool((w[1] == before[1]).any())
    assert made.steps.tolist() == [[2, 1], [2, 2]]


def test_a_segment_that_rested_goes_on_as_if_nothing_had_been() -> None:
    # Its bias correction counts its own steps: a rested run equals one without the rest.
    spec = TrainSpec(lr=1e-2)
    segments = SEGMENTS
    rates = Rates.of([spec], torch.float64)
    paths = []
    for rests in (True, False):
        made, w = load("optimizer", "adam")(1, P, 2, torch.float64), start(1)
        for step in range(6):
            if step == 3:  # only the first segment moves, or nothing does
                if rests:
                    active = torch.tensor([[True, False]])
                    made.step(w, gradient_at(w, 0), rates, rates.lr, segments, active)
                continue
            made.step(w, gradient_at(w, step), rates, rates.lr, segments, None)
        paths.append(w[0, 5:])
    torch.testing.assert_close(paths[0], paths[1], rtol=0, atol=1e-14)


@pytest.mark.parametrize("clip", [None, 1.0])
def test_fused_rows_move_as_passes_over_all_members_do(
    monkeypatch: pytest.MonkeyPatch, clip: float | None
) -> None:
    specs = [
        TrainSpec(lr=lr, weight_decay=decay, l2=l2, clip=clip)
        for lr, decay, l2 in [(1e-3, 0.0, 0.1), (1e-2, 0.1, 0.0), (1e-1, 0.3, 0.2)]
    ]
    rows = run("adamw", specs)
    monkeypatch.setattr(Adam, "_decay_and_move", Optimizer._decay_and_move)
    passes = run("adamw", specs)
    torch.testing.assert_close(rows, passes, rtol=0, atol=1e-12)
    assert not torch.equal(rows, passes)  # two ways of rounding, so two ways were taken


def test_members_may_join_an_optimizer() -> None:
    specs = [TrainSpec(lr=1e-2), TrainSpec(lr=1e-1)]
    alone = run("adam", specs[1:])
    made, w = load("optimizer", "adam")(1, P, 2, torch.float64), start(1)
    rates = Rates.of(specs[:1], torch.float64)
    for step in range(30):
        if step == 10:
            made.add(1)
            rates, w = Rates.of(specs, torch.float64), torch.cat([w, start(1)])
        shift = [step, step - 10][: len(w)]
        gradient = torch.stack([gradient_at(row, at) for row, at in zip(w, shift, strict=True)])
        made.step(w, gradient, rates, rates.lr, SEGMENTS, None)
    torch.testing.assert_close(w[1], alone[19, 0], rtol=0, atol=1e-12)


def test_members_may_leave_an_optimizer() -> None:
    specs = [TrainSpec(lr=lr) for lr in (1e-3, 1e-2, 1e-1)]
    index = torch.tensor([2, 0])
    together = run("adam", specs)
    made, w = load("optimizer", "adam")(3, P, 2, torch.float64), start(3)
    rates = Rates.of(specs, torch.float64)
    for step in range(N_STEPS):
        if step == 10:
            made.keep(index)
            rates, w = Rates.of([specs[2], specs[0]], torch.float64), w[index]
        made.step(w, torch.stack([gradient_at(row, step) for row in w]), rates, rates.lr,
                  SEGMENTS, None)  # fmt: skip
    torch.testing.assert_close(w, together[-1][index], rtol=0, atol=1e-12)
