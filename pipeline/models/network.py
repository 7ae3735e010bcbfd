"""A whole network for K members: input encoder, sharing trunk, one head per task."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from pipeline.models.architecture import Architecture
from pipeline.models.decoder import Decoder
from pipeline.models.features import PRETRAINED, FeatureLayout
from pipeline.models.generator import Generator, GeneratorShape
from pipeline.models.heads import LinearHeads, make_heads
from pipeline.models.layers import Embedding, dropout
from pipeline.models.linear_path import LinearPath
from pipeline.models.reader import Reader
from pipeline.models.sharing import SHARED
from pipeline.models.stock import as_sharing
from pipeline.models.texts import NO_TEXTS, Texts
from pipeline.models.trunk import Rates
from pipeline.study.catalogue import load, load_decoder, load_network

WRITE_NUMBERS = 2**20
"""Chances of words held at once while writing: more fall out of the cache."""

Words = Mapping[str, tuple[Tensor, Tensor | None]]
"""Task to the (B, S) words that it reads, and the (B, T) that it is to write."""


class MultiTaskModel(nn.Module):
    """Inputs of all tasks in, head outputs of every task out, for K members.

    Which parameters belong to which task, `owners` tells.

    Args:
        architecture: Its shape.
        n_members: K.
        dtype: Of the parameters, which are not yet set: see `build`.

    Attributes:
        layout: How its encoded inputs lie side by side.
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
        self.sharing = sharing(architecture, n_members, architecture.n_features, dtype)
        self.heads = make_heads(
            architecture, n_members, self.sharing.width, self.sharing.one_read, dtype
        )
        self.linear = (
            LinearPath(n_members, architecture.heads, architecture.linear, dtype)
            if architecture.linear
            else None
        )
        self.generators = nn.ModuleList(
            load_decoder()(n_members, shape, dtype)
            if "path" in shape
            else Generator(n_members, GeneratorShape.from_json(shape), dtype)
            for shape in architecture.generators.values()
        )
        tasks = list(architecture.heads)
        self._tables = {  # of the readers whose states the decoder of a task looks at
            task: tasks.index(task) % n_tables
            for task, shape in architecture.generators.items()
            if "path" in shape
        }
        looked_at = tuple(sorted({*self._tables.values()}))
        self.layout = FeatureLayout(architecture, n_tables, looked_at)

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
        for_decoders: bool = True,
    ) -> Tensor:
        """Encodes inputs.

        Args:
            numeric: (B, D), or (K, B, D) where augmentation made members differ.
            codes: (B, C), or (K, B, C) likewise.
            texts: Of the B rows.
            rates: Dropout of a training step, for networks that read texts.
            for_decoders: Whether pretrained decoders are to look at states too.

        Returns:
            (K, B, F) features, which lie as `FeatureLayout` says.
        """
        if numeric.dim() == 2:
            numeric = numeric.expand(self.n_members, *numeric.shape)
        read, said = torch.split(
            numeric, [self.architecture.n_trunk, self.architecture.n_said], dim=2
        )
        parts = [read] if self.embedding is None else [read, self.embedding(codes)]
        looked_at = self.layout.looked_at if for_decoders else ()
        states = []
        for table in range(self.layout.n_tables):
            for name, each in self._readers():
                given = texts.tokens[name], rates, f"{name}.{table}", texts.states.get(name)
                reader = each[table]
                if name == PRETRAINED and table in looked_at:
                    assert isinstance(reader, Reader)
                    vectors, last = reader.read(*given)
                    states.append(last.flatten(2))
                else:
                    vectors = reader(*given)
                parts.append(vectors)
        parts += [*([] if self.linear is None else [said]), *states]
        if len(parts) == 1:
            return read
        return torch.cat([part.expand(self.n_members, -1, -1) for part in parts], dim=2)

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
                losses of those words (see `Decoder.losses`); else what the trunk says to the
                decoder.
        """
        features, said, states = self.layout.parted(features)
        if rates is not None:
            features = dropout(features, rates.inputs, rates.noise, "inputs")
        if self.sharing.own_inputs:
            features = self.layout.by_task(features)
        outputs: Tensor = self.heads(self.sharing(features, rates), rates)
        if self.linear is not None:
            outputs = self.linear.add(outputs, said)
        return outputs if not words else self._scored(outputs, words, states, rates)

    def _generators(self) -> Iterator[tuple[str, Decoder]]:
        for task, generator in zip(self.architecture.generators, self.generators, strict=True):
            assert isinstance(generator, Decoder)
            yield task, generator

    def _scored(
        self, outputs: Tensor, words: Words, states: Mapping[int, Tensor], rates: Rates | None
    ) -> Tensor:
        """Puts the losses of words in the place of what the trunk says to decoders."""
        heads = self.architecture.heads
        parts = dict(zip(heads, torch.split(outputs, list(heads.values()), dim=1), strict=True))
        for task, generator in self._generators():
            if task not in words:
                continue
            source, target = words[task]
            assert target is not None, "a loss is one of words to write"
            source = states[self._tables[task]] if task in self._tables else source
            losses = generator.losses(parts[task].mT, source, target, rates).mT  # (K, 2, B)
            parts[task] = nn.functional.pad(losses, (0, 0, 0, heads[task] - 2))
        return torch.cat(list(parts.values()), dim=1)

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
        features = self.encode(numeric, codes, texts, rates, bool(words))
        outputs = self.decide(features, rates)
        heads = self.architecture.heads
        parts = torch.split(outputs, list(heads.values()), dim=1)
        answers = {task: part.mT for task, part in zip(heads, parts, strict=True)}
        states = self.layout.parted(features)[2]
        for task, (source, _) in (words or {}).items():
            source = states[self._tables[task]] if task in self._tables else source
            answers[task] = self.write(task, answers[task], source)
        return answers

    def read_by(self, task: str, source: Tensor, texts: Texts) -> Tensor:
        """Returns what a decoder reads of B rows, for `write`.

        Args:
            task: Which writes.
            source: (B, S) words.
            texts: Of the rows.
        """
        if task not in self._tables:
            return source
        each = self.readers[PRETRAINED]
        assert isinstance(each, nn.ModuleList)
        reader = each[self._tables[task]]
        assert isinstance(reader, Reader)
        states = reader.read(texts.tokens[PRETRAINED], None, "", texts.states.get(PRETRAINED))[1]
        return states.expand(self.n_members, -1, -1, -1)

    def write(self, task: str, opening: Tensor, source: Tensor) -> Tensor:
        """Writes texts.

        Args:
            task: Which writes.
            opening: (K, B, width) what the trunk says to its decoder.
            source: (B, S) words that it reads; of a pretrained decoder, (K, B, L, D + 1).

        Returns:
            (K, B, T) numbers of words.
        """
        generator, shape = dict(self._generators())[task], self.architecture.generators[task]
        numbers = self.n_members * shape["beam"] * shape["vocabulary"]
        at_once = max(16, WRITE_NUMBERS // numbers)
        openings = torch.split(opening, at_once, dim=1)
        sources = torch.split(source, at_once, dim=source.dim() // 4)  # rows, or members first
        texts = [
            generator.write(own, words, shape["beam"])
            for own, words in zip(openings, sources, strict=True)
        ]
        return torch.cat(texts, dim=1).to(opening.dtype)
