"""How many members an array holds: measured once, before trial 0, and kept in the record."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import torch

from pipeline.data.prepared import Prepared
from pipeline.driver.backend import one_thread
from pipeline.driver.study_folder import StudyFolder
from pipeline.driver.trials import make_member
from pipeline.study.loading import Study
from pipeline.training.calibration import memory_of, most_members, seconds_per_step
from pipeline.training.devices import CPU, free_bytes, give_back, is_out_of_memory
from pipeline.training.members import Member, gains_nothing
from pipeline.training.placement import Placed

TIE = 0.05
"""Of sizes whose times differ by less than this share the smallest is taken: smaller arrays
leave more room for several structures, and a close race must not hang on the machine's mood."""


LARGEST = 64
"""Most members in an array whose size is measured: larger ones cost cache and bring nothing. A GPU
has no such bound but its memory."""


def array_sizes(cohort: int, n_workers: int, largest: int = LARGEST) -> Iterator[int]:
    """Yields the sizes worth measuring: doubling, up to one array a worker."""
    most = min(largest, max(1, -(-cohort // n_workers)))
    size = 1
    while size < most:
        yield size
        size *= 2
    yield most


def cohort_seconds(size: int, cohort: int, n_workers: int, step: float) -> float:
    """Returns how long a step of a whole cohort takes: the worker with most arrays decides.

    Args:
        size: Members in an array.
        cohort: Members in all.
        n_workers: Workers, each with one thread.
        step: Seconds of a step of one array of that size.
    """
    n_arrays = -(-cohort // size)
    return -(-n_arrays // n_workers) * step


def fastest_array(
    cohort: int,
    n_workers: int,
    measure: Callable[[int], float],
    tie: float = TIE,
    largest: int = LARGEST,
) -> int:
    """Returns the array size with which a cohort trains fastest.

    Args:
        cohort: Trials asked together.
        n_workers: Workers, each with one thread.
        measure: From an array's size to the seconds of one of its steps.
        tie: See `TIE`.
        largest: Most members of an array.
    """
    sizes = list(array_sizes(cohort, n_workers, largest))[-4:]  # far smaller ones are never faster
    seconds = {size: cohort_seconds(size, cohort, n_workers, measure(size)) for size in sizes}
    best = min(seconds.values())
    return min(size for size, found in seconds.items() if found <= best * (1 + tie))


def array_size(
    study: Study,
    prepared: Prepared,
    folder: StudyFolder,
    n_workers: int,
    n_rows: int = 1,
    device: torch.device = CPU,
    say: Callable[[str], None] = lambda text: None,
) -> int:
    """Returns the array size of a study: from its file, its record, or measured and noted there.

    Args:
        study: The study.
        prepared: Its data.
        folder: Its files.
        n_workers: Workers, each with one thread.
        n_rows: Rows whose cohorts train together.
        device: Where they train; each kind has a size of its own.
        say: Told of a size that memory decided.
    """
    asked = study.spec.search.population
    if asked != "auto":
        return asked
    record = folder.record()
    key = "population" if n_rows == 1 else "population_of_rows"
    key += "" if device.type == "cpu" else f"_on_{device.type}"
    known: int | None = record.get(key)
    if known is None:
        known = calibrate(study, prepared, n_workers, n_rows, device, say)
        folder.save_record({**record, key: known})
    return known


def calibrate(
    study: Study,
    prepared: Prepared,
    n_workers: int,
    n_rows: int = 1,
    device: torch.device = CPU,
    say: Callable[[str], None] = lambda text: None,
) -> int:
    """Measures the array size for a study at the centre of its ranges."""
    centre = make_member(study, prepared, 0, study.centre())
    if gains_nothing(centre):
        return 1
    placed = Placed(prepared, device)
    placed.put_there()  # so that what is free is free of it
    cohort = study.spec.search.cohort * n_rows

    def members(size: int) -> list[Member]:
        return [replace(centre, number=k) for k in range(size)]

    def measure(size: int) -> float:
        try:
            return seconds_per_step(members(size), prepared, placed=placed)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            return float("inf")

    with one_thread():
        largest = LARGEST
        if device.type != "cpu":
            largest = most_members(
                lambda size: memory_of(members(size), placed), free_bytes(device), cohort
            )
            if largest < cohort:
                say(f"The memory of {device.type} has room for about {largest} members at once.")
        try:
            return fastest_array(cohort, n_workers, measure, largest=largest)
        finally:
            give_back(device)
