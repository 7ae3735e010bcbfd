"""The forward and the backward pass of a plain network, written out for K members.

A plain network is what most studies train: one trunk of dense layers without normalisation, and
linear heads. Its gradient is a few batched products. Written out they need no graph, land where
the optimizer reads them, and reuse their memory from step to step: what is left of the step of a
small network is arithmetic. Everything else goes through autograd, the reference that this is
tested against.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from pipeline.models.heads import LinearHeads
from pipeline.models.layers import Embedding, Linear, Noise, keep_mask
from pipeline.models.network import MultiTaskModel
from pipeline.models.shared_bottom import SharedBottom
from pipeline.models.trunk import Rates
from pipeline.training.state import FlatState

_ops = torch.ops.aten

SLOPES: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {
    "relu": lambda g, y: _ops.threshold_backward.grad_input(g, y, 0, grad_input=g),
    "tanh": lambda g, y: _ops.tanh_backward.grad_input(g, y, grad_input=g),
    "gelu": lambda g, x: _ops.gelu_backward.grad_input(g, x, grad_input=g),
    "silu": lambda g, x: _ops.silu_backward.grad_input(g, x, grad_input=g),
    "leaky_relu": lambda g, x: _ops.leaky_relu_backward.grad_input(g, x, 0.01, False, grad_input=g),
}
"""From the gradient of an activation's result, and its result y or what it read, x, to that of x;
in place."""


class _Layer:
    """A dense layer, and where its gradients go.

    Args:
        module: With parameters (K, in, out) and (K, 1, out).
        weight_gradient: Like its weight: columns of the state's gradient.
        bias_gradient: Likewise.
    """

    def __init__(
        self, module: Linear | LinearHeads, weight_gradient: Tensor, bias_gradient: Tensor
    ) -> None:
        self.weight, self.bias = module.weight.detach(), module.bias.detach()
        self.turned = self.weight.mT
        self._gradients = weight_gradient, bias_gradient
        # The product is quicker into whole memory, the copy to columns included.
        self._found = torch.empty_like(self.weight, memory_format=torch.contiguous_format)

    def note(self, x: Tensor, g: Tensor) -> None:
        """Writes the gradients: of the (K, B, in) input x and the (K, B, out) gradient g."""
        weight, bias = self._gradients
        weight.copy_(torch.bmm(x.mT, g, out=self._found))
        torch.sum(g, 1, keepdim=True, out=bias)


class _Memory:
    """What a step of B rows works with: a (K, B, H) tensor for each layer.

    Attributes:
        kept: What the slope of the activation is told from; see `SLOPES`.
        active: What the next layer reads, where that is not `kept`.
        masks: See `layers.keep_mask`; a rectifier's slope is told without them.
        gradients: Of what the next layer reads.
    """

    def __init__(self, like: Tensor, n_rows: int, widths: list[int], rectifier: bool) -> None:
        def empty() -> list[Tensor]:
            return [like.new_empty(len(like), n_rows, width) for width in widths]

        self.kept, self.gradients = empty(), empty()
        if rectifier:  # in few tensors, which stay in the cache
            mask = like.new_empty(len(like) * n_rows * max(widths))
            self.masks = [mask[: one.numel()].view(one.shape) for one in self.kept]
            self.active = self.kept
        else:
            self.masks, self.active = empty(), empty()


class PlainPass:
    """Computes outputs and gradients of a plain network; see `is_plain`.

    Made anew whenever members come or go.

    Args:
        state: The members' parameters; gradients are written to `state.gradient`.
    """

    def __init__(self, state: FlatState) -> None:
        model = state.model
        assert isinstance(model.sharing, SharedBottom)
        gradients = state.gradients()

        def layer(name: str, module: Linear | LinearHeads) -> _Layer:
            return _Layer(module, gradients[f"{name}.weight"], gradients[f"{name}.bias"])

        trunk = model.sharing.trunk
        self._model = model
        self._state = state
        self._activation = trunk.activation
        self._name = model.architecture.activation
        self._layers = [
            layer(f"sharing.trunk.layers.{index}", module)
            for index, module in enumerate(trunk.layers)
            if isinstance(module, Linear)
        ]
        assert isinstance(model.heads, LinearHeads)
        self._heads = layer("heads", model.heads)
        self._owners = torch.tensor(model.heads.owners, device=state.device)
        self._table = gradients.get("embedding.table")
        self._memory: dict[int, _Memory] = {}

    def outputs(self, numeric: Tensor, codes: Tensor, rates: Rates) -> Tensor:
        """Maps inputs to the outputs of all heads, (K, W, B), as `MultiTaskModel` does.

        Args:
            numeric: (B, D) or (K, B, D).
            codes: (B, C).
            rates: Dropout of the step.
        """
        self._codes = codes
        self._scale = None if rates.trunk is None else 1 / (1 - rates.trunk)
        x = self._model.encode(numeric, codes)
        self._input_mask = _mask(x, rates.inputs, rates.noise, "inputs")
        x = x if self._input_mask is None else x * self._input_mask
        memory = self._memory_of(x.shape[1])
        self._reads = [x]
        for index, layer in enumerate(self._layers):
            linear = torch.baddbmm(layer.bias, x, layer.weight, out=memory.kept[index])
            site, out = f"trunk.{index}", memory.masks[index]
            mask = _mask(linear, rates.trunk, rates.noise, site, out)
            x = self._activate(linear, mask, memory.active[index])
            self._reads.append(x)
        self._head_mask = _mask(x, rates.head, rates.noise, "head")
        if self._head_mask is not None:
            self._reads[-1] = x * self._head_mask
        return torch.baddbmm(self._heads.bias.mT, self._heads.weight.mT, self._reads[-1].mT)

    def _activate(self, linear: Tensor, mask: Tensor | None, out: Tensor) -> Tensor:
        """Returns the dropped activations, and leaves in `linear` what the slope is told from."""
        if self._name == "relu":  # max(0, m x) is m max(0, x), and its slope is 0 where it is 0
            return (linear if mask is None else linear.mul_(mask)).relu_()
        active = linear.tanh_() if self._name == "tanh" else self._activation(linear)
        return active if mask is None else torch.mul(active, mask, out=out)

    def gradient(self, slopes: Tensor, weights: Tensor) -> Tensor:
        """Returns the (K, P) gradient of the weighted losses of the rows seen last.

        Args:
            slopes: (K, W, B) of each output's own task's loss; changed in place.
            weights: (K, T) of the losses.
        """
        memory = self._memory_of(slopes.shape[2])
        g = slopes.mul_(weights.index_select(1, self._owners).unsqueeze(2)).mT
        self._heads.note(self._reads[-1], g)
        g = torch.bmm(g, self._heads.turned, out=memory.gradients[-1])
        if self._head_mask is not None:
            g *= self._head_mask
        slope = SLOPES[self._name]
        for index in reversed(range(len(self._layers))):
            if self._scale is not None:
                # What a rectifier dropped has slope 0 whatever it is multiplied by.
                g *= self._scale if self._name == "relu" else memory.masks[index]
            slope(g, memory.kept[index])
            self._layers[index].note(self._reads[index], g)
            if index:
                g = torch.bmm(g, self._layers[index].turned, out=memory.gradients[index - 1])
        if self._table is not None:
            self._note_table(g)
        return self._state.gradient

    def _note_table(self, g: Tensor) -> None:
        """Writes the gradient of the vectors of categories, given that of the first layer."""
        assert isinstance(self._model.embedding, Embedding)
        assert self._table is not None
        n_numbers = self._model.architecture.n_numeric
        own = torch.bmm(g, self._layers[0].weight[:, n_numbers:].mT)  # (K, B, C * d)
        if self._input_mask is not None:
            own *= self._input_mask[..., n_numbers:]
        rows = (self._codes.to(torch.int64) + self._model.embedding.offsets).flatten()  # (B * C)
        n_members, n_codes, width = self._table.shape
        vectors = own.view(n_members, len(rows), width).movedim(0, 1).reshape(len(rows), -1)
        found = _ops.embedding_dense_backward.default(vectors, rows, n_codes, -1, False)
        self._table.copy_(found.view(n_codes, n_members, width).movedim(1, 0))

    def _memory_of(self, n_rows: int) -> _Memory:
        memory = self._memory.get(n_rows)
        if memory is None:
            widths = [layer.weight.shape[2] for layer in self._layers]
            like = self._state.parameters
            memory = self._memory[n_rows] = _Memory(like, n_rows, widths, self._name == "relu")
        return memory


def _mask(
    x: Tensor, chance: Tensor | None, noise: Noise, site: str, out: Tensor | None = None
) -> Tensor | None:
    """Returns what x is multiplied by to drop some of it; None where nobody drops."""
    return None if chance is None else keep_mask(noise.uniform(site, x.shape[1:]), chance, out)


def is_plain(model: MultiTaskModel) -> bool:
    """Tells whether `PlainPass` computes a network."""
    return (
        type(model.sharing) is SharedBottom
        and not model.sharing.trunk.norms
        and isinstance(model.heads, LinearHeads)
        and not len(model.generators)
        and not model.architecture.texts
        and model.linear is None
        and bool(model.architecture.layers)
        and model.architecture.activation in SLOPES
    )
