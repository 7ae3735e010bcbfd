"""The state of a population in two flat tensors, so that members can be cut and copied at once."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pipeline.models.build import Architecture, build, initialise, member_tensors
from pipeline.models.sharing import SHARED
from pipeline.training.devices import CPU


class FlatState:
    """Parameters (K, P) of which the model's own are views, and its running statistics.

    One optimizer update, one best-epoch copy and one cut serve all layers of all members.

    Args:
        architecture: Of the members.
        seeds: Of each member's initial parameters.
        dtype: Of the parameters.
        device: Where they are; they are drawn on the CPU, so that every device starts alike.
    """

    def __init__(
        self,
        architecture: Architecture,
        seeds: Sequence[int],
        dtype: torch.dtype = torch.float32,
        device: torch.device = CPU,
    ) -> None:
        self.architecture = architecture
        self.device = device
        with CPU:  # whatever the caller's default device is
            self.model = build(architecture, len(seeds), dtype)
            initialise(self.model, list(seeds))
        self.model.to(device)
        tensors = dict(member_tensors(self.model))
        self._shapes = {name: tuple(tensor.shape[1:]) for name, tensor in tensors.items()}
        # Looked up once: walking the modules costs more than a small step.
        self._names = [name for name, _ in self.model.named_parameters()]
        self._own = list(self.model.parameters())
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
        """Returns the segment of each parameter, (P,), and the owner of each segment.

        A segment is all that one task owns, or what tasks share (None), which comes first.
        """
        with CPU:  # as in the constructor
            owners = [
                self.model.owners(name).broadcast_to(self._shapes[name]).flatten()
                for name in self._names
            ]
        found, segments = torch.unique(torch.cat(owners), return_inverse=True)
        return segments.to(self.device), [
            None if owner == SHARED else owner for owner in found.tolist()
        ]

    def columns(self, prefix: str) -> Tensor:
        """Returns which columns belong to parameters whose names begin so: (P,) bool."""
        parts = [
            torch.full((int(np.prod(self._shapes[name])),), name.startswith(prefix))
            for name in self._names
        ]
        return torch.cat(parts).to(self.device)

    @property
    def tensors(self) -> list[nn.Parameter]:
        """The model's parameters, (K, ...) each, in the order of the columns."""
        return self._own

    @cached_property
    def shared(self) -> Tensor:
        """Which columns belong to what tasks share: (P,) bool."""
        segments, owners = self.segments()
        common = [segment for segment, owner in enumerate(owners) if owner is None]
        return torch.isin(segments, segments.new_tensor(common))

    @property
    def sharing_tensors(self) -> tuple[list[nn.Parameter], Tensor]:
        """The parameters of which tasks share something, and which of their columns they share."""
        parts = torch.split(self.shared, [own[0].numel() for own in self._own])
        found = [(own, part) for own, part in zip(self._own, parts, strict=True) if part.any()]
        columns = [part for _, part in found]
        return [own for own, _ in found], torch.cat(columns) if columns else self.shared[:0]

    def gradients(self) -> dict[str, Tensor]:
        """Returns the columns of `gradient` of each parameter, (K, ...), by its name."""
        parts = torch.split(self.gradient, [own[0].numel() for own in self._own], dim=1)
        return {
            name: part.view(len(part), *self._shapes[name])
            for name, part in zip(self._names, parts, strict=True)
        }

    def collect_gradient(self) -> Tensor:
        """Copies the model's gradients into one (K, P) tensor and frees them."""
        flat = [
            (torch.zeros_like(own) if own.grad is None else own.grad).flatten(1)
            for own in self._own
        ]
        torch.cat(flat, dim=1, out=self.gradient)
        for own in self._own:
            own.grad = None
        return self.gradient

    def keep(self, index: Tensor) -> None:
        """Goes on with the members at `index` only."""
        statistics = [self._buffer(name)[index] for name in self._extra]
        self.parameters = self.parameters[index].clone()
        self._rebind(statistics)

    def statistics(self) -> list[Tensor]:
        """Returns copies of the running statistics."""
        return [self._buffer(name).clone() for name in self._extra]

    def restore_statistics(self, statistics: Sequence[Tensor]) -> None:
        """Puts copies of the running statistics back."""
        for name, values in zip(self._extra, statistics, strict=True):
            self._buffer(name).copy_(values)

    def _rebind(self, statistics: Sequence[Tensor]) -> None:
        """Makes the model one of the present members."""
        self.gradient = torch.zeros_like(self.parameters)
        self.model.n_members = self.n_members
        for name, values in zip(self._extra, statistics, strict=True):
            self._replace_buffer(name, values)
        self._bind()

    def add(self, seeds: Sequence[int]) -> None:
        """Takes members on, each with the initial parameters of its own seed."""
        fresh = FlatState(self.architecture, seeds, self.parameters.dtype, self.device)
        statistics = [torch.cat([self._buffer(name), fresh._buffer(name)]) for name in self._extra]
        self.parameters = torch.cat([self.parameters, fresh.parameters])
        self._rebind(statistics)

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
        row, arrays, at = row.cpu(), {}, 0
        for name in (*self._names, *self._extra):
            size = int(np.prod(self._shapes[name]))
            arrays[name] = row[at : at + size].reshape(self._shapes[name]).numpy().copy()
            at += size
        return arrays

    def _bind(self) -> None:
        at = 0
        for name, own in zip(self._names, self._own, strict=True):
            own.data = self._part(self.parameters, at, name)
            at += int(np.prod(self._shapes[name]))

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
