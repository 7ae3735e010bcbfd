"""How long a step of a population takes, measured before a search begins."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from itertools import count

from pipeline.data.prepared import Prepared
from pipeline.training.devices import finish
from pipeline.training.members import Member
from pipeline.training.placement import Placed
from pipeline.training.population import Population

LEAST_STEPS = 3
LEAST_SECONDS = 0.04
"""Enough to tell sizes apart that differ by a tenth; a search of a minute must not notice it."""


def seconds_per_step(
    members: Sequence[Member],
    prepared: Prepared,
    clock: Callable[[], float] = time.perf_counter,
    placed: Placed | None = None,
) -> float:
    """Trains members for a moment and returns the seconds of their quickest step.

    The quickest, since whatever else runs on the machine only makes a step slower.

    Args:
        members: Of one structure.
        prepared: The data.
        clock: Tells seconds.
        placed: The data where they train; by default on the CPU.
    """
    placed = placed or Placed(prepared)
    population = Population(members, prepared, placed=placed)
    steps = (step for epoch in count(1) for step in population.steps_of_epoch(epoch))
    next(steps)  # the first step allocates
    finish(placed.device)
    times: list[float] = []
    started = before = clock()
    while len(times) < LEAST_STEPS or before - started < LEAST_SECONDS:
        next(steps)
        finish(placed.device)
        now = clock()
        times.append(now - before)
        before = now
    return min(times)
