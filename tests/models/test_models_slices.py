"""Parameters of a stock module as slices of the members' state."""

import pytest
import torch
from torch import Tensor, nn

from pipeline.models.slices import Slices
from pipeline.models.trunk import Rates
from pipeline.training.streams import Streams


def stock() -> nn.Module:
    """Returns layers of which the last uses the first one's weight again."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        module = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5), nn.LayerNorm(4), nn.Linear(4, 4))
    module[3].weight = module[0].weight
    return module


TRAINED = ["0.weight", "2.weight", "3.bias"]


def make(n_members: int, module: nn.Module | None = None) -> Slices:
    slices = Slices(n_members, module or stock(), TRAINED, torch.float64)
    for member in range(n_members):
        slices.initialise(member, torch.Generator().manual_seed(member))
    return slices


def rates(*chances: float) -> Rates:
    streams = Streams(5, torch.float64)
    streams.start(1)
    return Rates(streams, text=torch.tensor(chances).reshape(-1, 1, 1))


def results(slices: Slices, x: Tensor, used: Rates | None = None) -> Tensor:
    return torch.stack([run(x) for run in slices.runs(used, "here")])


X = torch.linspace(-1, 1, 12, dtype=torch.float64).reshape(3, 4)


def test_each_member_starts_as_the_module_and_learns_as_it_does() -> None:
    slices, twin = make(2), stock().double().eval()
    found = results(slices, X)
    torch.testing.assert_close(found, twin(X).expand(2, -1, -1))
    found.square().sum().backward()  # type: ignore[no-untyped-call]
    twin(X).square().sum().backward()
    expected = dict(twin.named_parameters())
    for name in TRAINED:
        own = slices.get_parameter(name.replace(".", "-"))
        slope = expected[name].grad
        assert own.grad is not None
        assert slope is not None
        torch.testing.assert_close(own.grad, slope.expand(2, *slope.shape))


def test_what_is_not_trained_is_held_once_and_gets_no_gradient() -> None:
    module = stock().double()
    first, second = make(1, module), make(3, module)
    assert first.module is second.module
    assert [name for name, _ in first.named_parameters()] == ["0-weight", "2-weight", "3-bias"]
    results(second, X).sum().backward()  # type: ignore[no-untyped-call]
    assert all(parameter.grad is None for parameter in module.parameters())


@pytest.mark.parametrize("chances", [(0.3, 0.0, 0.6), (0.2, 0.2, 0.2)])
def test_a_member_drops_the_same_alone(chances: tuple[float, ...]) -> None:
    together = results(make(3), X, rates(*chances))
    for member, chance in enumerate(chances):
        alone = results(make(1), X, rates(chance))
        torch.testing.assert_close(together[member], alone[0], rtol=0, atol=0)
    plain = results(make(1), X)[0]
    assert not torch.equal(together[2], plain)


def test_the_module_is_left_as_it_was() -> None:
    slices = make(2)
    before = slices.module.get_parameter("0.weight")
    with torch.no_grad():
        slices.get_parameter("0-weight").add_(1)
    results(slices, X, rates(0.9, 0.9))
    assert slices.module.get_parameter("0.weight") is before
    assert slices.module.get_submodule("1").p == 0.5
    assert not slices.module.training


def test_what_is_new_is_drawn_from_the_members_own_generator() -> None:
    slices = Slices(2, stock(), TRAINED, torch.float64, {"3.bias": 0.25})
    for member, seed in enumerate((7, 8)):
        slices.initialise(member, torch.Generator().manual_seed(seed))
    first, second = slices.get_parameter("3-bias").detach()
    assert not torch.equal(first, second)
    assert first.abs().max() <= 0.25
    alone = Slices(1, stock(), TRAINED, torch.float64, {"3.bias": 0.25})
    alone.initialise(0, torch.Generator().manual_seed(8))
    torch.testing.assert_close(alone.get_parameter("3-bias")[0], second, rtol=0, atol=0)


def test_a_name_that_the_module_lacks_is_refused() -> None:
    with pytest.raises(ValueError, match=r"no parameter 9\.weight"):
        Slices(1, stock(), ["9.weight"], torch.float32)
