"""Weights that stay: searched, given, or all alike."""

from __future__ import annotations

from torch import Tensor

from pipeline.training.weighting.base import Step, Weighting


class Fixed(Weighting):
    """The static weights throughout: S = sum_i w_i L_i.

    Serves `fixed`, whose ratios are searched or given, and `equal`, whose weights are all 1. Well
    tuned, these are what other strategies have to beat (Xin et al., 2022; Kurin et al., 2022).
    """

    moves = False

    def weigh(self, step: Step) -> Tensor:
        """Returns the static weights; a task without labels has a loss of 0 anyway."""
        return self.weights
