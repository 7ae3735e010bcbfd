"""The decoder's fewer passes against the operations that they stand for, with their slopes."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn.functional import conv1d

from pipeline.models.passes import near_sums, total_and_chosen


def drawn(*sizes: int) -> Tensor:
    found = torch.randn(*sizes, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    return found.requires_grad_()


def slopes(values: Tensor, *inputs: Tensor) -> tuple[Tensor, ...]:
    factor = torch.linspace(-1, 1, values.numel(), dtype=values.dtype).reshape(values.shape)
    return torch.autograd.grad((values * factor).sum(), inputs)


def test_total_and_chosen_are_those_of_all_logits() -> None:
    x, weight, bias = drawn(2, 5, 3), drawn(2, 3, 7), drawn(2, 1, 7)
    word = torch.tensor([0, 6, 6, 2, 1])
    found = torch.cat(total_and_chosen(x, weight, bias, word), dim=1)
    logits = x @ weight + bias
    wanted = torch.cat([logits.logsumexp(2), logits[:, torch.arange(5), word]], dim=1)
    torch.testing.assert_close(found, wanted)
    inputs = (x, weight, bias)
    for one, two in zip(slopes(found, *inputs), slopes(wanted, *inputs), strict=True):
        torch.testing.assert_close(one, two)


def test_the_slope_can_be_asked_for_again() -> None:
    x, weight, bias = drawn(1, 2, 3), drawn(1, 3, 4), drawn(1, 1, 4)
    total, _ = total_and_chosen(x, weight, bias, torch.tensor([0, 3]))
    first, second = (torch.autograd.grad(total.sum(), x, retain_graph=True)[0] for _ in range(2))
    torch.testing.assert_close(first, second, rtol=0, atol=0)


@pytest.mark.parametrize("large", [1e3, -1e3])
def test_large_logits_have_a_total(large: float) -> None:
    bias = torch.full((1, 1, 4), large)
    zeros = torch.zeros(1, 1, 2), torch.zeros(1, 2, 4)
    total, _ = total_and_chosen(*zeros, bias, torch.tensor([0]))
    assert float(total) == pytest.approx(large + math.log(4), abs=1e-3)


@pytest.mark.parametrize(("reach", "n_places"), [(2, 6), (1, 4), (2, 1)])
def test_near_sums_are_a_convolution_of_each_member(reach: int, n_places: int) -> None:
    x, bias = drawn(2, 3, n_places, 4), drawn(2, 1, 5)
    weight = drawn(2, (2 * reach + 1) * 4, 5)
    found = near_sums(x, weight, bias, reach)
    wanted = torch.stack([
        conv1d(
            x[k].mT, weight[k].reshape(2 * reach + 1, 4, 5).permute(2, 1, 0), bias[k, 0],
            padding=reach,
        ).mT
        for k in range(2)
    ])  # fmt: skip
    torch.testing.assert_close(found, wanted)
    inputs = (x, weight, bias)
    for one, two in zip(slopes(found, *inputs), slopes(wanted, *inputs), strict=True):
        torch.testing.assert_close(one, two)
