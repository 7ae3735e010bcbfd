"""Linear models beside the trunk: what they say of a row is added to their task's outputs.

They are fitted before training (see `data.linear_fitting`) and their outputs are inputs here; a
member learns one number for each: how far its head goes along with it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from pipeline.models.layers import MemberLayer


class LinearPath(MemberLayer):
    """A scale for each task: its outputs become those of its head plus (1 + scale) * said.

    Args:
        n_members: K.
        heads: Task to outputs of its head.
        tasks: Those that have a linear model.
        dtype: Of the parameters.

    Attributes:
        columns: (W,) the outputs that it adds to, among those of all heads.
        places: (W,) the scale of each.
        owners: Task of each scale.
    """

    columns: Tensor
    places: Tensor

    def __init__(
        self, n_members: int, heads: Mapping[str, int], tasks: Sequence[str], dtype: torch.dtype
    ) -> None:
        super().__init__()
        every = [task for task, width in heads.items() for _ in range(width)]
        columns = [column for column, task in enumerate(every) if task in tasks]
        places = [tasks.index(every[column]) for column in columns]
        self.owners = tuple(list(heads).index(task) for task in tasks)
        self.register_buffer("columns", torch.tensor(columns), persistent=False)
        self.register_buffer("places", torch.tensor(places), persistent=False)
        self.scale = nn.Parameter(torch.empty(n_members, len(tasks), dtype=dtype))

    def initialise(self, member: int, generator: torch.Generator) -> None:
        """Starts at 0, the model as it was fitted; decay draws there too."""
        with torch.no_grad():
            self.scale[member] = 0

    def add(self, outputs: Tensor, said: Tensor) -> Tensor:
        """Adds (K, B, W) to its part of the outputs of all heads, (K, outputs, B)."""
        weight = (1 + self.scale)[:, None, self.places]
        return outputs.index_add(1, self.columns, (weight * said).mT)
