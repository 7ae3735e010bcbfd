"""Fast adaptive multitask optimisation (Liu et al., 2023)."""

from __future__ import annotations

import torch
from torch import Tensor

from pipeline.training.weighting.base import FLOOR, Step, Weighting, n_active, shares
from pipeline.training.weighting.moments import fresh_moments, move

LR = 0.025  # the paper's
DECAY = 1e-3  # the paper's Algorithm 2: pulls the logits, and so the weights, together


class Famo(Weighting):
    """Lets all losses fall at one rate, by what each step did to them.

    Liu, Feng, Stone and Liu, "FAMO: fast adaptive multitask optimization", NeurIPS 2023:

        z = softmax(xi),    w_i = n c z_i / L_i,    c = 1 / sum_j z_j / L_j
        xi <- Adam( xi, J^T delta + decay xi ),    J = dz / dxi
        delta_i = log L_i(before the step) - log L_i(after it)

    with the losses before and after of one batch; xi is 0 at the start. Its learning rate is
    `weights.own_lr`, by default 0.025, and decay is 0.001, both as in the paper (the authors' code
    has a decay of 0.00001). J^T delta = z * (delta - sum_j z_j delta_j).

    The paper's weights sum to 1, and it subtracts a lower bound of each loss: 0 here, since every
    kind of task has a loss of at least 0. The second look at the batch is made with the same
    dropout and augmentation, so that delta shows the step alone; it costs a forward pass.
    """

    looks_again = True

    def fresh(self, weights: Tensor) -> dict[str, Tensor]:
        """Returns logits of 0, their moments, and room for the losses of the last step."""
        zeros = torch.zeros_like(weights)
        return {"logits": zeros, **fresh_moments(weights), "before": zeros.clone()}

    def weigh(self, step: Step) -> Tensor:
        """Returns the weights, and remembers the losses."""
        losses = step.losses + FLOOR
        self.state["before"] = losses
        parts = shares(self.state["logits"], step.active) / losses
        parts = parts.where(step.active, 0)
        total = parts.sum(1, keepdim=True)
        return n_active(step.active) * parts / torch.where(total > 0, total, 1)

    def look(self, step: Step) -> None:
        """Moves the logits by what the step did to the losses."""
        delta = (self.state["before"] / (step.losses + FLOOR)).log().where(step.active, 0)
        logits = self.state["logits"]
        z = shares(logits, step.active)
        slope = z * (delta - (z * delta).sum(1, keepdim=True))
        gradient = slope + DECAY * logits
        move(logits, gradient, self.state, step.active, self.option("own_lr", LR))
