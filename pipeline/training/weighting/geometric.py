"""The geometric mean of the losses (Chennupati et al., 2019)."""

from __future__ import annotations

from torch import Tensor

from pipeline.training.weighting.base import FLOOR, Step, Weighting, inverse, n_active


class GeometricMean(Weighting):
    """Makes every weighted loss the geometric mean of all.

    Chennupati et al., "MultiNet++: multi-stream feature aggregation and geometric loss strategy
    for multi-task learning", CVPR workshops 2019:

        S = n ( prod_i L_i )^(1 / n),    w_i = ( prod_j L_j )^(1 / n) / L_i

    The paper's S has no factor n: with it weights are 1 for equal losses. A loss in other units
    leaves the direction of the gradient as it was, and changes its length. Losses below 1e-8
    count as that.
    """

    def weigh(self, step: Step) -> Tensor:
        """Returns the weights."""
        logs = step.losses.clamp_min(FLOOR).log().where(step.active, 0)
        mean = (logs.sum(1, keepdim=True) / n_active(step.active).clamp_min(1)).exp()
        return mean * inverse(step.losses, step.active)
