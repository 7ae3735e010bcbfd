"""The static weights of tasks: searched, given, or 1 and 0 for the member that learns one alone."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pipeline.study.catalogue import entry
from pipeline.study.spec import WeightsSpec
from pipeline.tasks.base import TaskInfo


def task_weights(spec: WeightsSpec, tasks: Sequence[TaskInfo]) -> tuple[float, ...]:
    """Returns each task's weight, scaled to sum to the number of tasks.

    A task made by `per` carries the weight of the task that the file declares. Where the trial's
    strategy does not read `values`, all tasks weigh 1.

    Args:
        spec: The section, with one trial's values.
        tasks: The prepared tasks.
    """
    values = spec.values if "values" in entry("strategy", spec.strategy).options else {}
    raw = [float(values.get(task.declared, 1.0)) for task in tasks]
    total = sum(raw)
    return tuple(weight * len(raw) / total for weight in raw)


def alone_weights(n_tasks: int, task: int) -> tuple[float, ...]:
    """Returns weight 1 for one task and 0 for the rest: the member that learns it alone."""
    return tuple(float(index == task) for index in range(n_tasks))


def stack_weights(
    weights: Sequence[Sequence[float]], dtype: torch.dtype, device: torch.device | None = None
) -> Tensor:
    """Returns the members' weights as (K, T)."""
    return torch.tensor(list(map(list, weights)), dtype=dtype, device=device)
