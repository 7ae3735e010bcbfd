import math
from collections.abc import Iterator

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from pipeline.models.layers import (
    ACTIVATIONS,
    BatchNorm,
    Embedding,
    LayerNorm,
    Linear,
    MemberLayer,
    dropout,
    relu_dropout,
)

K, B, N_IN, N_OUT = 3, 7, 5, 4


@pytest.fixture(autouse=True)
def float64() -> Iterator[None]:
    """Twins are compared in float64: in float32 the order of a sum shows."""
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
    yield
    torch.set_default_dtype(torch.float32)


class GivenNoise:
    """Noise that a test made: the same numbers for every site."""

    def __init__(self, uniform: Tensor) -> None:
        self.numbers = uniform

    def uniform(self, site: str, shape: tuple[int, ...]) -> Tensor:
        return self.numbers.expand(shape)


def initialised(layer: MemberLayer, seed: int = 0) -> None:
    for member in range(K):
        layer.initialise(member, torch.Generator().manual_seed(seed + member))


def randomise(layer: nn.Module) -> None:
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.normal_()


def assert_twins(
    layer: nn.Module, twins: list[nn.Module], x: Tensor, names: dict[str, str]
) -> None:
    """Checks values, input gradients and parameter gradients of each member."""
    x = x.requires_grad_()
    out = layer(x)
    probe = torch.randn_like(out)
    (out * probe).sum().backward()
    assert x.grad is not None
    for k, twin in enumerate(twins):
        own = x[k].detach().clone().requires_grad_()
        expected = twin(own)
        (expected * probe[k]).sum().backward()
        torch.testing.assert_close(out[k], expected, rtol=0, atol=1e-10)
        torch.testing.assert_close(x.grad[k], own.grad, rtol=0, atol=1e-10)
        for name, twin_name in names.items():
            gradient, theirs = layer.get_parameter(name).grad, twin.get_parameter(twin_name).grad
            assert gradient is not None
            assert theirs is not None
            theirs = theirs.T if theirs.dim() == 2 else theirs.unsqueeze(0)
            torch.testing.assert_close(gradient[k], theirs, rtol=0, atol=1e-10)


def test_linear_is_torch_linear_for_each_member() -> None:
    layer = Linear(K, N_IN, N_OUT, torch.float64)
    initialised(layer)
    twins = []
    for k in range(K):
        twin = nn.Linear(N_IN, N_OUT)
        twin.weight.data, twin.bias.data = layer.weight[k].T.clone(), layer.bias[k, 0].clone()
        twins.append(twin)
    assert_twins(layer, twins, torch.randn(K, B, N_IN), {"weight": "weight", "bias": "bias"})


def norm_twins(layer: LayerNorm, make: type[nn.LayerNorm] | type[nn.BatchNorm1d]) -> list:
    twins = [make(N_OUT) for _ in range(K)]
    for k, twin in enumerate(twins):
        twin.weight.data, twin.bias.data = layer.scale[k, 0].clone(), layer.shift[k, 0].clone()
    return twins


def test_layer_norm_is_torch_layer_norm_for_each_member() -> None:
    layer = LayerNorm(K, N_OUT, torch.float64)
    randomise(layer)
    x = torch.randn(K, B, N_OUT) * 3 + 1
    assert_twins(layer, norm_twins(layer, nn.LayerNorm), x, {"scale": "weight", "shift": "bias"})


def test_batch_norm_is_torch_batch_norm_in_training_and_after() -> None:
    layer = BatchNorm(K, N_OUT, torch.float64)
    randomise(layer)
    twins = norm_twins(layer, nn.BatchNorm1d)
    names = {"scale": "weight", "shift": "bias"}
    for n_rows in (B, 2, 12):  # the running statistics are of several batches
        for module in (layer, *twins):
            module.zero_grad()
        assert_twins(layer, twins, torch.randn(K, n_rows, N_OUT) * 3 + 1, names)
    for k, twin in enumerate(twins):
        torch.testing.assert_close(layer.running_mean[k, 0], twin.running_mean)
        torch.testing.assert_close(layer.running_var[k, 0], twin.running_var)
        twin.eval().zero_grad()
    layer.eval().zero_grad()
    assert_twins(layer, twins, torch.randn(K, B, N_OUT), names)


def test_batch_norm_reads_one_row_by_the_running_values_and_keeps_them() -> None:
    layer = BatchNorm(K, N_OUT, torch.float64)
    initialised(layer)
    layer(torch.randn(K, B, N_OUT))
    mean = layer.running_mean.clone()
    x = torch.randn(K, 1, N_OUT)
    alone = layer(x)
    assert torch.equal(layer.running_mean, mean)
    torch.testing.assert_close(alone, layer.eval()(x), rtol=0, atol=0)


def test_embedding_is_one_torch_embedding_a_column() -> None:
    n_codes, width = (4, 2, 6), 3
    layer = Embedding(K, n_codes, width, torch.float64)
    initialised(layer)
    codes = torch.stack([torch.randint(0, n, (B,)) for n in n_codes], dim=1)
    out = layer(codes.to(torch.int32))
    probe = torch.randn_like(out)
    (out * probe).sum().backward()
    assert layer.table.grad is not None
    for k in range(K):
        tables = [table.detach().clone() for table in layer.table[k].split(list(n_codes))]
        twins = [nn.Embedding.from_pretrained(table, freeze=False) for table in tables]
        expected = torch.cat([twin(codes[:, c]) for c, twin in enumerate(twins)], dim=1)
        (expected * probe[k]).sum().backward()
        torch.testing.assert_close(out[k], expected, rtol=0, atol=1e-10)
        gradient = torch.cat([twin.weight.grad for twin in twins])  # type: ignore[misc]
        torch.testing.assert_close(layer.table.grad[k], gradient, rtol=0, atol=1e-10)


def test_embedding_takes_codes_that_differ_between_members() -> None:
    layer = Embedding(K, (4, 6), 3, torch.float64)
    initialised(layer)
    codes = torch.stack([torch.randint(0, 4, (K, B)), torch.randint(0, 6, (K, B))], dim=2)
    out = layer(codes)
    for k in range(K):
        assert torch.equal(out[k], layer(codes[k])[k])


@pytest.mark.parametrize(
    ("name", "twin"),
    [
        ("relu", nn.ReLU()),
        ("gelu", nn.GELU()),
        ("silu", nn.SiLU()),
        ("tanh", nn.Tanh()),
        ("leaky_relu", nn.LeakyReLU()),
    ],
)
def test_activations_are_those_of_torch(name: str, twin: nn.Module) -> None:
    x = torch.linspace(-4, 4, 101)
    torch.testing.assert_close(ACTIVATIONS[name](x), twin(x), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("layer", "std"),
    [
        (Linear(K, 400, 300, torch.float64), 1 / math.sqrt(3 * 400)),
        (Embedding(K, (300, 100), 16, torch.float64), 1 / math.sqrt(16)),
    ],
)
def test_initial_weights_have_the_spread_they_promise(layer: MemberLayer, std: float) -> None:
    initialised(layer)
    weight = next(layer.parameters()).detach()
    for k in range(K):
        assert float(weight[k].std()) == pytest.approx(std, rel=0.03)


# --- dropout -----------------------------------------------------------------------------------


def test_each_member_keeps_the_share_that_it_does_not_drop() -> None:
    chances = torch.tensor([0.0, 0.1, 0.5, 0.9]).reshape(-1, 1, 1)
    noise = GivenNoise(torch.rand(400, 500))
    out = dropout(torch.ones(4, 400, 500), chances, noise, "site")
    for k, chance in enumerate(chances.flatten().tolist()):
        kept = out[k] > 0
        assert float(kept.double().mean()) == pytest.approx(1 - chance, abs=3e-3)
        torch.testing.assert_close(out[k][kept], torch.full_like(out[k][kept], 1 / (1 - chance)))
        assert float(out[k].mean()) == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_number_next_to_1_never_doubles_an_activation(dtype: torch.dtype) -> None:
    # The largest number that streams give: 1 + (1 - 2**-23) is below 2 in float32.
    noise = GivenNoise(torch.tensor([[1 - 2**-23]], dtype=dtype))
    chances = torch.tensor([0.0, 2**-26, 0.25], dtype=dtype).reshape(-1, 1, 1)
    out = dropout(torch.ones(3, 1, 1, dtype=dtype), chances, noise, "site")
    torch.testing.assert_close(out, 1 / (1 - chances))


def test_dropped_activations_have_no_gradient() -> None:
    x = torch.ones(2, 50, 4, requires_grad=True)
    out = dropout(x, torch.full((2, 1, 1), 0.5), GivenNoise(torch.rand(50, 4)), "site")
    out.sum().backward()
    assert torch.equal(x.grad, out)  # 0 where dropped, 1 / (1 - chance) where kept
    assert torch.equal(out[0], out[1])  # the noise is common to the members


def test_no_chance_is_no_dropout() -> None:
    x = torch.randn(2, 3, 4)
    assert dropout(x, None, GivenNoise(torch.rand(3, 4)), "site") is x


@given(st.floats(0, 0.95), st.floats(0, 0.95))
def test_a_member_that_drops_more_keeps_no_more(low: float, high: float) -> None:
    low, high = min(low, high), max(low, high)
    chances = torch.tensor([low, high]).reshape(-1, 1, 1)
    out = dropout(torch.ones(2, 20, 5), chances, GivenNoise(torch.rand(20, 5)), "site")
    assert not bool(((out[1] > 0) & (out[0] == 0)).any())


# --- rectifier and dropout at once ----------------------------------------------------------------


@pytest.mark.parametrize("fused_from", [0, 10**9])
def test_relu_dropout_is_dropout_of_relu_bit_by_bit(
    monkeypatch: pytest.MonkeyPatch, fused_from: int
) -> None:
    monkeypatch.setattr("pipeline.models.layers.FUSED_NUMBERS", fused_from)
    generator = torch.Generator().manual_seed(0)
    noise = GivenNoise(torch.rand(30, 20, generator=generator))
    chance = torch.tensor([0.0, 0.3, 0.9]).reshape(-1, 1, 1)
    slope = torch.randn(3, 30, 20, generator=generator)
    found = []
    for both in (lambda x: relu_dropout(x, chance, noise, "s"),
                 lambda x: dropout(x.relu(), chance, noise, "s")):  # fmt: skip
        x = torch.randn(3, 30, 20, generator=torch.Generator().manual_seed(1), requires_grad=True)
        out = both(x)
        (gradient,) = torch.autograd.grad(out, x, slope)
        found.append((out.detach(), gradient))
    assert torch.equal(found[0][0], found[1][0])
    assert torch.equal(found[0][1], found[1][1])


def test_the_largest_uniform_number_keeps_and_never_doubles() -> None:
    # Were it 1 - 2^-24, a mask by floor would double the activation: in float32 1 more is 2.
    noise = GivenNoise(torch.full((1, 1), 1 - 2**-23))
    for chance in (0.0, 1e-8, 0.5):
        out = relu_dropout(torch.ones(1, 1, 1), torch.full((1, 1, 1), chance), noise, "s")
        torch.testing.assert_close(out, torch.full((1, 1, 1), 1 / (1 - chance)))
