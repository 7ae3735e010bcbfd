"""Smooth Tchebycheff scalarisation (Lin et al., 2024)."""

from __future__ import annotations

import torch
from torch import Tensor

from pipeline.training.weighting.base import FLOOR, Step, Weighting, inverse, n_active, shares

MU = 1.0


class SmoothTchebycheff(Weighting):
    """Descends mostly what is worst, measured in units of each task's own loss.

    Lin et al., "Smooth Tchebycheff scalarization for multi-objective optimization", ICML 2024, in
    the form of the authors' multi-task experiments:

        S = n mu log sum_i exp( log(L_i / N_i) / mu )
        w_i = n p_i / L_i,    p = softmax_i( log(L_i / N_i) / mu )

    with N_i the nadir, here the mean loss of the member's first epoch, and mu `weights.mu`, by
    default 1: the smaller, the nearer to the largest alone; the paper tries 0.01 to 1. Through
    the first epoch, whose mean is not known yet, S is that of `log`.

    torchjd's STCH is the general form, mu log sum_i exp( lambda_i (f_i - z_i) / mu ); this is it
    for objectives f_i = log L_i, ideal point z_i = log N_i and preference lambda_i = 1. The
    authors' code warms up for four epochs by default; one is enough where an epoch has many
    steps and a study has few epochs.
    """

    def fresh(self, weights: Tensor) -> dict[str, Tensor]:
        """Returns a nadir that is not known yet."""
        return {"nadir": torch.full_like(weights, float("nan"))}

    def weigh(self, step: Step) -> Tensor:
        """Returns the weights."""
        nadir = self.state["nadir"]
        each = inverse(step.losses, step.active)
        known = step.active & nadir.isfinite()
        ratio = step.losses.clamp_min(FLOOR) / nadir.clamp_min(FLOOR)
        scores = ratio.where(known, 1).log() / self.option("mu", MU)
        return n_active(step.active) * shares(scores, step.active) * each

    def end_epoch(self, losses: Tensor) -> None:
        """Notes the nadir of a member's first epoch."""
        nadir = self.state["nadir"]
        self.state["nadir"] = torch.where(nadir.isfinite(), nadir, losses)
