"""What every decoder is: it scores and writes the texts of one task, for K members at once."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from torch import Tensor, nn

if TYPE_CHECKING:
    from pipeline.models.trunk import Rates

PAD, UNKNOWN, END = 0, 1, 2
"""Numbers behind the end of a text, of a word outside the vocabulary, of the end itself."""


class Decoder(nn.Module, ABC):
    """What writes the texts of one task, for K members; every promise of a layer holds."""

    @abstractmethod
    def losses(
        self, opening: Tensor, source: Tensor, target: Tensor, rates: Rates | None
    ) -> Tensor:
        """Returns the (K, R, 2) losses of references: means over their words.

        The first is that of -log p of the words, the second that of -log p averaged over the
        vocabulary; with smoothing e the loss is (1 - e) times the first plus e times the second.
        Rows without words, which belong to other tasks, have no loss and cost nothing.

        Args:
            opening: (K, R, width) what the trunk says.
            source: What is read: (R, S) words, or (K, R, L, D + 1) of `Reader.read`.
            target: (R, T) words, PAD behind the end.
            rates: Dropout of a training step.
        """

    @abstractmethod
    def write(self, opening: Tensor, source: Tensor, beam: int) -> Tensor:
        """Returns the (K, R, T) words of texts, PAD from the end on.

        Args:
            opening: (K, R, width) what the trunk says.
            source: As for `losses`.
            beam: Texts kept while searching; 1 is greedy.
        """
