"""How much each searched value matters, for the mean score and for each task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution

from pipeline.driver.journal import distribution
from pipeline.driver.records import TrialRecord
from pipeline.study.catalogue import read_params
from pipeline.study.ranges import AnyRange

FEWEST = 10
"""Complete trials below which shares would be noise."""

BEST = 0.25
"""Share of the trials that count as the best ones. Optuna's tenth would be three trials of 32."""

MEAN = "mean score"


def importances(
    trials: Sequence[TrialRecord], ranges: Mapping[str, AnyRange]
) -> dict[str, dict[str, float]]:
    """Returns the importance of every searched value, by what it is important for.

    Shares of PED-ANOVA (Watanabe, Bansal, Hutter, IJCAI 2023), as Optuna computes them: how far
    the values of the best trials are from those of all trials. They sum to 1 for each target.

    Args:
        trials: Finished trials; those that are complete count.
        ranges: What is searched.

    Returns:
        Target (the mean score, each task) to dotted path to share; empty where fewer than
        `FEWEST` trials are complete, or nothing differs between them.
    """
    complete = [trial for trial in trials if trial.state == "complete" and trial.evaluation]
    found = {path: distribution(one) for path, one in ranges.items()}
    read = [read_params(trial.params) for trial in complete]
    shared = {
        path: one
        for path, one in found.items()
        if not one.single() and all(path in values for values in read)
    }
    if len(complete) < FEWEST or not shared:
        return {}
    return {
        target: _shares(shared, read, values)
        for target, values in _scores(complete).items()
        if np.ptp(values) > 0
    }


def _scores(complete: Sequence[TrialRecord]) -> dict[str, list[float]]:
    evaluations = [trial.evaluation for trial in complete if trial.evaluation is not None]
    tasks = list(evaluations[0].scores)
    of_tasks = {task: [one.scores[task] for one in evaluations] for task in tasks}
    return {MEAN: [one.mean for one in evaluations], **(of_tasks if len(tasks) > 1 else {})}


def _shares(
    distributions: Mapping[str, BaseDistribution],
    params: Sequence[Mapping[str, Any]],
    scores: Sequence[float],
) -> dict[str, float]:
    optuna.logging.set_verbosity(optuna.logging.ERROR)  # it tells of every study it makes
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(0), direction="maximize")
    study.add_trials(
        optuna.trial.create_trial(
            params={path: values[path] for path in distributions},
            distributions=dict(distributions),
            value=score,
        )
        for values, score in zip(params, scores, strict=True)
    )
    found = optuna.importance.get_param_importances(
        study,
        evaluator=optuna.importance.PedAnovaImportanceEvaluator(target_quantile=BEST),
        params=list(distributions),
    )
    return {path: float(found[path]) for path in distributions}
