"""The state of a population in two flat tensors, so that members can be cut and copied at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pipeline.models.build import Architecture, build, initialise, member_tensors


class FlatState:
    """Parameters (K, P) of which the model's own are views, and its running statistics.

    One optimizer update, one best-epoch copy and one cut serve all layers of all members.

    Args:
        architecture: Of the members.
        seeds: Of each member's initial parameters.
        dtype: Of the parameters.
    """

    def __init__(
        self, architecture: Architecture, seeds: Sequence[int], dtype: torch.dtype = torch.float32
    ) -> None:
        self.architecture = architecture
        self.model = build(architecture, len(seeds), dtype)
        initialise(self.model, list(seeds))
        tensors = dict(member_tensors(self.model))
        self._shapes = {name: tuple(tensor.shape[1:]) for name, tensor in tensors.items()}
        self._names = [name for name, _ in self.model.named_parameters()]
        self._extra = [name for name in tensors if name not in set(self._names)]
        self.parameters = torch.cat([tensors[name].detach().flatten(1) for name in self._names], 1)
        self.gradient = torch.zeros_like(self.parameters)
        self._bind()

    @property
    def n_members(self) -> int:
        """K."""
        return int(self.parameters.shape[0])

    @property
    def n_parameters(self) -> int:
        """P."""
        return int(self.parameters.shape[1])

    def segments(self) -> tuple[Tensor, list[int | None]]:
        """Returns the length of each run of parameters with one owner, and its task or None."""
        lengths: list[int] = []
        owners: list[int | None] = []
        for name in self._names:
            owner = int(name.split(".")[1]) if name.startswith("heads.") else None
            size = int(np.prod(self._shapes[name]))
            if owners and owners[-1] == owner:
                lengths[-1] += size
            else:
                owners.append(owner)
                lengths.append(size)
        return torch.tensor(lengths), owners

    def collect_gradient(self) -> Tensor:
        """Copies the model's gradients into one (K, P) tensor and frees them."""
        own = dict(self.model.named_parameters())
        flat = [
            own[name].grad.flatten(1) if own[name].grad is not None  # type: ignore[union-attr]
            else torch.zeros_like(own[name]).flatten(1)
            for name in self._names
        ]  # fmt: skip
        torch.cat(flat, dim=1, out=self.gradient)
        self.model.zero_grad(set_to_none=True)
        return self.gradient

    def keep(self, index: Tensor) -> None:
        """Goes on with the members at `index` only."""
        statistics = [self._buffer(name)[index] for name in self._extra]
        self.parameters = self.parameters[index].clone()
        self.gradient = torch.zeros_like(self.parameters)
        self.model.n_members = len(index)
        for name, values in zip(self._extra, statistics, strict=True):
            self._replace_buffer(name, values)
        self._bind()

    def snapshot(self) -> Tensor:
        """Returns a copy of everything that belongs to each member, (K, P + statistics)."""
        extra = [self._buffer(name).flatten(1) for name in self._extra]
        return torch.cat([self.parameters, *extra], dim=1)

    def restore(self, snapshot: Tensor) -> None:
        """Puts a snapshot of the present members back."""
        self.parameters.copy_(snapshot[:, : self.n_parameters])
        at = self.n_parameters
        for name in self._extra:
            size = int(np.prod(self._shapes[name]))
            self._buffer(name).copy_(self._part(snapshot, at, name))
            at += size

    def named(self, row: Tensor) -> dict[str, NDArray[Any]]:
        """Returns one member's row of a snapshot as named arrays."""
        arrays, at = {}, 0
        for name in (*self._names, *self._extra):
            size = int(np.prod(self._shapes[name]))
            arrays[name] = row[at : at + size].reshape(self._shapes[name]).numpy().copy()
            at += size
        return arrays

    def _bind(self) -> None:
        at = 0
        own = dict(self.model.named_parameters())
        for name in self._names:
            size = int(np.prod(self._shapes[name]))
            own[name].data = self._part(self.parameters, at, name)
            at += size

    def _part(self, flat: Tensor, at: int, name: str) -> Tensor:
        """Returns the columns from `at` on as the tensor of that name, a view."""
        shape = self._shapes[name]
        return flat[:, at : at + int(np.prod(shape))].view(len(flat), *shape)

    def _buffer(self, name: str) -> Tensor:
        return self.model.get_buffer(name)

    def _replace_buffer(self, name: str, values: Tensor) -> None:
        path, _, last = name.rpartition(".")
        module: nn.Module = self.model.get_submodule(path)
        setattr(module, last, values)
