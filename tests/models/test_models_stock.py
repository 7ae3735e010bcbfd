"""A plain torch module as trunk: what it computes, and that a member is the same in every array."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from network_cases import SeededNoise, architecture, inputs, made
from torch import nn

from pipeline.models.architecture import Architecture
from pipeline.models.build import load_member, member_tensors
from pipeline.models.stock import as_sharing
from pipeline.models.trunk import Rates

SOURCE = """
import torch
from torch import nn

class Trunk(nn.Module):
    def __init__(self, n_features, width=6, tied=False):
        super().__init__()
        self.enter = nn.Linear(n_features, width)
        self.norm = nn.BatchNorm1d(width)
        self.drop = nn.Dropout(0.5)
        self.leave = nn.Linear(width, width)
        if tied:
            self.again = self.leave
        self.register_buffer("constant", torch.randn(width))

    def forward(self, x):
        x = self.drop(torch.tanh(self.norm(self.enter(x)))) + self.constant
        return getattr(self, "again", self.leave)(self.leave(x))
"""


@pytest.fixture(scope="module", autouse=True)
def module(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    folder: Path = tmp_path_factory.mktemp("stock")
    (folder / "own_stock.py").write_text(SOURCE)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        import own_stock

        yield own_stock
        del sys.modules["own_stock"]


def shape(**options: Any) -> Architecture:
    values = architecture("shared_bottom", n_codes=(5, 3)).to_json()
    return Architecture.from_json({**values, "sharing": "own_stock:Trunk", "options": options})


def test_it_computes_what_the_module_computes(module: Any) -> None:
    model = made(shape(width=7), 3)
    numeric, codes = inputs(model.architecture)
    features = model.encode(numeric, codes)
    for train in (False, True):
        model.train(train)
        (read,) = model.sharing(features, None)
        assert read.shape == (3, 9, 7)
        for k in range(3):
            twin = module.Trunk(model.architecture.n_features, width=7).double()
            state = {
                name.removeprefix("sharing.trunk."): tensor[k]
                for name, tensor in member_tensors(made(shape(width=7), 3))
                if name.startswith("sharing.trunk.")
            }
            twin.load_state_dict(state, strict=False)
            twin.constant.copy_(model.sharing.trunk.constant)  # type: ignore[union-attr]
            twin.train(train)
            with torch.random.fork_rng():
                torch.manual_seed(0)
                torch.testing.assert_close(read[k], twin(features[k]), rtol=0, atol=1e-12)


@pytest.mark.parametrize("tied", [False, True])
def test_a_member_is_the_same_in_every_array(tied: bool) -> None:
    together, alone = made(shape(tied=tied), 4), made(shape(tied=tied), 1)
    numeric, codes = inputs(together.architecture)
    rates = Rates(SeededNoise())
    for model in (together, alone):
        for out in model(numeric, codes, rates).values():
            out.square().sum().backward(retain_graph=True)
    theirs = dict(alone.named_parameters())
    for name, parameter in together.named_parameters():
        torch.testing.assert_close(parameter.grad[0], theirs[name].grad[0])  # type: ignore[index]
    statistics = dict(member_tensors(alone))
    for name, tensor in member_tensors(together):
        torch.testing.assert_close(tensor[0], statistics[name][0])
    assert len([name for name in theirs if "again" in name]) == 0


def test_dropout_is_drawn_anew_at_each_step_and_never_when_answering() -> None:
    model = made(shape(), 2)
    numeric, codes = inputs(model.architecture)

    class Fresh:
        def uniform(self, site: str, size: tuple[int, ...]) -> torch.Tensor:
            return torch.rand(size)

    state = torch.random.get_rng_state()
    first, second = (model(numeric, codes, Rates(Fresh()))["income"] for _ in range(2))
    assert not torch.allclose(first, second)
    model.eval()
    before = torch.random.get_rng_state()
    assert torch.equal(*(model(numeric, codes)["income"] for _ in range(2)))
    assert torch.equal(before, torch.random.get_rng_state())
    torch.random.set_rng_state(state)


def test_a_batch_of_one_row_trains() -> None:
    model = made(shape(), 2)
    numeric, codes = inputs(model.architecture, n_rows=1)
    assert model(numeric, codes, Rates(SeededNoise()))["income"].shape == (2, 1, 1)


def test_a_stored_member_answers_as_before() -> None:
    model = made(shape())
    numeric, codes = inputs(model.architecture)
    model(numeric, codes, Rates(SeededNoise()))  # moves the running statistics
    model.eval()
    stored = {name: t[1].detach().numpy().copy() for name, t in member_tensors(model)}
    assert any("running_mean" in name for name in stored)
    text = json.dumps(model.architecture.to_json())
    again = load_member(Architecture.from_json(json.loads(text)), stored)
    out = model(numeric, codes)["marital"][1].float()
    torch.testing.assert_close(
        again(numeric.float(), codes)["marital"][0], out, rtol=1e-4, atol=1e-5
    )


def test_a_sharing_stays_what_it_is() -> None:
    from pipeline.models.mmoe import MMoE

    assert as_sharing(MMoE) is MMoE
    assert as_sharing(nn.Linear) is as_sharing(nn.Linear)
