"""From head outputs and labels to every metric of every task."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import DataError
from pipeline.tasks.base import Decoded, Kind, labelled

Outputs = Mapping[str, NDArray[Any]]
"""Task name to head outputs: (N, width) of one model, (K, N, width) of members."""

Targets = Mapping[str, NDArray[np.float32]]
"""Task name to (N,) or (N, L), NaN where a label is missing."""


@dataclass(frozen=True)
class Evaluation:
    """How good one model is on one part of the data.

    Attributes:
        part: `train`, `valid` or `test`.
        n_rows: Labelled rows of each task.
        tasks: Task name to metric name to value, in the metric's own direction.
        scores: Task name to its primary metric, oriented so that higher is better. NaN where an
            output was not finite.
        mean: Mean of the scores over tasks.
    """

    part: str
    n_rows: Mapping[str, int]
    tasks: Mapping[str, Mapping[str, float]]
    scores: Mapping[str, float]
    mean: float

    def to_json(self) -> dict[str, Any]:
        """Returns plain JSON values; a value that is not finite becomes null."""
        stored = asdict(self)
        stored["tasks"] = {
            task: {name: _plain(value) for name, value in metrics.items()}
            for task, metrics in self.tasks.items()
        }
        stored["scores"] = {task: _plain(score) for task, score in self.scores.items()}
        stored["mean"] = _plain(self.mean)
        return stored

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """Reads what `to_json` gave; null becomes NaN."""
        return cls(
            part=stored["part"],
            n_rows=dict(stored["n_rows"]),
            tasks={
                task: {name: _number(value) for name, value in metrics.items()}
                for task, metrics in stored["tasks"].items()
            },
            scores={task: _number(score) for task, score in stored["scores"].items()},
            mean=_number(stored["mean"]),
        )


def evaluate_members(
    kinds: Sequence[Kind],
    outputs: Outputs,
    targets: Targets,
    part: str,
    primary_only: bool = False,
) -> list[Evaluation]:
    """Evaluates K members at once.

    Args:
        kinds: The tasks, tuned on valid where their kind tunes something (see `tuned`).
        outputs: (K, N, width) head outputs of each task.
        targets: Rows without a label of a task do not count for that task.
        part: Name of the part that the rows are.
        primary_only: Leave out all but the primary metrics, as every epoch of training does.

    Raises:
        DataError: A task has no labelled row.
    """
    values: dict[str, dict[str, NDArray[np.float64]]] = {}
    scores: dict[str, NDArray[np.float64]] = {}
    n_rows: dict[str, int] = {}
    for kind in kinds:
        task = kind.info.name
        rows = labelled_rows(kind, targets[task], part)
        target = targets[task][rows]
        # Unlike indexing, `compress` keeps each member's rows together in memory, so that a
        # member's sums are the same to the last bit whatever the number of members.
        chosen = outputs[task] if rows.all() else np.compress(rows, outputs[task], axis=1)
        decoded, finite = _decode(kind, chosen)
        wanted = [kind.primary] if primary_only else list(kind.measured.values())
        values[task] = {
            metric.name: np.where(finite, metric(target, decoded), np.nan) for metric in wanted
        }
        scores[task] = kind.primary.score(values[task][kind.primary.name])
        n_rows[task] = kind.n_examples(target)
    mean = np.mean([scores[task] for task in scores], axis=0)  # (K,)
    return [
        Evaluation(
            part=part,
            n_rows=n_rows,
            tasks={
                task: {name: float(value[member]) for name, value in metrics.items()}
                for task, metrics in values.items()
            },
            scores={task: float(score[member]) for task, score in scores.items()},
            mean=float(mean[member]),
        )
        for member in range(len(mean))
    ]


def evaluate_one(
    kinds: Sequence[Kind], outputs: Outputs, targets: Targets, part: str
) -> Evaluation:
    """Evaluates one model, whose head outputs are (N, width)."""
    members = {task: array[None] for task, array in outputs.items()}
    return evaluate_members(kinds, members, targets, part)[0]


def only(evaluation: Evaluation, tasks: Sequence[str]) -> Evaluation:
    """Returns what an evaluation says of some tasks, with their mean."""
    return Evaluation(
        part=evaluation.part,
        n_rows={task: evaluation.n_rows[task] for task in tasks},
        tasks={task: evaluation.tasks[task] for task in tasks},
        scores={task: evaluation.scores[task] for task in tasks},
        mean=float(np.mean([evaluation.scores[task] for task in tasks])),
    )


def constant_outputs(kinds: Sequence[Kind], n_rows: int) -> dict[str, NDArray[Any]]:
    """Returns the (n_rows, width) head outputs that answer every row alike, as fitted on train."""
    return {kind.info.name: np.tile(np.array(kind.info.constant), (n_rows, 1)) for kind in kinds}


def tuned(kinds: Sequence[Kind], outputs: Outputs, targets: Targets) -> list[Kind]:
    """Returns the kinds with what one model chooses on valid, such as thresholds.

    Args:
        kinds: The tasks as prepared.
        outputs: (N, width) head outputs of the model on valid.
        targets: Labels of valid.
    """
    return [
        kind.with_info(kind.tune(outputs[kind.info.name], targets[kind.info.name]))
        for kind in kinds
    ]


def labelled_rows(kind: Kind, target: NDArray[np.float32], part: str) -> NDArray[np.bool_]:
    """Returns which rows have a label of a task.

    Raises:
        DataError: No row has.
    """
    rows = labelled(target)
    if not rows.any():
        raise DataError(
            f"Task `{kind.info.name}` must have a labelled row in {part}. Found none in "
            f"{len(target)} rows. Check the split."
        )
    return rows


def _decode(kind: Kind, outputs: NDArray[Any]) -> tuple[Decoded, NDArray[np.bool_]]:
    """Decodes (K, N, width) outputs, and tells the (K,) members whose outputs are all finite."""
    finite = np.isfinite(outputs).all(axis=(1, 2))
    if not finite.all():  # zeros stand in for a diverged member, so that no formula warns
        outputs = np.where(finite[:, None, None], outputs, 0.0)
    return kind.decode(outputs), finite


def _plain(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)
