from __future__ import annotations

import pytest
import torch
from torch import Tensor

from pipeline.training import streams as module
from pipeline.training.streams import HIGHEST, Streams


def started(epoch: int = 1) -> Streams:
    streams = Streams(3)
    streams.start(epoch)
    return streams


def test_draws_go_on_from_block_to_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BLOCK_DRAWS", 3)
    streams = started()
    drawn = torch.stack([streams.uniform("trunk.0", (2, 5)) for _ in range(7)])
    generator = torch.Generator().manual_seed(module.derive_seed(3, 1, "trunk.0"))
    straight = torch.rand(9, 2, 5, generator=generator)
    assert torch.equal(drawn, straight[:7])


def test_a_large_draw_is_a_block_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BLOCK_NUMBERS", 8)
    streams = started()
    large = torch.cat([streams.normal("augment.noise", (20,)) for _ in range(2)])
    assert large.shape == (40,)
    assert len(large.unique()) == 40


def test_the_same_numbers_come_again_after_a_rewind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BLOCK_DRAWS", 4)
    streams = started()

    def draws() -> Tensor:
        found = [streams.uniform("a", (3,)) for _ in range(6)]
        return torch.cat([*found, streams.uniform("b", (2,)), streams.normal("c", (2,))])

    streams.uniform("a", (3,))
    streams.uniform("b", (2,))
    position = streams.position()
    first = draws()
    streams.rewind(position)
    assert torch.equal(draws(), first)


def test_no_uniform_number_rounds_to_two_when_one_is_added(monkeypatch: pytest.MonkeyPatch) -> None:
    def highest(shape: tuple[int, ...], **_: object) -> Tensor:
        return torch.full(shape, 1 - 2**-24)

    monkeypatch.setattr(torch, "rand", highest)
    assert float(started().uniform("trunk.0", (1,))) == HIGHEST
    assert float(torch.tensor(HIGHEST) + 1) < 2


def test_noise_has_the_dtype_that_is_asked_and_the_same_numbers() -> None:
    double = Streams(3, torch.float64)
    double.start(1)
    numbers = double.uniform("trunk.0", (4,))
    assert numbers.dtype == torch.float64
    assert torch.equal(numbers.float(), started().uniform("trunk.0", (4,)))
