"""Sparse rows by tables of K members: the product behind averages of words."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def sparse_product(starts: Tensor, items: Tensor, values: Tensor, table: Tensor) -> Tensor:
    """Multiplies sparse rows by a table.

    Row b of member k becomes the sum, over its items i, of `values[i] * table[k, items[i]]`.
    Member by member: the sums of one run while its table is in the cache. On one core that took
    half the time of a dense product over the columns that a batch has (n = 50,000, V = 65,000).

    Args:
        starts: (B + 1,) int64: row b has the items from `starts[b]` up to `starts[b + 1]`.
        items: (n,) int64 rows of the table.
        values: (n,), or (K, n) where members weigh items differently.
        table: (K, V, D).

    Returns:
        (K, B, D).
    """
    weights = values.unbind(0) if values.dim() == 2 else [values] * len(table)
    # Unbound, not indexed: the gradient of each index would be as large as the whole table.
    sums = [
        nn.functional.embedding_bag(
            items, own, starts, mode="sum", per_sample_weights=weight, include_last_offset=True
        )
        for own, weight in zip(table.unbind(0), weights, strict=True)
    ]
    return torch.stack(sums)
