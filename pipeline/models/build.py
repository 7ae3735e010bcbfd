"""A whole network for K members: input encoder, sharing trunk, one head per task."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pipeline.models.generator import Generator, GeneratorShape
from pipeline.models.heads import LinearHeads, make_heads
from pipeline.models.layers import Embedding, MemberLayer, dropout
from pipeline.models.linear_path import LinearPath
from pipeline.models.sharing import SHARED
from pipeline.models.stock import as_sharing
from pipeline.models.texts import NO_TEXTS, Texts
from pipeline.models.trunk import Rates
from pipeline.study.catalogue import load, load_network
from pipeline.text.ragged import TERMS

WRITE_NUMBERS = 2**20
"""Chances of words held at once while writing: more fall out of the cache."""

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
        readers: Encoder of texts to the shape of its network, where its vectors are learned.
        linear: Columns of the term weights that heads read directly; 0 where they do not.
        options: Keys of the section `model` that only this sharing reads, such as `experts`.
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
    options: Mapping[str, Any] = field(default_factory=dict)
    generators: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    readers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    linear: int = 0

    @property
    def n_features(self) -> int:
        """Width of the encoded inputs that a task reads."""
        return self.n_numeric + len(self.n_codes) * self.embedding + self.n_read

    @property
    def n_read(self) -> int:
        """Width of what learned encoders say of texts."""
        return sum(int(shape["width"]) for shape in self.readers.values())

    @property
    def texts(self) -> tuple[str, ...]:
        """Names of the rows of texts that the network reads: see `Part.texts`."""
        return (*self.readers, *((TERMS,) if self.linear else ()))

    @property
    def reads_states(self) -> bool:
        """Whether a batch brings states of tokens: hundreds of numbers for each."""
        return any(shape.get("below") for shape in self.readers.values())

    def with_models_in(self, folder: str) -> Architecture:
        """Returns it with the pretrained model, where it trains one, in another folder."""
        moved = {name: {**shape, "path": folder} if "path" in shape else shape
                 for name, shape in self.readers.items()}  # fmt: skip
        return replace(self, readers=moved)

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
        sharing = as_sharing(load("sharing", architecture.sharing))
        n_tables = len(architecture.heads) if sharing.own_inputs else 1
        self.embedding = (
            Embedding(n_members, architecture.n_codes, architecture.embedding, dtype, n_tables)
            if architecture.n_codes
            else None
        )
        self.readers = nn.ModuleDict(
            {
                name: nn.ModuleList(
                    load_network(name)(n_members, shape, dtype) for _ in range(n_tables)
                )
                for name, shape in architecture.readers.items()
            }
        )
        self._n_tables = n_tables
        self.sharing = sharing(architecture, n_members, architecture.n_features, dtype)
        self.heads = make_heads(
            architecture, n_members, self.sharing.width, self.sharing.one_read, dtype
        )
        self.linear = (
            LinearPath(
                n_members, architecture.linear, architecture.heads, architecture.generators, dtype
            )
            if architecture.linear
            else None
        )
        self.generators = nn.ModuleList(
            Generator(n_members, GeneratorShape.from_json(shape), dtype)
            for shape in architecture.generators.values()
        )

    def owners(self, name: str) -> Tensor:
        """Returns to which task the entries of a parameter belong.

        Args:
            name: Of the parameter.

        Returns:
            Task numbers, `SHARED` for what tasks share; it can be broadcast to the parameter's
            shape without the member axis.
        """
        part, _, rest = name.partition(".")
        if part == "sharing":
            return self.sharing.owners(rest)
        if part == "embedding":
            return self.sharing.input_owners()
        if part == "readers":
            own = self.sharing.input_owners().dim() > 0  # each task's own, as its tables are
            return torch.tensor(int(rest.split(".")[1]) if own else SHARED)
        if part == "generators":
            task = list(self.architecture.generators)[int(rest.partition(".")[0])]
            return torch.tensor(list(self.architecture.heads).index(task))
        if part == "linear" and self.linear is not None:
            return torch.tensor(self.linear.owners)
        if part != "heads":
            return torch.tensor(SHARED)
        if isinstance(self.heads, LinearHeads):
            return torch.tensor(self.heads.owners)
        return torch.tensor(int(rest.partition(".")[0]))

    def encode(
        self,
        numeric: Tensor,
        codes: Tensor,
        texts: Texts = NO_TEXTS,
        rates: Rates | None = None,
    ) -> Tensor:
        """Encodes inputs.

        Args:
            numeric: (B, D), or (K, B, D) where augmentation made members differ.
            codes: (B, C), or (K, B, C) likewise.
            texts: Of the B rows.
            rates: Dropout of a training step, for networks that read texts.

        Returns:
            (K, B, F) features; where each task has tables and readers of its own, F has the
            vectors of all. What a linear path says stands last.
        """
        if numeric.dim() == 2:
            numeric = numeric.expand(self.n_members, *numeric.shape)
        parts = [numeric] if self.embedding is None else [numeric, self.embedding(codes)]
        parts += [
            each[table](texts.tokens[name], rates, f"{name}.{table}", texts.states.get(name))
            for table in range(self._n_tables)
            for name, each in self._readers()
        ]
        if self.linear is not None:
            assert texts.terms is not None, "a linear path reads term weights"
            parts.append(self.linear(texts.terms))
        return torch.cat(parts, dim=2) if len(parts) > 1 else numeric

    def _readers(self) -> Iterator[tuple[str, nn.ModuleList]]:
        for name, each in self.readers.items():
            assert isinstance(each, nn.ModuleList)
            yield name, each

    def decide(
        self, features: Tensor, rates: Rates | None = None, words: Words | None = None
    ) -> Tensor:
        """Maps (K, B, F) features to the outputs of all heads, (K, W, B), task after task.

        Args:
            features: Encoded inputs.
            rates: Dropout of a training step.
            words: What tasks that write read and are to write. The outputs of those named are the
                losses of those words (see `Generator.losses`); else what the trunk says to the
                decoder.
        """
        said = None
        if self.linear is not None:
            width = self.linear.width
            features, said = features[..., :-width], features[..., -width:]
        if rates is not None:
            features = dropout(features, rates.inputs, rates.noise, "inputs")
        if self.sharing.own_inputs:
            features = self._by_task(features)
        outputs: Tensor = self.heads(self.sharing(features, rates), rates)
        if said is not None and self.linear is not None:
            outputs = self.linear.add(outputs, said)
        return outputs if not words else self._scored(outputs, words, rates)

    def _generators(self) -> Iterator[tuple[str, Generator]]:
        for task, generator in zip(self.architecture.generators, self.generators, strict=True):
            assert isinstance(generator, Generator)
            yield task, generator

    def _scored(self, outputs: Tensor, words: Words, rates: Rates | None) -> Tensor:
        """Puts the losses of words in the place of what the trunk says to decoders."""
        heads = self.architecture.heads
        parts = dict(zip(heads, torch.split(outputs, list(heads.values()), dim=1), strict=True))
        for task, generator in self._generators():
            if task not in words:
                continue
            source, target = words[task]
            assert target is not None, "a loss is one of words to write"
            losses = generator.losses(parts[task].mT, source, target, rates).mT  # (K, 2, B)
            parts[task] = nn.functional.pad(losses, (0, 0, 0, heads[task] - 2))
        return torch.cat(list(parts.values()), dim=1)

    def _by_task(self, features: Tensor) -> Tensor:
        """Gives each task the numbers and what its own tables and readers say: (K, T, B, F)."""
        shape, n_tasks = self.architecture, len(self.architecture.heads)
        if features.shape[2] == shape.n_numeric:
            return features.unsqueeze(1)
        # Widths are given: they cannot be found out from a batch without rows.
        n_coded = len(shape.n_codes)
        widths = [shape.n_numeric, n_coded * n_tasks * shape.embedding, n_tasks * shape.n_read]
        numeric, coded, read = torch.split(features, widths, dim=2)
        size = features.shape[:2]
        own = coded.reshape(*size, n_coded, n_tasks, shape.embedding).movedim(3, 1).flatten(3)
        said = read.reshape(*size, n_tasks, shape.n_read).movedim(2, 1)
        return torch.cat([numeric.unsqueeze(1).expand(-1, n_tasks, -1, -1), own, said], dim=3)

    def forward(
        self,
        numeric: Tensor,
        codes: Tensor,
        rates: Rates | None = None,
        words: Words | None = None,
        texts: Texts = NO_TEXTS,
    ) -> dict[str, Tensor]:
        """Maps (B, D) numbers, (B, C) codes and texts to each task's (K, B, outputs).

        Of a task that writes and is named in `words`, the outputs are what it writes.
        """
        outputs = self.decide(self.encode(numeric, codes, texts, rates), rates)
        heads = self.architecture.heads
        parts = torch.split(outputs, list(heads.values()), dim=1)
        answers = {task: part.mT for task, part in zip(heads, parts, strict=True)}
        for task, (source, _) in (words or {}).items():
            answers[task] = self.write(task, answers[task], source)
        return answers

    def write(self, task: str, opening: Tensor, source: Tensor) -> Tensor:
        """Writes texts.

        Args:
            task: Which writes.
            opening: (K, B, width) what the trunk says to its decoder.
            source: (B, S) words that it reads.

        Returns:
            (K, B, T) numbers of words.
        """
        generator = dict(self._generators())[task]
        shape = generator.shape
        at_once = max(16, WRITE_NUMBERS // (self.n_members * shape.beam * shape.vocabulary))
        openings, sources = torch.split(opening, at_once, dim=1), torch.split(source, at_once)
        texts = [
            generator.write(own, words, shape.beam)
            for own, words in zip(openings, sources, strict=True)
        ]
        return torch.cat(texts, dim=1).to(opening.dtype)


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
    with torch.device("cpu"):  # whatever the caller's default device is
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
