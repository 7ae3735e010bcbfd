"""How long a step of a population takes and what it holds, measured before a search begins."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count

from pipeline.data.prepared import Prepared
from pipeline.training.devices import finish, peak_bytes, restart_peak
from pipeline.training.members import Member
from pipeline.training.placement import Placed
from pipeline.training.population import Population
from pipeline.training.predict import GPU_CHUNK_NUMBERS

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


MEMORY_SHARE = 0.8
"""Of the free memory: the rest is for what measuring cannot foresee, such as fragments."""

ANSWER_BYTES = 8 * 4 * GPU_CHUNK_NUMBERS
"""What answering the valid rows may hold: eight layers of a chunk, in float32."""


@dataclass(frozen=True)
class Memory:
    """What an array holds on its device, in bytes.

    Attributes:
        peak: In a training step.
        resting: Between its epochs, while other arrays train.
        answers: On the valid rows.
    """

    peak: float
    resting: float
    answers: float


def memory_of(members: Sequence[Member], placed: Placed) -> Memory:
    """Trains members for two steps and returns what they held, the data aside.

    Args:
        members: Of one structure.
        placed: The data on a device that tells its memory.
    """
    device = placed.device
    placed.put_there()
    restart_peak(device)
    before = peak_bytes(device)
    population = Population(members, placed.prepared, placed=placed)
    steps = population.steps_of_epoch(1)
    for _ in range(min(2, population.steps_per_epoch)):
        next(steps)
    finish(device)
    state = population.state
    flat = state.parameters.numel() * state.parameters.element_size()
    kept = 2 + len(population.optimizer.state_names)  # parameters, gradient, what is remembered
    outputs = sum(state.architecture.heads.values()) * len(members) * len(placed.part("valid"))
    # Each answer stands in its chunk and among all.
    return Memory(peak_bytes(device) - before, kept * flat, 2 * 4 * outputs)


def most_members(measure: Callable[[int], Memory], free: float, cohort: int) -> int:
    """Returns how many members fit into memory at once, from what one and two of them hold.

    What an array holds grows evenly with its members. Those of the cohort that are not in the
    array that trains rest beside it.

    Args:
        measure: From the number of members to what they hold.
        free: Bytes.
        cohort: Members that may be on the device, whatever the arrays.
    """
    if cohort == 1:
        return 1
    one, two = measure(1), measure(2)
    each = max(two.peak - one.peak, 1.0)
    common = max(one.peak - each, 0.0)
    room = MEMORY_SHARE * free - ANSWER_BYTES - common - cohort * one.resting
    return max(1, min(cohort, int(room // (each + one.answers))))
