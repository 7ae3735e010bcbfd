"""Trials of a search: the learning rate matters for `left`, its weight for `total`."""

import math
from typing import Any

import numpy as np
from report_cases import trial

from pipeline.driver.records import EpochRecord, TrialRecord
from pipeline.evaluation.evaluate import Evaluation
from pipeline.report.sections import Material
from pipeline.study.ranges import Choices, Range
from pipeline.tasks.base import TaskInfo

RANGES = {
    "train.lr": Range(1e-4, 1e-1, log=True),
    "train.weight_decay": Range(0.0, 1.0),
    "model.layers": Choices(([8], [8, 8])),
    "weights.values.total": Range(0.1, 10.0, log=True),
}
METRICS = {"left": "accuracy", "total": "r2"}


def searched(n_trials: int, tasks: tuple[str, ...] = ("left", "total")) -> list[TrialRecord]:
    """Every fifth trial is pruned, one diverged."""
    draw = np.random.default_rng(0)
    found = []
    for number in range(n_trials):
        lr = 10 ** draw.uniform(-4, -1)
        ratio = 10 ** draw.uniform(-1, 1)
        params = {
            "train.lr": lr, "train.weight_decay": draw.random(),
            "model.layers": str(draw.choice(["[8]", "[8,8]"])), "weights.values.total": ratio,
        }  # fmt: skip
        left = 0.9 - 0.1 * abs(math.log10(lr) + 2.5)
        total = 0.5 + 0.2 * math.log10(ratio)
        scores = {task: (left if index % 2 == 0 else total) + 0.001 * draw.random()
                  for index, task in enumerate(tasks)}  # fmt: skip
        found.append(_trial(number, params, scores, ratio))
    return found


def _trial(
    number: int, params: dict[str, Any], scores: dict[str, float], ratio: float
) -> TrialRecord:
    state = "pruned" if number % 5 == 4 else "diverged" if number == 7 else "complete"
    mean = sum(scores.values()) / len(scores)
    metrics = {task: METRICS.get(task, "accuracy") for task in scores}
    evaluation = Evaluation(
        "valid", dict.fromkeys(scores, 40),
        {task: {metrics[task]: score} for task, score in scores.items()}, scores, mean,
    )  # fmt: skip
    history = tuple(
        EpochRecord(epoch, 0, {"score": mean * epoch / 4, **{
            f"valid/{task}/{metrics[task]}": score * epoch / 4 for task, score in scores.items()
        }})
        for epoch in range(1, 5)
    )  # fmt: skip
    kinds = {"accuracy": "binary", "r2": "regression"}
    infos = tuple(TaskInfo(task, task, kinds[metric], metric, (task,))
                  for task, metric in metrics.items())  # fmt: skip
    others = len(scores) - 1
    weights = {task: ratio if index == others else 1.0 for index, task in enumerate(scores)}
    total = sum(weights.values())
    return trial(
        number, state, None if state == "diverged" else mean, params=params, tasks=infos,
        evaluation=evaluation if state == "complete" else None, history=history, epochs=4,
        best_epoch=4, weights={t: len(scores) * w / total for t, w in weights.items()},
    )  # fmt: skip


def material(n_trials: int = 40, **values: Any) -> Material:
    found: dict[str, Any] = {
        "name": "s", "state": "complete", "data": "d" * 32, "trials": searched(n_trials),
        "ranges": RANGES, "commands": [("mtl promote s.yaml", "make it champion")],
    }  # fmt: skip
    return Material(**{**found, **values})
