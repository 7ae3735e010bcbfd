"""A pretrained encoder cut between two of its layers: what is below is computed once.

Nothing here knows an architecture. Layers are the list of modules that is as long as the
configuration says; what is above the cut is the model itself, in which lower layers give the states
at the cut whatever they read; and whether this gives what the whole model gives is tried on a
probe.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.errors import DataError

_PROBE = ((3, 4, 5, 6, 7, 8), (9, 10, 11))
"""Two documents of unequal lengths, so that masks matter too."""
_CLOSE = 1e-4
_GIVEN = (0, 1, 2)
"""What layers may give: states alone, or a tuple of them and of attentions."""


class Upper(nn.Module):
    """The layers above a cut, or the whole model where nothing is cut.

    Args:
        model: A Hugging Face encoder; it is changed.
        below: Layers below the cut.
        n_given: What a layer gives: 0 for states alone, else the length of the tuple that they
            come first in.
    """

    def __init__(self, model: nn.Module, below: int, n_given: int = 0) -> None:
        super().__init__()
        layers = layers_of(model) if below else nn.ModuleList()
        for index in range(below):
            layers[index] = _Given(layers[index], n_given)
        self.model = model

    def forward(self, tokens: Tensor, states: Tensor | None, shown: Tensor) -> Tensor:
        """Maps (B, L) tokens, and where there is a cut (B, L, D) states at it, to the last states.

        Args:
            tokens: Numbers of the pretrained tokenizer. Where there is a cut they tell no more
                than places, which some models ask for in every layer.
            states: At the cut.
            shown: (B, L) int64, 1 where a token is read.
        """
        given = [part for part in self.model.modules() if isinstance(part, _Given)]
        for part in given:
            part.states = states
        try:
            found: Tensor = self.model(input_ids=tokens, attention_mask=shown).last_hidden_state
        finally:
            for part in given:
                part.states = None
        return found


class _Given(nn.Module):
    """Stands for a layer below the cut: gives the states at the cut, whatever it reads."""

    states: Tensor | None = None

    def __init__(self, layer: nn.Module, n_given: int) -> None:
        super().__init__()
        self._n_given = n_given
        # Which mask it would read: some models ask the layer.
        self.attention_type = getattr(layer, "attention_type", None)

    def forward(self, *_: Any, **__: Any) -> Any:
        others = [None] * (self._n_given - 1)
        return (self.states, *others) if self._n_given else self.states


def layers_of(model: Any) -> nn.ModuleList:
    """Returns the layers of an encoder, in order.

    Raises:
        DataError: No list of modules is as long as the configuration says.
    """
    count = getattr(model.config, "num_hidden_layers", None)
    for part in model.modules():
        if isinstance(part, nn.ModuleList) and len(part) == count:
            return part
    raise _uncut(model, "no list of layers was found in it")


class _Enough(Exception):  # no error: nothing above is wanted
    """What a layer was to read."""

    def __init__(self, states: Tensor) -> None:
        super().__init__()
        self.states = states


def states_at(model: Any, below: int, tokens: Tensor, shown: Tensor) -> Tensor:
    """Returns the (B, L, D) states that the layer above a cut reads.

    Args:
        model: The whole encoder.
        below: Layers below the cut; where it is all of them, the last states are what is read.
        tokens: (B, L) numbers of its own tokenizer.
        shown: (B, L) int64, 1 where a token is read.
    """

    def stop(_: nn.Module, given: tuple[Any, ...], named: dict[str, Any]) -> None:
        raise _Enough(given[0] if given else named["hidden_states"])

    layers = layers_of(model)
    if below == len(layers):
        last: Tensor = model(input_ids=tokens, attention_mask=shown).last_hidden_state
        return last
    handle = layers[below].register_forward_pre_hook(stop, with_kwargs=True)
    try:
        model(input_ids=tokens, attention_mask=shown)
    except _Enough as enough:
        return enough.states
    finally:
        handle.remove()
    raise _uncut(model, f"its layer {below} was not asked")


def upper_of(model: Any, below: int) -> Upper:
    """Returns what is above a cut, with copies of the weights, tried against the whole model.

    Raises:
        DataError: It gives something else.
    """
    if not below:
        return Upper(copy.deepcopy(model), 0)
    length = max(map(len, _PROBE))
    tokens = torch.tensor([[*row, *[3] * (length - len(row))] for row in _PROBE])
    shown = torch.tensor([[1] * len(row) + [0] * (length - len(row)) for row in _PROBE])
    reason = "what is above the cut gives other states than the whole model"
    for n_given in _GIVEN:
        with torch.no_grad():
            try:
                upper = Upper(copy.deepcopy(model), below, n_given)
                states = states_at(model, below, tokens, shown)
                found = upper(tokens, states, shown)
                whole = model(input_ids=tokens, attention_mask=shown).last_hidden_state
            except DataError:
                raise
            except Exception as error:  # whatever an unknown architecture raises
                reason = f"above the cut it raised {type(error).__name__}: {error}"
                continue
        inside = shown.bool()
        if found.shape == whole.shape and bool(
            torch.isclose(found[inside], whole[inside], atol=_CLOSE, rtol=_CLOSE).all()
        ):
            return upper
    raise _uncut(model, reason)


def trained_names(model: Any, upper: Upper, width: int, layers: int | None) -> list[str]:
    """Returns the parameters of what is above a cut that are trained.

    They are those that have a part in the last states, and none in what the first trained layer
    reads: found by slopes on a probe.

    Args:
        model: The whole encoder; its parameters want no gradient, before and after.
        upper: What is above the cut; likewise.
        width: D.
        layers: Last layers that are trained; None for all of the model.
    """
    row = torch.tensor([_PROBE[0]])
    states = torch.ones(*row.shape, 1) * torch.linspace(-1, 1, width)
    found = with_part(upper, lambda: upper(row, states, torch.ones_like(row)))
    if layers is None:
        return found
    first = len(layers_of(model)) - layers
    lower = {*with_part(model, lambda: states_at(model, first, row, torch.ones_like(row)))}
    return [name for name in found if name.removeprefix("model.") not in lower]


def with_part(module: nn.Module, run: Callable[[], Tensor]) -> list[str]:
    """Returns the parameters of a module that have a part in what it gives."""
    module.requires_grad_(True)
    try:
        with torch.enable_grad():
            found = run()
            named = list(module.named_parameters())
            slopes = torch.autograd.grad(found.sum(), [own for _, own in named], allow_unused=True)
    finally:
        module.requires_grad_(False)
    return [name for (name, _), slope in zip(named, slopes, strict=True) if slope is not None]


class Adapted(nn.Module):
    """A linear map with a low-rank one beside it (Hu et al., 2021, "LoRA").

    W x + b + scale * B A x, in which W and b stay as they are and B starts at 0.

    Args:
        linear: W and b.
        rank: Rows of A.
        scale: alpha / rank.
    """

    def __init__(self, linear: nn.Linear, rank: int, scale: float) -> None:
        super().__init__()
        self.linear, self.scale = linear, scale
        like: Callable[..., Tensor] = linear.weight.new_zeros
        self.lora_a = nn.Parameter(like(rank, linear.in_features), requires_grad=False)
        self.lora_b = nn.Parameter(like(linear.out_features, rank), requires_grad=False)

    @property
    def weight(self) -> Tensor:
        """W, of which some models ask the type."""
        return self.linear.weight

    def forward(self, x: Tensor) -> Tensor:
        """Maps (..., in) to (..., out)."""
        beside = nn.functional.linear(nn.functional.linear(x, self.lora_a), self.lora_b)
        found: Tensor = self.linear(x) + self.scale * beside
        return found


def adapt(upper: Upper, layers: int | None, rank: int, scale: float) -> dict[str, float]:
    """Puts low-rank maps beside all linear ones of the last layers, by default of all.

    Beside all, not the queries and values alone: Dettmers et al. (2023, "QLoRA") needed all to
    reach what training everything reaches.

    Returns:
        The names of A, each with the bound of its uniform start, 1 / sqrt(in).
    """
    every = list(layers_of(upper.model))
    for layer in every if layers is None else every[len(every) - layers :]:
        places = [
            (part, name, child)
            for part in layer.modules()
            for name, child in part.named_children()
            if isinstance(child, nn.Linear)
        ]
        for part, name, child in places:
            setattr(part, name, Adapted(child, rank, scale))
    return {
        f"{name}.lora_a": part.linear.in_features**-0.5
        for name, part in upper.named_modules()
        if isinstance(part, Adapted)
    }


def _uncut(model: Any, reason: str) -> DataError:
    return DataError(
        f"`model.encoder.path`: {type(model).__name__} cannot be cut between its layers: {reason}. "
        "Use `model.encoder.finetune: full`, which cuts nothing, or another model."
    )
