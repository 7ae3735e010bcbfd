"""Rows of the comparison that are searched: the study's own trials, equal weights, each task alone.

Each is one Optuna study over some of the ranges, under loss weights of its own. All have the same
budget and the same luck: trial n of every row starts from the same seed and sees the same batches.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipeline.data.prepared import Prepared
from pipeline.driver.trials import make_member
from pipeline.study.loading import Study
from pipeline.study.ranges import AnyRange
from pipeline.study.seeds import derive_seed
from pipeline.study.spec import Params
from pipeline.training.members import Member
from pipeline.training.weighting import alone_weights

TUNED = "tuned"
EQUAL = "equal_weights"
ALONE = "alone-"
"""Prefix of the row of each task that is trained alone."""


@dataclass(frozen=True)
class RowPlan:
    """What one row searches.

    Attributes:
        name: Tag `row` of its runs; its Optuna study is `STUDY/NAME`.
        ranges: What it searches, by dotted path.
        tasks: Tasks that it learns; the others have no weight, and do not count.
        weights: Loss weight of every task of the study; None for what each trial chooses.
    """

    name: str
    ranges: Mapping[str, AnyRange]
    tasks: tuple[str, ...]
    weights: tuple[float, ...] | None = None

    @property
    def is_tuned(self) -> bool:
        """Whether this is the study's own search, whose runs are its trials."""
        return self.name == TUNED

    def centre(self, study: Study) -> Params:
        """Returns its trial 0."""
        return {path: value for path, value in study.centre().items() if path in self.ranges}

    def member(
        self, study: Study, prepared: Prepared, number: int, params: Params, replicate: int = 0
    ) -> Member:
        """Returns the member that trains one of its trials.

        Args:
            study: The study.
            prepared: Its data.
            number: Of the trial.
            params: Its values.
            replicate: 0 in the search; finalists have fresh seeds, batch orders and noise, the
                same for every trial and row, so that they are compared under the same luck.
        """
        seed = derive_seed(study.spec.seed, replicate, "finalist") if replicate else None
        return make_member(
            study, prepared, number, params, seed=seed, weights=self.weights, replicate=replicate
        )


def tuned_row(study: Study, prepared: Prepared) -> RowPlan:
    """Returns the study's own search."""
    return RowPlan(TUNED, study.ranges, tuple(task.name for task in prepared.tasks))


def baseline_rows(study: Study, prepared: Prepared) -> list[RowPlan]:
    """Returns equal weights, then each task alone; none where they are the tuned row itself.

    With one task, sharing and weighting have no meaning: the task alone is the study.
    """
    tasks = prepared.tasks
    names = tuple(task.name for task in tasks)
    if len(tasks) == 1:
        return []
    ranges = {path: found for path, found in study.ranges.items() if _of_no_weight(path)}
    rows = [RowPlan(EQUAL, ranges, names, (1.0,) * len(tasks))]
    for index, task in enumerate(tasks):
        own = {
            path: found
            for path, found in ranges.items()
            if not path.startswith("tasks.") or path.startswith(f"tasks.{task.declared}.")
        }
        weights = alone_weights(len(tasks), index)
        rows.append(RowPlan(f"{ALONE}{task.name}", own, (task.name,), weights))
    return rows


def _of_no_weight(path: str) -> bool:
    return not path.startswith("weights.")


def objectives_of(study: Study, row: RowPlan) -> tuple[str, ...]:
    """Returns the tasks that a row maximises one by one; none where it maximises their mean.

    A task alone has one objective, its own score, whatever the study has.
    """
    found = study.spec.search.objective
    if isinstance(found, str) or not {*found} <= {*row.tasks}:
        return ()
    return tuple(found)


def listed(names: Sequence[str]) -> str:
    """Returns the names of rows for people, of many the first."""
    shown = ", ".join(names[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"
