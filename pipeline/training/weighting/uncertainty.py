"""Learned uncertainties (Kendall et al., 2018)."""

from __future__ import annotations

import torch
from torch import Tensor

from pipeline.training.weighting.base import Step, Weighting
from pipeline.training.weighting.moments import fresh_moments, move


class Uncertainty(Weighting):
    """Weights each loss by a learned variance.

    Kendall, Gal and Cipolla, "Multi-task learning using uncertainty to weigh losses for scene
    geometry and semantics", CVPR 2018:

        S = sum_i ( exp(-s_i) L_i + s_i ),    w_i = exp(-s_i),    dS / ds_i = 1 - exp(-s_i) L_i

    with s_i = log sigma_i^2 the log-variance of task i, 0 at the start. Left alone, exp(-s_i)
    tends to 1 / L_i.

    The paper halves S, and the weight of a regression against that of a classification; here, as
    in most implementations, all tasks have one form, and the half is left out so that weights are
    1 at the start (the gradient of s doubles, which Adam does not see). The log-variances have
    moments of their own and no weight decay, which would draw the weights to 1 (LibMTL leaves
    them in the network's optimizer, decay included). Their learning rate is `weights.own_lr`; where
    it is not given, the member's own at each step, warm-up and schedule included, as if they were
    parameters of the network.
    """

    def fresh(self, weights: Tensor) -> dict[str, Tensor]:
        """Returns log-variances of 0, and their moments."""
        return {"s": torch.zeros_like(weights), **fresh_moments(weights)}

    def weigh(self, step: Step) -> Tensor:
        """Returns exp(-s), and then moves s down its gradient."""
        s = self.state["s"]
        weights = torch.where(step.active, torch.exp(-s), 0)
        own = self.option("own_lr", float("nan"))
        lr = torch.where(own.isnan(), step.lr, own)
        move(s, 1 - weights * step.losses, self.state, step.active, lr)
        return weights
