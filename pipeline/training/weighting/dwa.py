"""Dynamic weight average (Liu et al., 2019)."""

from __future__ import annotations

import torch
from torch import Tensor

from pipeline.training.weighting.base import FLOOR, Step, Weighting, n_active, shares

TEMPERATURE = 2.0  # the paper's


class DynamicAverage(Weighting):
    """Weights a task more the slower its loss falls.

    Liu, Johns and Davison, "End-to-end multi-task learning with attention", CVPR 2019:

        w_i = n exp(r_i / T) / sum_j exp(r_j / T),    r_i = L_i(t - 1) / L_i(t - 2)

    with L_i(t) the mean train loss of task i over epoch t, and T `weights.temperature`, by
    default 2. Through the first two epochs of a member all r_i are 1.

    Means are over labelled rows, where other implementations take the mean over batches. A task
    without labels in an epoch keeps the means that it had.
    """

    def fresh(self, weights: Tensor) -> dict[str, Tensor]:
        """Returns two epochs that are not known yet."""
        unknown = torch.full_like(weights, float("nan"))
        return {"older": unknown, "newer": unknown.clone()}

    def weigh(self, step: Step) -> Tensor:
        """Returns the weights of this epoch."""
        rates = self.state["newer"] / self.state["older"].clamp_min(FLOOR)
        scores = torch.where(rates.isfinite(), rates, 1) / self.option("temperature", TEMPERATURE)
        return n_active(step.active) * shares(scores, step.active)

    def end_epoch(self, losses: Tensor) -> None:
        """Moves the history on."""
        known = losses.isfinite()
        self.state["older"] = torch.where(known, self.state["newer"], self.state["older"])
        self.state["newer"] = torch.where(known, losses, self.state["newer"])
