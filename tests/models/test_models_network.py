"""A network of members answers like one of torch, each member from its own inputs and dropout."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from network_cases import PLAIN, SHAPES, SeededNoise, inputs, made
from torch import Tensor, nn

from pipeline.models.architecture import Architecture
from pipeline.models.heads import LinearHeads
from pipeline.models.layers import Linear
from pipeline.models.network import MultiTaskModel
from pipeline.models.trunk import Rates

MODULES = {"relu": nn.ReLU, "gelu": nn.GELU, "tanh": nn.Tanh}


def stock_mlp(
    model: nn.Module, prefix: str, k: int, widths: list[int], shape: Architecture
) -> list:
    """Builds the layers of one member's trunk or head out of torch.nn."""
    modules: list[nn.Module] = []
    for index, (n_in, n_out) in enumerate(pairwise(widths)):
        linear = nn.Linear(n_in, n_out).double()
        linear.weight.data = model.get_parameter(f"{prefix}.layers.{index}.weight")[k].T.clone()
        linear.bias.data = model.get_parameter(f"{prefix}.layers.{index}.bias")[k, 0].clone()
        modules.append(linear)
        if shape.norm == "layer":
            modules.append(nn.LayerNorm(n_out).double())
        if shape.norm == "batch":
            modules.append(nn.BatchNorm1d(n_out).double())
        modules.append(MODULES[shape.activation]())
    return modules


def stock_answer(
    model: MultiTaskModel, k: int, numeric: Tensor, codes: Tensor
) -> dict[str, Tensor]:
    """Answers as member k with torch.nn alone."""
    shape, columns = model.architecture, [numeric]
    if shape.n_codes:
        tables = model.get_parameter("embedding.table")[k].split(list(shape.n_codes))
        columns += [nn.functional.embedding(codes[:, c].long(), t) for c, t in enumerate(tables)]
    widths = [shape.n_features, *shape.layers]
    read = nn.Sequential(*stock_mlp(model, "sharing.trunk", k, widths, shape))(
        torch.cat(columns, dim=1)
    )
    outputs = {}
    for index, task in enumerate(shape.heads):
        head = f"heads.{index}"
        hidden = [widths[-1], *shape.head_layers]
        x = nn.Sequential(*stock_mlp(model, f"{head}.hidden", k, hidden, shape))(read)
        if shape.head_layers:
            weight = model.get_parameter(f"{head}.output.weight")[k]
            bias = model.get_parameter(f"{head}.output.bias")[k, 0]
        else:
            own = torch.tensor([owner == index for owner in model.owners("heads.weight")])
            weight = model.get_parameter("heads.weight")[k][:, own]
            bias = model.get_parameter("heads.bias")[k, 0, own]
        outputs[task] = nn.functional.linear(x, weight.T, bias)
    return outputs


@pytest.mark.parametrize("shape", SHAPES)
def test_a_member_answers_like_a_network_of_torch(shape: Architecture) -> None:
    model = made(shape)
    numeric, codes = inputs(shape)
    outputs = model(numeric, codes)
    assert list(outputs) == list(shape.heads)
    for k in range(3):
        for task, expected in stock_answer(model, k, numeric, codes).items():
            assert outputs[task].shape == (3, 9, shape.heads[task])
            torch.testing.assert_close(outputs[task][k], expected, rtol=0, atol=1e-10)


def test_linear_heads_start_as_separate_heads_do() -> None:
    # The same generator, drawn head after head, gives what a Linear for each task would have.
    heads = LinearHeads(2, 6, (1, 4, 1), torch.float64)
    heads.initialise(1, torch.Generator().manual_seed(3))
    generator = torch.Generator().manual_seed(3)
    for task, width in enumerate((1, 4, 1)):
        one = Linear(2, 6, width, torch.float64)
        one.initialise(1, generator)
        own = torch.tensor([owner == task for owner in heads.owners])
        assert torch.equal(heads.weight[1][:, own], one.weight[1])
        assert torch.equal(heads.bias[1][:, own], one.bias[1])


def test_inputs_may_differ_between_members() -> None:
    model = made(PLAIN)
    numeric, codes = inputs(PLAIN)
    shifted = torch.stack([numeric, numeric + 1, numeric * 2])
    recoded = torch.stack([codes, codes.flip(0), torch.zeros_like(codes)])
    for own_numeric, own_codes in ((shifted, codes), (numeric, recoded), (shifted, recoded)):
        outputs = model(own_numeric, own_codes)
        for k in range(3):
            row_numeric = own_numeric[k] if own_numeric.dim() == 3 else own_numeric
            row_codes = own_codes[k] if own_codes.dim() == 3 else own_codes
            alone = model(row_numeric, row_codes)
            for task in outputs:
                torch.testing.assert_close(outputs[task][k], alone[task][k])


@pytest.mark.parametrize("head_layers", [(), (5,)])
@pytest.mark.parametrize("place", ["inputs", "trunk", "head"])
def test_dropout_touches_those_members_only_that_drop(
    place: str, head_layers: tuple[int, ...]
) -> None:
    model = made(replace(PLAIN, head_layers=head_layers))
    numeric, codes = inputs(PLAIN, n_rows=50)
    chance = torch.tensor([0.0, 0.5, 0.0], dtype=torch.float64).reshape(-1, 1, 1)
    rates = Rates(SeededNoise(), **{place: chance})
    dropped, plain = model(numeric, codes, rates), model(numeric, codes)
    for task in plain:
        torch.testing.assert_close(dropped[task][[0, 2]], plain[task][[0, 2]], rtol=0, atol=1e-12)
        assert not torch.allclose(dropped[task][1], plain[task][1])
