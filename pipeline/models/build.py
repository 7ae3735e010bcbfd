"""A whole network for K members: input encoder, sharing trunk, one head per task."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pipeline.models.layers import Embedding, Linear, MemberLayer, dropout
from pipeline.models.trunk import MLP, Rates
from pipeline.study.catalogue import load


@dataclass(frozen=True)
class Architecture:
    """Everything that gives a network its shape; members of one population share it.

    Attributes:
        sharing: Catalogue name.
        layers: Width of each layer of the trunk.
        activation: Non-linearity.
        norm: `none`, `layer` or `batch`.
        head_layers: Width of each hidden layer of a head.
        embedding: Width of a category's vector.
        n_numeric: Numeric inputs.
        n_codes: Codes of each categorical input.
        heads: Task to outputs of its head, in the order of the tasks.
    """

    sharing: str
    layers: tuple[int, ...]
    activation: str
    norm: str
    head_layers: tuple[int, ...]
    embedding: int
    n_numeric: int
    n_codes: tuple[int, ...]
    heads: Mapping[str, int]

    @property
    def n_features(self) -> int:
        """Width of the encoded inputs."""
        return self.n_numeric + len(self.n_codes) * self.embedding

    def to_json(self) -> dict[str, Any]:
        """Returns plain JSON values; the order of `heads` is kept."""
        return {**asdict(self), "heads": dict(self.heads)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Architecture:
        """Reads what `to_json` gave."""
        tuples = {key: tuple(values[key]) for key in ("layers", "head_layers", "n_codes")}
        return cls(**{**values, **tuples})


class Head(nn.Module):
    """What one task owns: hidden layers, if any, and a linear layer to its outputs."""

    def __init__(
        self, architecture: Architecture, n_members: int, n_in: int, n_out: int, dtype: torch.dtype
    ) -> None:
        super().__init__()
        widths = (n_in, *architecture.head_layers)
        self.hidden = MLP(n_members, widths, architecture.activation, architecture.norm, dtype)
        self.output = Linear(n_members, widths[-1], n_out, dtype)


class MultiTaskModel(nn.Module):
    """Inputs of all tasks in, head outputs of every task out, for K members.

    The parameters of task number t are those whose name starts with `heads.t.`.
    """

    def __init__(self, architecture: Architecture, n_members: int, dtype: torch.dtype) -> None:
        super().__init__()
        self.architecture = architecture
        self.n_members = n_members
        self.embedding = (
            Embedding(n_members, architecture.n_codes, architecture.embedding, dtype)
            if architecture.n_codes
            else None
        )
        sharing = load("sharing", architecture.sharing)
        self.sharing = sharing(architecture, n_members, architecture.n_features, dtype)
        self.heads = nn.ModuleList(
            Head(architecture, n_members, self.sharing.width, n_out, dtype)
            for n_out in architecture.heads.values()
        )

    def encode(self, numeric: Tensor, codes: Tensor) -> Tensor:
        """Encodes inputs.

        Args:
            numeric: (B, D), or (K, B, D) where augmentation made members differ.
            codes: (B, C), or (K, B, C) likewise.

        Returns:
            (K, B, F) features.
        """
        if numeric.dim() == 2:
            numeric = numeric.expand(self.n_members, *numeric.shape)
        if self.embedding is None:
            return numeric
        return torch.cat([numeric, self.embedding(codes)], dim=2)

    def decide(self, features: Tensor, rates: Rates | None = None) -> dict[str, Tensor]:
        """Maps (K, B, F) features to each task's (K, B, outputs)."""
        if rates is not None:
            features = dropout(features, rates.inputs, rates.noise, "inputs")
        read = self.sharing(features, rates)
        tasks = list(self.architecture.heads)
        if len(read) == 1 and not self.architecture.head_layers:
            return self._decide_at_once(read[0], rates)
        reads = read * len(tasks) if len(read) == 1 else read
        chance, noise = (rates.head, rates.noise) if rates else (None, None)
        outputs = {}
        for index, (task, head) in enumerate(zip(tasks, self._heads(), strict=True)):
            x = reads[index]
            if noise is not None:
                x = dropout(x, chance, noise, f"head.{index}")
            x = head.hidden(x, chance, noise, f"head.{index}")
            outputs[task] = head.output(x)
        return outputs

    def _decide_at_once(self, x: Tensor, rates: Rates | None) -> dict[str, Tensor]:
        """Runs linear heads that read the same tensor as one product of the summed width."""
        if rates is not None:
            x = dropout(x, rates.head, rates.noise, "head")
        weight = torch.cat([head.output.weight for head in self._heads()], dim=2)
        bias = torch.cat([head.output.bias for head in self._heads()], dim=2)
        widths = list(self.architecture.heads.values())
        parts = torch.split(torch.baddbmm(bias, x, weight), widths, dim=2)
        return dict(zip(self.architecture.heads, parts, strict=True))

    def _heads(self) -> list[Head]:
        return [head for head in self.heads if isinstance(head, Head)]

    def forward(
        self, numeric: Tensor, codes: Tensor, rates: Rates | None = None
    ) -> dict[str, Tensor]:
        """Maps (B, D) numbers and (B, C) codes to each task's (K, B, outputs)."""
        return self.decide(self.encode(numeric, codes), rates)


def build(
    architecture: Architecture, n_members: int, dtype: torch.dtype = torch.float32
) -> MultiTaskModel:
    """Makes a network whose parameters are not yet set; see `initialise` and `load_member`."""
    return MultiTaskModel(architecture, n_members, dtype)


def initialise(model: MultiTaskModel, seeds: list[int]) -> None:
    """Draws each member's parameters from its own seed alone."""
    for member, seed in enumerate(seeds):
        generator = torch.Generator().manual_seed(seed)
        for module in model.modules():
            if isinstance(module, MemberLayer):
                module.initialise(member, generator)


def member_tensors(model: MultiTaskModel) -> Iterator[tuple[str, Tensor]]:
    """Yields what belongs to members: parameters and running statistics, each (K, ...)."""
    yield from model.named_parameters()
    for name, buffer in model.named_buffers():
        if name.rpartition(".")[2].startswith("running_"):
            yield name, buffer


def load_member(
    architecture: Architecture, parameters: Mapping[str, NDArray[Any]]
) -> MultiTaskModel:
    """Makes a network of one member; see `load_members`."""
    return load_members(architecture, [parameters])


def load_members(
    architecture: Architecture, members: Sequence[Mapping[str, NDArray[Any]]]
) -> MultiTaskModel:
    """Makes a network of members from their named parameters, ready to answer.

    Raises:
        ValueError: A parameter is missing, left over, or of another shape.
    """
    model = build(architecture, len(members))
    expected = dict(member_tensors(model))
    with torch.no_grad():
        for member, parameters in enumerate(members):
            if set(expected) != set(parameters):
                odd = sorted(set(expected) ^ set(parameters))
                raise ValueError(f"The parameters do not fit the architecture: {', '.join(odd)}.")
            for name, tensor in expected.items():
                given = torch.from_numpy(np.array(parameters[name]))
                if given.shape != tensor.shape[1:]:
                    shapes = f"{tuple(given.shape)} and {tuple(tensor.shape[1:])}"
                    raise ValueError(f"The parameter {name} has another shape: {shapes}.")
                tensor[member] = given
    return model.eval()
