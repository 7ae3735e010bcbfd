"""Soft optimal uncertainty weighting (Kirchdorfer et al., 2024)."""

from __future__ import annotations

from torch import Tensor

from pipeline.training.weighting.base import Step, Weighting, inverse, n_active, shares

TEMPERATURE = 1.0


class SoftOptimal(Weighting):
    """Weights by a softmax of the inverse losses.

    Kirchdorfer et al., "Analytical uncertainty-based loss weighting in multi-task learning",
    arXiv 2408.07985: the variances that `uncertainty` learns have a closed form, sigma_i ~ L_i,
    whose weights a softmax tempers:

        w_i = n exp(1 / (T L_i)) / sum_j exp(1 / (T L_j))

    with L_i held while differentiating, and T `weights.temperature`. The paper's weights sum to
    1, and it searches T for each data set; so should a study: `{low: 0.1, high: 100, log: true}`.
    The default 1 is where the softmax takes the inverse losses as they are. Losses below 1e-8
    count as that; a task whose loss comes near 0 takes all the weight, the more the smaller T.
    """

    def weigh(self, step: Step) -> Tensor:
        """Returns the weights."""
        scores = inverse(step.losses, step.active) / self.option("temperature", TEMPERATURE)
        return n_active(step.active) * shares(scores, step.active)
