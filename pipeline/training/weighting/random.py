"""Random weights (Lin et al., 2022)."""

from __future__ import annotations

from torch import Tensor

from pipeline.training.weighting.base import Step, Weighting, n_active, shares


class RandomWeights(Weighting):
    """Draws new weights at each step: a test of what a strategy must beat.

    Lin, Ye, Zhang and Tsang, "Reasonable effectiveness of random weighting: a litmus test for
    multi-task learning", TMLR 2022, with loss weights drawn from a standard normal distribution:

        w_i = n exp(u_i) / sum_j exp(u_j),    u_i ~ N(0, 1)

    The paper's weights sum to 1. The draws belong to the study's stream: all members of a study
    see the same, as they do with batches and dropout, and an array of any size repeats them.
    """

    def weigh(self, step: Step) -> Tensor:
        """Returns this step's weights."""
        n_tasks = step.losses.shape[1]
        scores = self.streams.normal("weights", (n_tasks,)).to(step.losses)
        return n_active(step.active) * shares(scores.expand_as(step.losses), step.active)
