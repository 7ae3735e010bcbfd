"""The Pareto front of a study's trials, and its volume above answers without inputs."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from pipeline.data.prepared import Prepared
from pipeline.driver.records import TrialRecord
from pipeline.evaluation.evaluate import constant_outputs, evaluate_one
from pipeline.evaluation.pareto import front, hypervolume


def front_trials(trials: Iterable[TrialRecord]) -> list[TrialRecord]:
    """Returns the complete trials that no other beats on every objective, in number order.

    None where the study has one objective.
    """
    complete = _complete(trials)
    if not complete:
        return []
    return [complete[i] for i in front(np.array([trial.values for trial in complete]))]


def front_volume(prepared: Prepared, trials: Iterable[TrialRecord]) -> float:
    """Returns the volume that trials dominate above the scores of constant answers on valid.

    The reference is fixed by the data, so that volumes of studies of one data set compare, and no
    further trial makes the volume smaller. A task on which a trial is no better than the constant
    takes all its volume.
    """
    complete = _complete(trials)
    if not complete:
        return 0.0
    reference = constant_scores(prepared)
    return hypervolume(
        np.array([trial.values for trial in complete]),
        [reference[task] for task in complete[0].objectives],
    )


def constant_scores(prepared: Prepared) -> dict[str, float]:
    """Returns the valid score of each task for the best answer without inputs."""
    valid = prepared.parts["valid"]
    kinds = prepared.kinds()
    outputs = constant_outputs(kinds, len(valid))
    return dict(evaluate_one(kinds, outputs, valid.targets, "valid").scores)


def _complete(trials: Iterable[TrialRecord]) -> list[TrialRecord]:
    found = [one for one in trials if one.state == "complete" and one.objectives and one.values]
    return sorted(found, key=lambda trial: trial.number)
