"""The sum of the logarithms of the losses."""

from __future__ import annotations

from torch import Tensor

from pipeline.training.weighting.base import Step, Weighting, inverse


class LogLoss(Weighting):
    """Descends the logarithm of each loss, so that no unit of a loss matters.

        S = sum_i log L_i,    w_i = 1 / L_i

    The scale-invariant baseline of Navon et al., "Multi-task learning as a bargaining game", ICML
    2022: the gradient stays as it is where a loss is multiplied by a constant. It is also where
    `uncertainty` tends to, reached at once, and differs from `geometric` by the length of the
    gradient only. Losses below 1e-8 count as that.
    """

    def weigh(self, step: Step) -> Tensor:
        """Returns the weights."""
        return inverse(step.losses, step.active)
