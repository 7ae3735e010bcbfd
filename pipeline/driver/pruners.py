"""Rules that stop members early, computed from recorded values alone.

In the fixed order a decision uses the cohorts told before this one was asked and the cohort's own
members, never what happens to have finished: it is the same on any number of workers and after any
restart. In the free order it uses whatever has come that far, or has ended, by then. Every rule
sees scores, higher is better, and gives its decisions at rungs only, so that arrays wait for each
other rarely.
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
        told: Curves of the trials of earlier cohorts; in the free order, of all others that have
            ended or come at least that far.
        own: Curves of the cohort's members, up to this epoch for those that still train; in the
            free order, of the members to decide on.
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


FACTOR = 3
"""Of successive halving: a rung lets the best third go on, and the next is three times as far.
Little depends on it; 3 and 4 are the choices of Li et al. (2018)."""


class Halving(Pruner):
    """Successive halving in one bracket, asynchronous in the free order (ASHA, Li et al., 2020).

    The first rung is at a ninth of the epochs, r, the next at 3 r: at each a member goes on if its
    best score is in the best third of all trials that reached the rung so far, itself among them.
    Nobody waits for a rung to fill: where fewer than three have reached it, all go on. Earlier
    rungs would be cheaper and would mislead: see studies/LOG.md.
    """

    spared = FACTOR**2

    def rungs(self) -> frozenset[int]:
        """Returns the first rung times the powers of the factor, below the last epoch."""
        first = -(-self.n_epochs // self.spared)
        return frozenset(first * power for power in powers_below(-(-self.n_epochs // first)))

    def decide(self, rung: Rung) -> dict[int, Stop]:
        """Stops members outside the best third."""
        scores = reached(rung)
        reason = f"not in the best third of {len(scores)} trials at epoch {rung.epoch}"
        return {
            number: Stop("pruned", f"{scores[number]:.4f} is {reason}")
            for number in outside(scores, rung.training)
        }


class Hyperband(Pruner):
    """Brackets of successive halving (Li et al., 2018), factor 3.

    Each trial belongs to one bracket by a hash of its number. Bracket s has its first rung at
    epoch 3**s; at each rung a member goes on if it is in the best third of the bracket's trials
    that reached the rung, in told cohorts and in its own.
    """

    @property
    def n_brackets(self) -> int:
        """Brackets, so that the last one first decides below the last epoch."""
        return max(1, len(powers_below(self.n_epochs)))

    def bracket(self, number: int) -> int:
        """Returns the bracket of a trial: those that start early get more trials."""
        budget = [FACTOR ** (self.n_brackets - s) for s in range(self.n_brackets)]
        draw = derive_seed(self.seed, number, "bracket") % sum(budget)
        for s, share in enumerate(budget):
            if draw < share:
                return s
            draw -= share
        raise AssertionError("the draw is below the sum of the shares")

    def rungs(self) -> frozenset[int]:
        """Returns the powers of the factor below the last epoch."""
        return powers_below(self.n_epochs)

    def decide(self, rung: Rung) -> dict[int, Stop]:
        """Stops members outside the best third of their bracket."""
        stops: dict[int, Stop] = {}
        scores = reached(rung)
        for bracket in range(self.n_brackets):
            if FACTOR**bracket > rung.epoch:
                continue
            own = {n: score for n, score in scores.items() if self.bracket(n) == bracket}
            reason = f"not in the best third of bracket {bracket} at epoch {rung.epoch}"
            stops |= dict.fromkeys(outside(own, rung.training), Stop("pruned", reason))
        return stops


def powers_below(n_epochs: int) -> frozenset[int]:
    """Returns the powers of the factor below a number of epochs."""
    powers, epoch = set(), 1
    while epoch < n_epochs:
        powers.add(epoch)
        epoch *= FACTOR
    return frozenset(powers)


def reached(rung: Rung) -> dict[int, float]:
    """Returns the best score until the rung of each trial that reached it."""
    return {
        number: max(curve[: rung.epoch])
        for number, curve in {**rung.told, **rung.own}.items()
        if len(curve) >= rung.epoch
    }


def outside(scores: Mapping[int, float], training: frozenset[int]) -> list[int]:
    """Returns which members are not in the best third of the scores; of fewer than three, none."""
    if len(scores) < FACTOR:
        return []
    bar = sorted(scores.values(), reverse=True)[len(scores) // FACTOR - 1]
    return sorted(number for number in training & scores.keys() if scores[number] < bar)
