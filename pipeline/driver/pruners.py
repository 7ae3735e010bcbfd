"""Rules that stop members early, computed from recorded values alone.

A decision uses the cohorts told before this one was asked and the cohort's own members, never
what happens to have finished: it is the same on any number of workers and after any restart.
Every rule sees scores, higher is better, and gives its decisions at rungs only, so that arrays
wait for each other rarely.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from pipeline.study.seeds import derive_seed
from pipeline.training.members import Stop

Curves = Mapping[int, Sequence[float]]
"""Trial number to its score after each epoch, from epoch 1."""


@dataclass(frozen=True)
class Rung:
    """What is known when a decision is due.

    Attributes:
        epoch: Of the rung.
        told: Curves of the trials of earlier cohorts.
        own: Curves of the cohort's members, up to this epoch for those that still train.
        training: Members to decide on.
    """

    epoch: int
    told: Curves
    own: Curves
    training: frozenset[int]


class Pruner(ABC):
    """One rule.

    Args:
        n_epochs: Most epochs of a trial.
        seed: Of the study.
    """

    def __init__(self, n_epochs: int, seed: int) -> None:
        self.n_epochs = n_epochs
        self.seed = seed

    @abstractmethod
    def rungs(self) -> frozenset[int]:
        """Returns the epochs after which members may be stopped."""

    @abstractmethod
    def decide(self, rung: Rung) -> dict[int, Stop]:
        """Returns the members that must not go on."""


class Never(Pruner):
    """Every trial runs to its end."""

    def rungs(self) -> frozenset[int]:
        """Returns none."""
        return frozenset()

    def decide(self, rung: Rung) -> dict[int, Stop]:
        """Stops nobody."""
        return {}


class Median(Pruner):
    """Stops a member whose best score so far is below the median of all trials' best so far.

    The median stopping rule (Golovin et al., 2017) over told trials and the member's own cohort.
    A trial that was stopped before counts with what it had reached: were it left out, each rung
    would halve those that the rung before had spared. The first sixth of the epochs is spared,
    and fewer than five curves decide nothing; after that about every tenth epoch is a rung.
    """

    least_curves = 5

    def rungs(self) -> frozenset[int]:
        """Returns about ten epochs after the first sixth."""
        first = max(2, self.n_epochs // 6)
        return frozenset(range(first, self.n_epochs, max(1, self.n_epochs // 10)))

    def decide(self, rung: Rung) -> dict[int, Stop]:
        """Stops members below the median of their epoch."""
        best = {
            number: max(curve[: rung.epoch])
            for number, curve in {**rung.told, **rung.own}.items()
            if curve
        }
        if len(best) < self.least_curves:
            return {}
        middle = median(best.values())
        reason = f"below the median {middle:.4f} of {len(best)} trials at epoch {rung.epoch}"
        return {
            number: Stop("pruned", f"{best[number]:.4f} is {reason}")
            for number in sorted(rung.training)
            if best[number] < middle
        }


class Hyperband(Pruner):
    """Brackets of successive halving (Li et al., 2018), factor 3.

    Each trial belongs to one bracket by a hash of its number. Bracket s has its first rung at
    epoch 3**s; at each rung a member goes on if it is in the best third of the bracket's trials
    that reached the rung, in told cohorts and in its own.
    """

    factor = 3

    @property
    def n_brackets(self) -> int:
        """Brackets, so that the last one first decides below the last epoch."""
        count = 1
        while self.factor**count < self.n_epochs:
            count += 1
        return count

    def bracket(self, number: int) -> int:
        """Returns the bracket of a trial: those that start early get more trials."""
        budget = [self.factor ** (self.n_brackets - s) for s in range(self.n_brackets)]
        draw = derive_seed(self.seed, number, "bracket") % sum(budget)
        for s, share in enumerate(budget):
            if draw < share:
                return s
            draw -= share
        raise AssertionError("the draw is below the sum of the shares")

    def rungs(self) -> frozenset[int]:
        """Returns the powers of the factor below the last epoch."""
        powers = {self.factor**s for s in range(self.n_brackets)}
        return frozenset(epoch for epoch in powers if epoch < self.n_epochs)

    def decide(self, rung: Rung) -> dict[int, Stop]:
        """Stops members outside the best third of their bracket."""
        stops: dict[int, Stop] = {}
        reached = {
            number: max(curve[: rung.epoch])
            for number, curve in {**rung.told, **rung.own}.items()
            if len(curve) >= rung.epoch
        }
        for bracket in range(self.n_brackets):
            if self.factor**bracket > rung.epoch:
                continue
            scores = {n: score for n, score in reached.items() if self.bracket(n) == bracket}
            if len(scores) < self.factor:
                continue
            n_kept = max(1, len(scores) // self.factor)
            bar = sorted(scores.values(), reverse=True)[n_kept - 1]
            for number in sorted(rung.training & scores.keys()):
                if scores[number] < bar:
                    reason = f"not in the best third of bracket {bracket} at epoch {rung.epoch}"
                    stops[number] = Stop("pruned", reason)
        return stops
