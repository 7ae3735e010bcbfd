import math

import pytest
import torch
from training_data import member

from pipeline.data.prepared import Prepared
from pipeline.training.population import Population
from pipeline.training.schedules import constant, cosine, progress_after_warmup


def rates_of(prepared: Prepared, **values: object) -> list[list[float]]:
    """Returns the rate of each member at each step of a whole training."""
    members = [member(0, **values), member(1, warmup_epochs=1.5, **values)]
    population = Population(members, prepared, torch.float64)
    rates: list[list[float]] = []
    step = population.optimizer.step

    def watched(parameters, gradient, own, lr, segments, active) -> None:  # type: ignore[no-untyped-def]
        rates.append(lr[:, 0].tolist())
        step(parameters, gradient, own, lr, segments, active)

    population.optimizer.step = watched  # type: ignore[method-assign]
    for epoch in range(1, members[0].train.epochs + 1):
        population.train_epoch(epoch)
    return rates


def test_the_rate_follows_its_formula_over_a_whole_training(prepared: Prepared) -> None:
    n_steps, warmup = 4 * 5, 1.5 * 5  # 150 rows in batches of 32, 4 epochs
    rates = rates_of(prepared, lr=0.02, schedule="cosine")
    assert len(rates) == n_steps
    for step, (plain, warm) in enumerate(rates):
        assert plain == pytest.approx(0.02 * (1 + math.cos(math.pi * step / n_steps)) / 2)
        done = max(step - warmup, 0) / (n_steps - warmup)
        rising = min((step + 1) / warmup, 1)
        assert warm == pytest.approx(0.02 * rising * (1 + math.cos(math.pi * done)) / 2)


def test_a_constant_rate_stays_after_its_warmup(prepared: Prepared) -> None:
    rates = rates_of(prepared, lr=0.02, schedule="constant")
    assert {plain for plain, _ in rates} == {0.02}
    assert [warm for _, warm in rates][8:] == [0.02] * 12
    assert [warm / 0.02 for _, warm in rates][:2] == pytest.approx([1 / 7.5, 2 / 7.5])


def test_cosine_is_that_of_torch() -> None:
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=1.0)
    theirs = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=40)
    for step in range(40):
        _, progress = progress_after_warmup(step, 40, torch.zeros(1, 1, dtype=torch.float64))
        assert float(cosine(progress)) == pytest.approx(theirs.get_last_lr()[0], abs=1e-12)
        optimizer.step()
        theirs.step()


def test_progress_ends_at_1_whatever_the_warmup() -> None:
    warmup = torch.tensor([[0.0], [3.0], [50.0]])
    rising, progress = progress_after_warmup(10, 10, warmup)
    assert progress.flatten().tolist() == [1, 1, 0]
    assert rising.flatten().tolist() == pytest.approx([1, 1, 11 / 50])
    assert constant(progress).flatten().tolist() == [1, 1, 1]
