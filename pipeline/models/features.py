"""How the encoded inputs of a row lie side by side in one tensor, (K, B, F)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.models.architecture import Architecture

PRETRAINED = "pretrained"
"""The encoder whose states a pretrained decoder reads."""


@dataclass(frozen=True)
class FeatureLayout:
    """What stands where among the F features.

    First what the trunk reads: numbers, vectors of categories, vectors of texts. Behind them stands
    what linear models say, and last the states that pretrained decoders read, row by row in one.

    Attributes:
        architecture: Of the network.
        n_tables: Embedding tables and readers of texts beside each other: one for each task where
            tasks share none, and then the vectors of all stand side by side; else 1.
        looked_at: Numbers of the readers whose states decoders look at, in order.
    """

    architecture: Architecture
    n_tables: int
    looked_at: tuple[int, ...]

    def parted(self, features: Tensor) -> tuple[Tensor, Tensor, Mapping[int, Tensor]]:
        """Returns what the trunk reads, what linear models say, and the states by reader.

        The states are (K, B, L, D + 1), as `Reader.read` gives them; none where they were left out.
        """
        shape = self.architecture
        own = len(shape.n_codes) * shape.embedding + shape.n_read
        widths = [shape.n_trunk + self.n_tables * own, shape.n_said]
        inputs, said, states = torch.split(
            features, [*widths, features.shape[2] - sum(widths)], dim=2
        )
        found = {}
        if self.looked_at and states.shape[2]:
            width = int(shape.readers[PRETRAINED]["width"]) + 1
            each = states.chunk(len(self.looked_at), dim=2)
            for table, flat in zip(self.looked_at, each, strict=True):
                found[table] = flat.reshape(*flat.shape[:2], flat.shape[2] // width, width)
        return inputs, said, found

    def by_task(self, features: Tensor) -> Tensor:
        """Gives each task the numbers and what its own tables and readers say: (K, T, B, F)."""
        shape, n_tasks = self.architecture, len(self.architecture.heads)
        if features.shape[2] == shape.n_trunk:
            return features.unsqueeze(1)
        # Widths are given: they cannot be found out from a batch without rows.
        n_coded = len(shape.n_codes)
        widths = [shape.n_trunk, n_coded * n_tasks * shape.embedding, n_tasks * shape.n_read]
        numeric, coded, read = torch.split(features, widths, dim=2)
        size = features.shape[:2]
        own = coded.reshape(*size, n_coded, n_tasks, shape.embedding).movedim(3, 1).flatten(3)
        said = read.reshape(*size, n_tasks, shape.n_read).movedim(2, 1)
        return torch.cat([numeric.unsqueeze(1).expand(-1, n_tasks, -1, -1), own, said], dim=3)
