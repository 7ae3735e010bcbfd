"""Parameters of a stock module, one copy a member: pretrained layers within the (K, P) state."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from threading import RLock
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from pipeline.models.layers import MemberLayer
from pipeline.models.stock import noise_seed, seeded, standing_in

if TYPE_CHECKING:
    from pipeline.models.trunk import Rates

_TURN = RLock()
"""Members' parameters stand in the module while it runs: one thread after the other."""


class Slices(MemberLayer):
    """Runs a module, such as the layers of a pretrained model, with each member's own parameters.

    What is trained is (K, ...) as everywhere, and each member starts with the module's own values;
    what is not trained stays in the module, once for all members. Members run one after the
    other: such layers are bound by their products, which a batched form makes no faster (see
    `TransformerEncoderLayer` in the measurements: 1.09 times), and the module stays what its
    library made it, whatever its architecture.

    Dropout is the module's own, drawn from torch's generator that the common noise seeds at each
    step: a member sees the same luck in every array.

    Args:
        n_members: K.
        module: What runs; it gets no gradient, and is shared by all that are made of it.
        trained: Names of its parameters that members have for themselves.
        dtype: Of the parameters.
        drawn: Of these, those that do not start as the module's but in U(-bound, bound), drawn by
            the member's own generator: name to bound.
    """

    def __init__(
        self,
        n_members: int,
        module: nn.Module,
        trained: Collection[str],
        dtype: torch.dtype,
        drawn: Mapping[str, float] | None = None,
    ) -> None:
        super().__init__()
        self._drawn = dict(drawn or {})
        wanted = set(trained)
        own = {name: tensor for name, tensor in module.named_parameters() if name in wanted}
        if absent := wanted - own.keys():
            raise ValueError(f"The module has no parameter {', '.join(sorted(absent))}.")
        self._keys = {name: name.replace(".", "-") for name in own}
        for name, tensor in own.items():
            every = nn.Parameter(torch.empty(n_members, *tensor.shape, dtype=dtype))
            self.register_parameter(self._keys[name], every)
        wrong = any(tensor.dtype != dtype for tensor in module.parameters())
        self._hold(copy.deepcopy(module).to(dtype) if wrong else module)

    def _hold(self, module: nn.Module) -> None:
        """Takes a module, not as a part: its own parameters are no members'."""
        self._held = (module.requires_grad_(False).eval(),)
        names = {id(tensor): name for name, tensor in module.named_parameters()}
        self._places: list[tuple[dict[str, Any], str, str]] = [
            (part._parameters, key, names[id(tensor)])  # a tensor may stand in several places
            for part in module.modules()
            for key, tensor in part._parameters.items()
            if tensor is not None and names[id(tensor)] in self._keys
        ]

    @property
    def module(self) -> nn.Module:
        """What runs."""
        return self._held[0]

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Slices:
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        here = next(self.module.parameters())
        moved = fn(here)
        if (moved.device, moved.dtype) != (here.device, here.dtype):
            self._hold(copy.deepcopy(self.module)._apply(fn))  # type: ignore[no-untyped-call]
        return self

    def initialise(self, member: int, generator: torch.Generator) -> None:
        """Copies the module's values, and draws what is new."""
        values = dict(self.module.named_parameters())
        with torch.no_grad():
            for name, key in self._keys.items():
                own = getattr(self, key)[member]
                if name in self._drawn:
                    bound = self._drawn[name]
                    own.uniform_(-bound, bound, generator=generator)
                else:
                    own.copy_(values[name])

    def runs(self, rates: Rates | None, site: str) -> Iterator[Callable[..., Any]]:
        """Yields for each member in turn what runs the module with its parameters.

        It runs only until the next member's is asked for.

        Args:
            rates: Dropout of a training step, by `rates.text`; None when answering.
            site: Name of its stream of noise.
        """
        # Unbound, not indexed: the gradient of each index would be as large as all members'.
        unbound = {name: getattr(self, key).unbind(0) for name, key in self._keys.items()}
        chances = None if rates is None or rates.text is None else rates.text.flatten().tolist()
        seed = 0 if rates is None or chances is None else noise_seed(rates.noise, site)
        n_members = len(next(iter(unbound.values())))
        for member in range(n_members):
            own = [(held, key, unbound[name][member]) for held, key, name in self._places]
            chance = 0.0 if chances is None else chances[member]
            with _TURN, standing_in(own), self._dropping(chance, seed):
                yield self.module

    @contextmanager
    def _dropping(self, chance: float, seed: int) -> Iterator[None]:
        """Lets the module drop at a chance; without one nothing of it is in training mode."""
        if not chance:
            yield
            return
        places = [found for part in self.module.modules() if (found := _chance_of(part))]
        before = [getattr(part, key) for part, key in places]
        try:
            self.module.train()
            for part, key in places:
                setattr(part, key, chance)
            with seeded(seed):
                yield
        finally:
            self.module.eval()
            for (part, key), p in zip(places, before, strict=True):
                setattr(part, key, p)


def _chance_of(part: nn.Module) -> tuple[nn.Module, str] | None:
    """Returns where a module has a chance of dropping: a layer's, or a number beside a function."""
    if isinstance(part, nn.Dropout):
        return part, "p"
    named = vars(part).get("dropout")
    return (part, "dropout") if isinstance(named, float) and named > 0 else None
