"""One contract for every way of sharing, and a second source for what each computes."""

import json
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from network_cases import HEADS, SeededNoise, architecture, inputs, made
from torch import Tensor, nn

from pipeline.models.architecture import Architecture
from pipeline.models.build import build, initialise, load_member, member_tensors
from pipeline.models.network import MultiTaskModel
from pipeline.models.sharing import SHARED, Sharing
from pipeline.models.trunk import Rates
from pipeline.study import catalogue

SHARINGS = catalogue.names("sharing")
each_sharing = pytest.mark.parametrize("sharing", SHARINGS)
T = len(HEADS)

# --- the contract --------------------------------------------------------------------------------


@each_sharing
@pytest.mark.parametrize("head_layers", [(), (5,)])
@pytest.mark.parametrize("n_codes", [(), (5, 3)])
def test_every_task_gets_its_outputs(
    sharing: str, head_layers: tuple[int, ...], n_codes: tuple[int, ...]
) -> None:
    shape = architecture(sharing, head_layers=head_layers, n_codes=n_codes)
    model = made(shape)
    assert isinstance(model.sharing, Sharing)
    outputs = model(*inputs(shape))
    assert {task: tuple(out.shape) for task, out in outputs.items()} == {
        task: (3, 9, width) for task, width in HEADS.items()
    }
    assert all(tensor.shape[0] == 3 for _, tensor in member_tensors(model))
    one_task = architecture(sharing, heads={"income": 1}, n_codes=n_codes)
    assert made(one_task)(*inputs(one_task))["income"].shape == (3, 9, 1)


@each_sharing
@pytest.mark.parametrize("norm", ["none", "layer", "batch"])
def test_a_member_of_eight_answers_and_learns_as_alone(sharing: str, norm: str) -> None:
    shape = architecture(sharing, norm=norm, activation="relu")
    numeric, codes = inputs(shape)
    chances = torch.linspace(0, 0.7, 8, dtype=torch.float64).reshape(-1, 1, 1)
    together = made(shape, 8)
    found = answers_and_gradients(together, numeric, codes, chances)
    for k in (0, 5):
        alone = build(shape, 1, torch.float64)
        initialise(alone, [10 + k])
        own = answers_and_gradients(alone, numeric, codes, chances[[k]])
        for name, tensor in own.items():
            torch.testing.assert_close(found[name][k], tensor[0], rtol=0, atol=1e-12)


def answers_and_gradients(
    model: MultiTaskModel, numeric: Tensor, codes: Tensor, chance: Tensor
) -> dict[str, Tensor]:
    """Trains a step with dropout everywhere; also returns the running statistics after it."""
    outputs = model(numeric, codes, Rates(SeededNoise(), chance, chance, chance))
    torch.stack([out.square().sum() for out in outputs.values()]).sum().backward()
    gradients = {name: p.grad for name, p in model.named_parameters()}
    statistics = {name: found for name, found in member_tensors(model) if "running_" in name}
    return {**outputs, **gradients, **statistics}  # type: ignore[dict-item]


@each_sharing
@pytest.mark.parametrize("layers", [(6, 5), (6, 5, 4)])
@pytest.mark.parametrize("head_layers", [(), (5,)])
def test_a_task_owns_exactly_what_its_loss_alone_reaches(
    sharing: str, layers: tuple[int, ...], head_layers: tuple[int, ...]
) -> None:
    shape = architecture(sharing, layers=layers, head_layers=head_layers, n_codes=(4, 3))
    if "levels" in shape.options:
        shape = replace(shape, options={**shape.options, "levels": len(layers)})
    model = made(shape, 2)
    numeric, codes = inputs(shape, n_rows=60)  # every code occurs
    outputs = model(numeric, codes)
    reached: dict[str, list[Tensor]] = {name: [] for name, _ in model.named_parameters()}
    for output in outputs.values():
        model.zero_grad()
        output.square().sum().backward(retain_graph=True)
        for name, parameter in model.named_parameters():
            own = parameter.grad
            reached[name].append(torch.zeros_like(parameter[0]) if own is None else own[0])
    for name, gradients in reached.items():
        hit = torch.stack(gradients) != 0  # (T, ...)
        assert bool(hit.any(0).all()), name
        only = torch.where(hit.sum(0) == 1, hit.int().argmax(0), SHARED)
        owners = model.owners(name).broadcast_to(only.shape)
        assert torch.equal(owners, only), name


@each_sharing
def test_a_stored_member_answers_as_before(sharing: str) -> None:
    shape = architecture(sharing, norm="batch")
    model = made(shape)
    numeric, codes = inputs(shape)
    model(numeric, codes)  # moves the running statistics
    model.eval()
    stored = {name: tensor[1].detach().numpy() for name, tensor in member_tensors(model)}
    again = load_member(Architecture.from_json(json.loads(json.dumps(shape.to_json()))), stored)
    for task, output in again(numeric.float(), codes).items():
        torch.testing.assert_close(
            output[0], model(numeric, codes)[task][1].float(), rtol=1e-4, atol=1e-5
        )


@each_sharing
def test_members_start_from_their_own_seeds(sharing: str) -> None:
    shape = architecture(sharing)
    together, other = made(shape, 3), made(shape, 2)
    for (name, ours), (_, theirs) in zip(
        member_tensors(together), member_tensors(other), strict=True
    ):
        assert torch.equal(ours[:2], theirs), name
        assert bool(torch.isfinite(ours).all()), name


def test_an_architecture_written_before_options_is_read() -> None:
    stored = architecture("shared_bottom").to_json()
    del stored["options"]
    assert Architecture.from_json(stored) == architecture("shared_bottom")


# --- a second source: each sharing written with torch.nn, for one member -------------------------


class Stock(nn.Module):
    """Networks of one member out of torch.nn, and where their parameters come from."""

    def __init__(self, model: MultiTaskModel, k: int) -> None:
        super().__init__()
        self.model, self.k = model, k
        self.made: list[tuple[str, tuple[int, ...], nn.Parameter]] = []
        self.shape = model.architecture
        self.tasks = range(len(self.shape.heads))

    def take(self, name: str, at: tuple[int, ...] = (), transpose: bool = False) -> nn.Parameter:
        """Copies a parameter of the member, or what stands `at` an index of it."""
        value = self.model.get_parameter(name)[(self.k, *at)].detach().clone()
        own = nn.Parameter(value.T.contiguous() if transpose else value)
        self.made.append((name, at, own))
        return own

    def linear(self, name: str, at: tuple[int, ...] = ()) -> Callable[[Tensor], Tensor]:
        weight = self.take(f"{name}.weight", at, transpose=True)
        bias = self.take(f"{name}.bias", (*at, 0))
        return lambda x: nn.functional.linear(x, weight, bias)

    def mlp(self, name: str, at: tuple[int, ...] = ()) -> Callable[[Tensor], Tensor]:
        n_layers = len(self.model.get_submodule(f"{name}.layers"))  # type: ignore[arg-type]
        layers = [self.linear(f"{name}.layers.{i}", at) for i in range(n_layers)]

        def run(x: Tensor) -> Tensor:
            for layer in layers:
                x = torch.tanh(layer(x))
            return x

        return run

    def features(self, numeric: Tensor, codes: Tensor) -> list[Tensor]:
        """Returns what each task reads: the same, or with vectors of its own tables."""
        table = self.take("embedding.table")
        starts = [0, *torch.tensor(self.shape.n_codes).cumsum(0).tolist()]
        width = self.shape.embedding
        n_tables = table.shape[1] // width
        read = []
        for t in range(n_tables):
            own = table[:, t * width : (t + 1) * width]
            columns = [
                nn.functional.embedding(codes[:, c].long(), own[low:high])
                for c, (low, high) in enumerate(pairwise(starts))
            ]
            read.append(torch.cat([numeric, *columns], dim=1))
        return read if n_tables > 1 else read * len(self.tasks)

    def heads(self) -> list[Callable[[Tensor], Tensor]]:
        return [self.linear(f"heads.{t}.output") for t in self.tasks]


def stock_shared_bottom(stock: Stock, x: list[Tensor]) -> list[Tensor]:
    trunk = stock.mlp("sharing.trunk")
    return [trunk(x[0]) for _ in stock.tasks]


def stock_separate(stock: Stock, x: list[Tensor]) -> list[Tensor]:
    return [stock.mlp("sharing.networks", (t,))(x[t]) for t in stock.tasks]


def stock_mmoe(stock: Stock, x: list[Tensor]) -> list[Tensor]:
    experts = [stock.mlp("sharing.experts", (g,)) for g in range(stock.shape.options["experts"])]
    given = [expert(x[0]) for expert in experts]
    read = []
    for t in stock.tasks:
        gate = torch.softmax(stock.linear("sharing.gates", (t,))(x[0]), dim=1)
        assert torch.allclose(gate.sum(1), torch.ones(len(gate), dtype=gate.dtype))
        read.append(sum(gate[:, [g]] * one for g, one in enumerate(given)))  # type: ignore[arg-type]
    return read


def stock_cross_stitch(stock: Stock, x: list[Tensor]) -> list[Tensor]:
    for index in range(len(stock.shape.layers)):
        each = [
            torch.tanh(stock.linear(f"sharing.networks.layers.{index}", (t,))(x[t]))
            for t in stock.tasks
        ]
        alpha = stock.take(f"sharing.units.{index}.alpha")
        x = [sum(alpha[t, s] * each[s] for s in stock.tasks) for t in stock.tasks]  # type: ignore[misc]
    return x


def stock_ple(stock: Stock, x: list[Tensor]) -> list[Tensor]:
    n_own = stock.shape.options["task_experts"]
    n_common = stock.shape.options["shared_experts"]
    n_levels = stock.shape.options.get("levels", 1)
    common = x[0]
    for level in range(n_levels):
        path = f"sharing.levels.{level}"
        own = [
            [stock.mlp(f"{path}.experts", (t * n_own + i,))(x[t]) for i in range(n_own)]
            for t in stock.tasks
        ]
        shared = [stock.mlp(f"{path}.experts", (T * n_own + i,))(common) for i in range(n_common)]
        read = []
        for t in stock.tasks:
            gate = torch.softmax(stock.linear(f"{path}.gates", (t,))(x[t]), dim=1)
            both = [*own[t], *shared]
            read.append(sum(gate[:, [g]] * one for g, one in enumerate(both)))
        if level < n_levels - 1:
            gate = torch.softmax(stock.linear(f"{path}.common_gate", (0,))(common), dim=1)
            every = [*(one for each in own for one in each), *shared]
            common = sum(gate[:, [g]] * one for g, one in enumerate(every))  # type: ignore[assignment]
        x = read  # type: ignore[assignment]
    return x


STOCK: dict[str, Callable[[Stock, list[Tensor]], list[Tensor]]] = {
    "shared_bottom": stock_shared_bottom,
    "separate": stock_separate,
    "mmoe": stock_mmoe,
    "cross_stitch": stock_cross_stitch,
    "ple": stock_ple,
    "cgc": stock_ple,
}


@each_sharing
def test_a_member_answers_and_learns_like_its_twin_of_torch(sharing: str) -> None:
    # With head layers each head has parameters of its own: `heads.T.output`.
    shape = architecture(sharing, head_layers=(5,))
    model = made(shape)
    numeric, codes = inputs(shape)
    outputs = model(numeric, codes)
    sum(out.square().sum() for out in outputs.values()).backward()  # type: ignore[union-attr]
    for k in range(2):
        stock = Stock(model, k)
        read = STOCK[sharing](stock, stock.features(numeric, codes))
        expected = [
            head(stock.mlp(f"heads.{t}.hidden")(x))
            for t, (head, x) in enumerate(zip(stock.heads(), read, strict=True))
        ]
        sum(out.square().sum() for out in expected).backward()  # type: ignore[union-attr]
        for out, other in zip(outputs.values(), expected, strict=True):
            torch.testing.assert_close(out[k], other, rtol=0, atol=1e-9)
        # Every parameter of the member has a twin, and as many gradients agree.
        n_numbers = 0
        for name, at, own in stock.made:
            ours = model.get_parameter(name).grad[(k, *at)]  # type: ignore[index]
            theirs = own.grad.T if name.endswith("weight") else own.grad  # type: ignore[union-attr]
            torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-9)
            n_numbers += own.numel()
        assert n_numbers == sum(parameter[0].numel() for parameter in model.parameters())


# --- what one sharing is in terms of another -----------------------------------------------------


def test_mmoe_with_one_expert_is_shared_bottom() -> None:
    bottom = made(architecture("shared_bottom", head_layers=(5,)))
    mmoe = made(architecture("mmoe", experts=1, head_layers=(5,)))
    theirs = dict(bottom.named_parameters())
    with torch.no_grad():
        for name, parameter in mmoe.named_parameters():
            if not name.startswith("sharing.gates"):
                source = theirs[name.replace("sharing.experts", "sharing.trunk")]
                parameter.copy_(source.reshape(parameter.shape))
    args = inputs(bottom.architecture)
    for task, output in bottom(*args).items():
        torch.testing.assert_close(mmoe(*args)[task], output, rtol=0, atol=1e-12)


@pytest.mark.parametrize("chance", [0.0, 0.5])
def test_cross_stitch_with_identity_units_is_separate(chance: float) -> None:
    separate = made(architecture("separate"))
    stitched = made(architecture("cross_stitch", stitch=1.0))
    theirs = dict(separate.named_parameters())
    with torch.no_grad():
        for name, parameter in stitched.named_parameters():
            if ".units." not in name:
                parameter.copy_(theirs[name])
    dropped = torch.full((3, 1, 1), chance, dtype=torch.float64)
    rates = Rates(SeededNoise(), dropped, dropped, dropped)
    args = inputs(separate.architecture)
    for task, output in separate(*args, rates).items():
        torch.testing.assert_close(stitched(*args, rates)[task], output, rtol=0, atol=1e-12)


def test_units_start_as_convex_combinations() -> None:
    model = made(architecture("cross_stitch", stitch=0.8))
    alpha = model.get_parameter("sharing.units.0.alpha")
    torch.testing.assert_close(alpha.sum(2), torch.ones_like(alpha[..., 0]))
    assert torch.allclose(alpha.diagonal(dim1=1, dim2=2), torch.tensor(0.8, dtype=alpha.dtype))
    alone = made(architecture("cross_stitch", heads={"income": 1}))
    assert bool((alone.get_parameter("sharing.units.0.alpha") == 1).all())


def test_cgc_is_ple_of_one_level() -> None:
    cgc, ple = made(architecture("cgc")), made(architecture("ple", levels=1))
    args = inputs(cgc.architecture)
    for task, output in cgc(*args).items():
        assert torch.equal(ple(*args)[task], output)


@pytest.mark.parametrize(("levels", "depths"), [(1, [3]), (2, [1, 2]), (3, [1, 1, 1])])
def test_ple_is_as_deep_as_the_layers_say(levels: int, depths: list[int]) -> None:
    model = made(architecture("ple", layers=(6, 5, 4), levels=levels))
    found = [len(level.experts.layers) for level in model.sharing.levels]  # type: ignore[union-attr,operator]
    assert found == depths
    assert model.sharing.width == 4


def test_parameter_counts_follow_from_the_formulas() -> None:
    # n_in 10 = 4 numbers + 2 columns of 3; layers 6, 5; three tasks with 6 outputs in all.
    trunk, heads, tables = (10 * 6 + 6) + (6 * 5 + 5), 5 * 6 + 6, 8 * 3
    first, second, reach = 10 * 6 + 6, 6 * 5 + 5, 2 + 2
    expected = {
        "shared_bottom": trunk + heads + tables,
        "separate": 3 * trunk + heads + 3 * tables,
        "cross_stitch": 3 * trunk + heads + 3 * tables + 2 * 3 * 3,
        "mmoe": 3 * trunk + 3 * (10 * 3 + 3) + heads + tables,
        "cgc": 8 * trunk + 3 * (10 * reach + reach) + heads + tables,
        "ple": 8 * (first + second) + 3 * (10 * reach + reach) + (10 * 8 + 8)
        + 3 * (6 * reach + reach) + heads + tables,
    }  # fmt: skip
    counts = {
        name: sum(p[0].numel() for p in made(architecture(name), 2).parameters())
        for name in SHARINGS
    }
    assert counts == expected
