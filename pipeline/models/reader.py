"""What every learned encoder of texts is: tokens in, a vector of each document out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from pipeline.models.trunk import Rates
    from pipeline.study.encoder_spec import EncoderSpec


class Reader(nn.Module, ABC):
    """Reads the tokens of documents for K members; one for all tasks, or one a task.

    Every promise of a layer for members holds (see `layers`): parameters are (K, ...) in modules
    of `MemberLayer`, a member's answer depends on its own row alone, and noise comes from streams
    that members share. A document has the same vector whatever the length of others in its batch;
    one without a token has the vector 0. Where no gradient is wanted there may be thousands of
    documents, and a reader cuts its work so that its memory is bounded.

    Args:
        n_members: K.
        shape: Of `shape_of`.
        dtype: Of the parameters.
    """

    width: int
    """D, the width of a document's vector; set by the constructor."""

    @abstractmethod
    def __init__(self, n_members: int, shape: Mapping[str, Any], dtype: torch.dtype) -> None:
        super().__init__()

    @classmethod
    @abstractmethod
    def shape_of(cls, spec: EncoderSpec, n_tokens: int) -> dict[str, Any]:
        """Returns what gives the network its shape, as plain JSON values.

        Args:
            spec: The section of the study, with a trial's values.
            n_tokens: Numbers that a token may have, those of `pipeline.text.numbering` included.
        """

    @abstractmethod
    def forward(
        self, tokens: Tensor, rates: Rates | None, site: str, states: Tensor | None = None
    ) -> Tensor:
        """Reads documents.

        Args:
            tokens: (B, L) int64, `PAD` behind the last of each; or (K, B, L) where members differ.
            rates: Dropout of a training step; None when answering.
            site: Begins the names of its streams of noise.
            states: (B, L, D) of the tokens, where such were prepared.

        Returns:
            (K, B, D).
        """


def blocks(lengths: Tensor, n_tokens: int) -> Iterator[tuple[Tensor, int]]:
    """Yields rows of similar lengths that together have about so many tokens, and the longest."""
    order = lengths.argsort(descending=True, stable=True)
    low = 0
    while low < len(order):
        length = max(1, int(lengths[order[low]]))
        rows = order[low : low + max(1, n_tokens // length)]
        yield rows, length
        low += len(rows)
