"""How the gradients of a member's tasks lie to each other, looked at now and then.

A look is one forward pass without dropout over a batch of train rows and one backward pass a
task, for the whole population. It changes nothing that trains, and draws from a stream of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

from torch import Tensor

from pipeline.training.gradients import cosines_of, norms_of

COST = 0.03
"""The most that looks may cost, as a share of the training."""


def look_steps(n_tasks: int) -> float:
    """Returns how many training steps a look counts as: one, and half a step a task.

    Measured on one core at 2 to 20 tasks, 1 and 8 members, trunks of 64 and 128: 0.6 to 0.9 of
    that, since only the trunk's gradients are taken and nothing is dropped or moved.
    """
    return 1 + n_tasks / 2


@dataclass(frozen=True)
class Gradients:
    """The gradients of a member's tasks with respect to what they share, on one batch.

    Attributes:
        norms: Task to the length of its gradient, for the tasks that the member trains.
        cosines: Cosine of each pair of those tasks, in the order of the tasks; pairs of which
            one has no gradient are left out.
    """

    norms: Mapping[str, float]
    cosines: Mapping[tuple[str, str], float]

    @property
    def conflicting(self) -> float:
        """Share of pairs whose gradients point apart; NaN where there is no pair."""
        if not self.cosines:
            return float("nan")
        return sum(cosine < 0 for cosine in self.cosines.values()) / len(self.cosines)

    def mean_cosine(self, task: str) -> float:
        """Returns a task's mean cosine with the others; NaN where there is none."""
        own = [cosine for pair, cosine in self.cosines.items() if task in pair]
        return sum(own) / len(own) if own else float("nan")


def is_due(epoch: int, steps_per_epoch: int, n_tasks: int) -> bool:
    """Tells whether to look after an epoch: as soon as the steps so far pay for another look.

    Args:
        epoch: From 1.
        steps_per_epoch: Training steps.
        n_tasks: T; with one there is nothing to compare.
    """
    if n_tasks < 2:
        return False
    looks_per_epoch = COST * steps_per_epoch / look_steps(n_tasks)
    return int(epoch * looks_per_epoch) > int((epoch - 1) * looks_per_epoch)


def describe(gramian: Tensor, tasks: Sequence[str], active: Sequence[bool]) -> Gradients | None:
    """Returns what a member's Gramian says.

    Args:
        gramian: (T, T) inner products of its tasks' gradients.
        tasks: Names of the T tasks.
        active: Whether the member trains each.

    Returns:
        None where a gradient is not finite.
    """
    own = [index for index, trained in enumerate(active) if trained]
    chosen = gramian[own][:, own].double().unsqueeze(0)
    if not bool(chosen.isfinite().all()):
        return None
    names = [tasks[index] for index in own]
    norms, cosines = norms_of(chosen)[0].tolist(), cosines_of(chosen)[0].tolist()
    pairs = {(names[a], names[b]): cosines[a][b] for a, b in combinations(range(len(own)), 2)}
    return Gradients(
        dict(zip(names, norms, strict=True)),
        {pair: cosine for pair, cosine in pairs.items() if cosine == cosine},
    )


@dataclass
class MeanCosines:
    """The mean cosine of each pair over the looks at a member.

    Attributes:
        seen: The cosines of each pair, look by look.
    """

    seen: dict[tuple[str, str], list[float]] = field(default_factory=dict)

    def add(self, gradients: Gradients) -> None:
        """Adds a look."""
        for pair, cosine in gradients.cosines.items():
            self.seen.setdefault(pair, []).append(cosine)

    def means(self) -> dict[str, dict[str, float]]:
        """Returns task to later task to mean cosine."""
        found: dict[str, dict[str, float]] = {}
        for (first, second), cosines in self.seen.items():
            found.setdefault(first, {})[second] = sum(cosines) / len(cosines)
        return found
