"""A whole network for K members: input encoder, sharing trunk, one head per task."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pipeline.models.generator import Generator, GeneratorShape
from pipeline.models.heads import LinearHeads, make_heads
from pipeline.models.layers import Embedding, MemberLayer, dropout
from pipeline.models.trunk import Rates
from pipeline.study.catalogue import load

Words = Mapping[str, tuple[Tensor, Tensor | None]]
"""Task to the (B, S) words that it reads, and the (B, T) that it is to write."""


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
        heads: Task to outputs of its head, in the order of the tasks; of a task that writes, what
            the trunk says to its decoder.
        generators: Task to the shape of its decoder, for tasks that write.
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
    generators: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

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


class MultiTaskModel(nn.Module):
    """Inputs of all tasks in, head outputs of every task out, for K members.

    Which parameters belong to which task, `owners` tells.
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
        self.heads = make_heads(
            architecture, n_members, self.sharing.width, self.sharing.one_read, dtype
        )
        self.generators = nn.ModuleList(
            Generator(n_members, GeneratorShape.from_json(shape), dtype)
            for shape in architecture.generators.values()
        )

    def owners(self, name: str) -> tuple[int | None, ...]:
        """Returns the task to which each entry of a parameter's last axis belongs.

        Args:
            name: Of the parameter.

        Returns:
            Task numbers, None for what tasks share; one entry where all are alike.
        """
        if name.startswith("generators."):
            task = list(self.architecture.generators)[int(name.split(".")[1])]
            return (list(self.architecture.heads).index(task),)
        if not name.startswith("heads."):
            return (None,)
        if isinstance(self.heads, LinearHeads):
            return self.heads.owners
        return (int(name.split(".")[1]),)

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

    def decide(
        self, features: Tensor, rates: Rates | None = None, words: Words | None = None
    ) -> dict[str, Tensor]:
        """Maps (K, B, F) features to each task's (K, B, outputs).

        Args:
            features: Encoded inputs.
            rates: Dropout of a training step.
            words: What tasks that write read, and what they are to write; without the latter they
                write by themselves.
        """
        if rates is not None:
            features = dropout(features, rates.inputs, rates.noise, "inputs")
        outputs = self.heads(self.sharing(features, rates), rates)
        decided = dict(zip(self.architecture.heads, outputs, strict=True))
        for task, generator in zip(self.architecture.generators, self.generators, strict=True):
            assert words is not None, f"the decoder of {task} reads words"
            decided[task] = generator(decided[task], *words[task], rates)
        return decided

    def forward(
        self,
        numeric: Tensor,
        codes: Tensor,
        rates: Rates | None = None,
        words: Words | None = None,
    ) -> dict[str, Tensor]:
        """Maps (B, D) numbers and (B, C) codes to each task's (K, B, outputs)."""
        return self.decide(self.encode(numeric, codes), rates, words)


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
