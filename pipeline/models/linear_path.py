"""A linear model beside the trunk: from the term weights of texts straight to the heads.

Wide and deep (Cheng et al., 2016): a task's outputs are those of its head plus w . x, with x the
sparse term weights of which the trunk reads a reduction. Rare terms that tell a class at once are
lost in a reduction; here each has a weight of its own for each output.
"""

from __future__ import annotations

from collections.abc import Container, Mapping

import torch
from torch import Tensor, nn

from pipeline.models.layers import MemberLayer
from pipeline.models.sparse import sparse_product
from pipeline.models.texts import Sparse


class LinearPath(MemberLayer):
    """A weight for each term and output.

    Args:
        n_members: K.
        n_terms: V.
        heads: Task to outputs of its head.
        without: Tasks that it has no part in, such as those that write.
        dtype: Of the parameters.

    Attributes:
        columns: (W,) the outputs that it adds to, among those of all heads.
        owners: Task of each.
    """

    columns: Tensor

    def __init__(
        self,
        n_members: int,
        n_terms: int,
        heads: Mapping[str, int],
        without: Container[str],
        dtype: torch.dtype,
    ) -> None:
        super().__init__()
        every = [(index, task) for index, task in enumerate(heads) for _ in range(heads[task])]
        kept = [column for column, (_, task) in enumerate(every) if task not in without]
        self.owners = tuple(every[column][0] for column in kept)
        self.register_buffer("columns", torch.tensor(kept, dtype=torch.int64), persistent=False)
        self.weight = nn.Parameter(torch.empty(n_members, n_terms, len(kept), dtype=dtype))

    @property
    def width(self) -> int:
        """W, the outputs that it adds to."""
        return int(self.weight.shape[2])

    def initialise(self, member: int, generator: torch.Generator) -> None:
        """Starts at 0: nothing is drawn, and the trunk alone decides."""
        with torch.no_grad():
            self.weight[member] = 0

    def forward(self, terms: Sparse) -> Tensor:
        """Maps B sparse rows to what they say at once, (K, B, W)."""
        return sparse_product(terms.starts, terms.items, terms.values, self.weight)

    def add(self, outputs: Tensor, said: Tensor) -> Tensor:
        """Adds (K, B, W) to its part of the outputs of all heads, (K, outputs, B)."""
        return outputs.index_add(1, self.columns, said.mT)
