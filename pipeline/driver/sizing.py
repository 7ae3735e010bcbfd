"""How many members an array holds: measured once, before trial 0, and kept in the record."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from pipeline.data.prepared import Prepared
from pipeline.driver.backend import one_thread
from pipeline.driver.records import StudyFolder
from pipeline.driver.trials import make_member
from pipeline.study.loading import Study
from pipeline.study.own import is_stock
from pipeline.training.calibration import seconds_per_step

TIE = 0.05
"""Of sizes whose times differ by less than this share the smallest is taken: smaller arrays
leave more room for several structures, and a close race must not hang on the machine's mood."""


def array_sizes(cohort: int, n_workers: int) -> Iterator[int]:
    """Yields the sizes worth measuring: doubling, up to one array a worker."""
    most = max(1, -(-cohort // n_workers))
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
    cohort: int, n_workers: int, measure: Callable[[int], float], tie: float = TIE
) -> int:
    """Returns the array size with which a cohort trains fastest.

    Args:
        cohort: Trials asked together.
        n_workers: Workers, each with one thread.
        measure: From an array's size to the seconds of one of its steps.
        tie: See `TIE`.
    """
    sizes = list(array_sizes(cohort, n_workers))[-4:]  # far smaller ones are never faster
    seconds = {size: cohort_seconds(size, cohort, n_workers, measure(size)) for size in sizes}
    best = min(seconds.values())
    return min(size for size, found in seconds.items() if found <= best * (1 + tie))


def array_size(study: Study, prepared: Prepared, folder: StudyFolder, n_workers: int) -> int:
    """Returns the array size of a study: from its file, its record, or measured and noted there."""
    asked = study.spec.search.population
    if asked != "auto":
        return asked
    record = folder.record()
    known: int | None = record.get("population")
    if known is None:
        known = calibrate(study, prepared, n_workers)
        folder.save_record({**record, "population": known})
    return known


def calibrate(study: Study, prepared: Prepared, n_workers: int) -> int:
    """Measures the array size for a study at the centre of its ranges."""
    centre = make_member(study, prepared, 0, study.centre())
    if is_stock(centre.model.sharing):
        return 1

    def measure(size: int) -> float:
        return seconds_per_step([replace(centre, number=k) for k in range(size)], prepared)

    with one_thread():
        return fastest_array(study.spec.search.cohort, n_workers, measure)
