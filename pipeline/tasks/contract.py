"""What a kind or a metric of the user's own must offer, and how a metric is called."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.study.catalogue import load
from pipeline.tasks.base import Decoded, Kind
from pipeline.tasks.metrics import Array, Metric, Values, probabilities, values

if TYPE_CHECKING:
    from pipeline.study.task_spec import TaskSpec


def kind_problem(found: Any, section: TaskSpec) -> str | None:
    """Returns why something cannot be a kind of task; None where it can."""
    if not isinstance(found, type) or not issubclass(found, Kind):
        return "it must be a class of pipeline.tasks.base.Kind"
    if inspect.isabstract(found):
        return f"it leaves out {', '.join(sorted(found.__abstractmethods__))}"
    own = getattr(found, "metrics", None)
    if not own or not all(isinstance(metric, Metric) for metric in own.values()):
        return "its `metrics` must name at least one pipeline.tasks.metrics.Metric"
    return None


def metric_problem(found: Any, section: TaskSpec) -> str | None:
    """Returns why something cannot be a metric; None where it can.

    It is tried on four rows of which half are right.
    """
    if isinstance(found, Metric):
        return None
    if not callable(found):
        return "it must be a function, a class of which an instance is called, or a Metric"
    if not isinstance(getattr(found, "higher_is_better", None), bool):
        return "it must have an attribute `higher_is_better`, true or false"
    if getattr(found, "reads", "values") not in ("values", "probabilities"):
        return "its attribute `reads` must be `values` or `probabilities`"
    target = np.array([0.0, 1.0, 1.0, 0.0])
    answers, chances = np.array([0.0, 0.0, 1.0, 1.0]), np.full((1, 4, 2), 0.5)
    if section.kind == "multilabel":
        target, answers, chances = (np.stack([x, x], axis=-1) for x in (target, answers, chances))
        chances = chances[..., 0]
    try:
        metric = as_metric("tried", found)
        given = Decoded(answers[None], lambda: chances)
        n_rows = np.array([[1.0, 2.0, 0.0, 1.0]])
        found_values = [metric(target, given), metric(target, given, n_rows)]
    except Exception as error:
        return f"called with four rows it raised {type(error).__name__}: {error}"
    return None if all(value.shape == (1,) for value in found_values) else "it must give a number"


def as_metric(name: str, found: Any) -> Metric:
    """Makes a metric of what the user wrote for one model.

    Args:
        name: Key in tables and in MLflow.
        found: A `Metric`, which stays as it is; or a function, or a class of which an instance is
            called, as `f(target, answer)` or `f(target, answer, weight)`: (N,) labels as codes or
            numbers, (N,) answers or with `reads = "probabilities"` (N, C) probabilities, and the
            (N,) times that each row counts or None; it gives a number.
    """
    if isinstance(found, Metric):
        return replace(found, name=name)
    function = found() if isinstance(found, type) else found
    return Metric(
        name,
        _of_members(function),
        probabilities if getattr(function, "reads", "values") == "probabilities" else values,
        bool(function.higher_is_better),
        bool(getattr(function, "bounded_by_one", False)),
    )


def own_metric(name: str) -> Metric:
    """Returns the metric that `module:Name` stands for."""
    return as_metric(name, load("metric", name))


def _of_members(function: Callable[..., float]) -> Callable[[Array, Array, Array | None], Values]:
    """Calls a function of one model for each member, or for each weighting of one member."""
    weighs = len(inspect.signature(function).parameters) > 2

    def call(target: Array, answers: Array, weight: Array | None) -> Values:
        if weight is None:
            found = [function(target, own, None) if weighs else function(target, own)
                     for own in answers]  # fmt: skip
        elif weighs:
            found = [function(target, answers[0], own) for own in weight]
        else:
            drawn = [np.repeat(np.arange(len(target)), own.astype(np.intp)) for own in weight]
            found = [function(target[rows], answers[0][rows]) for rows in drawn]
        return np.array([float(value) for value in found])

    return call
