"""From a trial's values to the member that trains it, and from its end to its record."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, replace
from math import isfinite, nan
from typing import Any

import numpy as np

from pipeline.data.prepared import Prepared
from pipeline.driver.records import EpochRecord, TrialRecord
from pipeline.driver.resume import flat_settings
from pipeline.evaluation.evaluate import Evaluation
from pipeline.serving.predictor import Predictor
from pipeline.study.catalogue import entry, load, read_params
from pipeline.study.loading import Study
from pipeline.study.seeds import derive_seed
from pipeline.study.spec import Params
from pipeline.study.weights_spec import WeightsSpec
from pipeline.tasks.base import TaskInfo
from pipeline.tasks.registry import kind_of
from pipeline.tracking.records import TrialEnd, TrialStart, metric_name
from pipeline.training.diagnostics import Gradients
from pipeline.training.members import EpochResult, Member, Trained, architecture_of, read_settings
from pipeline.training.weighting import task_weights

MOST_PAIRS = 15
"""Pairs of tasks, those of six, of which each has a metric of its own."""


def initial_seed(study: Study, number: int) -> int:
    """Returns the seed of a trial's initial parameters."""
    return derive_seed(study.spec.seed, number, "initial")


def make_member(
    study: Study,
    prepared: Prepared,
    number: int,
    params: Params,
    seed: int | None = None,
    weights: Sequence[float] | None = None,
    replicate: int = 0,
) -> Member:
    """Makes the member that trains one choice of values.

    Args:
        study: The study.
        prepared: Its data.
        number: Names the member.
        params: Scalars by dotted path; centres where one is missing.
        seed: Of its initial parameters; the trial's own by default.
        weights: Loss weights in place of the trial's own, whatever its strategy: they are fixed.
        replicate: Of batch order and noise; 0 is common to all trials of the search.
    """
    spec = study.at({**study.centre(), **params})
    weighting = spec.weights if weights is None else replace(spec.weights, strategy="fixed")
    return Member(
        number=number,
        seed=initial_seed(study, number) if seed is None else seed,
        stream=derive_seed(study.spec.seed, replicate, "stream"),
        model=spec.model,
        train=spec.train,
        tasks=spec.tasks,
        weights=tuple(weights or task_weights(spec.weights, prepared.tasks)),
        weighting=weighting,
    )


def make_predictor(member: Member, trained: Trained, prepared: Prepared) -> Predictor:
    """Returns a trained member as an application sees it."""
    return Predictor(
        prepared.encoder, architecture_of(member, prepared), trained.tasks, trained.parameters,
        {part: prepared.parts[part].all_marks for part in ("train", "valid")},
    )  # fmt: skip


def start_of(
    member: Member, prepared: Prepared, params: Params, name: str, row: str | None = None
) -> TrialStart:
    """Returns what is tracked when a member starts: every resolved value that it reads."""
    sections = (("model", read_settings(member.model)), ("train", asdict(member.train)))
    resolved = {
        f"{section}.{key}": value
        for section, part in sections
        for key, value in flat_settings(part).items()
    }
    resolved |= weighting_params(member.weighting)
    return TrialStart(
        number=member.number,
        name=name,
        params={**resolved, **read_params(params), **weight_params(member, prepared)},
        seed=member.seed,
        row=row,
    )


def weighting_params(spec: WeightsSpec) -> dict[str, Any]:
    """Returns the strategy and what it reads, but for the weights of tasks, as params."""
    options = entry("strategy", spec.strategy).options
    read = {key: getattr(spec, key) for key in options if key not in ("low", "high", "values")}
    return {f"weights.{key}": value for key, value in {"strategy": spec.strategy, **read}.items()}


def weight_params(member: Member, prepared: Prepared) -> dict[str, float]:
    """Returns the loss weights as params, `lambda.TASK`; none where the strategy moves them."""
    if load("strategy", member.weighting.strategy).moves:
        return {}
    return {f"lambda.{task}": weight for task, weight in weights_of(member, prepared).items()}


def weights_of(member: Member, prepared: Prepared) -> dict[str, float]:
    """Returns task to loss weight."""
    names = [task.name for task in prepared.tasks]
    return dict(zip(names, member.weights, strict=True))


def epoch_metrics(
    result: EpochResult, prepared: Prepared, tasks: Collection[str]
) -> dict[str, float]:
    """Returns what is tracked of an epoch.

    The score, primary valid metrics, train losses, weights that move, what a look at the gradients
    showed. The score is first, since MLflow's page that compares runs begins with what came first.

    Args:
        result: What a member did.
        prepared: The data.
        tasks: Those that count: others are left out.
    """
    losses = {metric_name("train", task, "loss"): value
              for task, value in result.losses.items() if task in tasks}  # fmt: skip
    valid = {
        metric_name("valid", task.name, task.metric): result.valid[task.name]
        for task in prepared.tasks
        if task.name in result.valid and task.name in tasks
    }
    weights = {metric_name("weight", task): value
               for task, value in result.weights.items() if task in tasks}  # fmt: skip
    gradients = {} if result.gradients is None else gradient_metrics(result.gradients)
    score = {"score": result.score} if result.score == result.score else {}
    return {**score, **valid, **losses, **weights, **gradients}


def gradient_metrics(gradients: Gradients) -> dict[str, float]:
    """Returns what is tracked of a look at the gradients.

    The length of each task's gradient, the share of pairs that conflict, and the cosine of each
    pair; of more than `MOST_PAIRS` pairs each task's mean cosine with the others, so that the
    metrics of a run grow with the tasks and not with their pairs.
    """
    found = {metric_name("gradient", task, "norm"): n for task, n in gradients.norms.items()}
    if not gradients.cosines:
        return found
    found["gradient/conflicting"] = gradients.conflicting
    if len(gradients.cosines) > MOST_PAIRS:
        tasks = list(gradients.norms)
        means = {metric_name("gradient", t, "cosine"): gradients.mean_cosine(t) for t in tasks}
        return found | {name: mean for name, mean in means.items() if mean == mean}
    return found | {
        metric_name("gradient", "cosine", f"{first}-{second}"): cosine
        for (first, second), cosine in gradients.cosines.items()
    }


def epoch_record(
    result: EpochResult,
    prepared: Prepared,
    timestamp_ms: int,
    tasks: Collection[str] | None = None,
) -> EpochRecord:
    """Returns what is kept of an epoch, of all tasks by default."""
    counted = [task.name for task in prepared.tasks] if tasks is None else tasks
    metrics = epoch_metrics(result, prepared, counted)
    plain = {name: value if isfinite(value) else None for name, value in metrics.items()}
    return EpochRecord(result.epoch, timestamp_ms, plain)


def tracked_metrics(epoch: EpochRecord) -> dict[str, float]:
    """Returns an epoch's metrics as the tracker takes them."""
    return {name: nan if value is None else value for name, value in epoch.metrics.items()}


def task_curves(record: TrialRecord, prepared: Prepared) -> dict[str, list[float]]:
    """Returns the score of each task after each epoch of a trial, while all were finite."""
    curves: dict[str, list[float]] = {}
    for task in prepared.tasks:
        name = metric_name("valid", task.name, task.metric)
        values = [epoch.metrics.get(name) for epoch in record.history]
        finite = np.array([value for value in values if value is not None])
        curves[task.name] = kind_of(task).primary.score(finite).tolist()
    return curves


def make_record(
    member: Member,
    trained: Trained,
    prepared: Prepared,
    params: Mapping[str, Any],
    history: Sequence[EpochRecord],
    run_id: str,
    ended_ms: int,
) -> TrialRecord:
    """Returns what is kept of a trial."""
    scores = (epoch.metrics.get("score") for epoch in history)
    return TrialRecord(
        number=member.number,
        params=dict(params),
        weights=weights_of(member, prepared)
        | _moved_weights(history, trained.best_epoch, prepared.tasks),
        seed=member.seed,
        state=trained.state,
        reason=trained.reason,
        score=trained.score,
        evaluation=trained.evaluation,
        curve=tuple(score for score in scores if score is not None),
        epochs=trained.epochs,
        best_epoch=trained.best_epoch,
        n_parameters=trained.n_parameters,
        seconds=trained.seconds,
        run_id=run_id,
        ended_ms=ended_ms,
        tasks=trained.tasks,
        history=tuple(history),
        first_epoch=trained.first_epoch,
        cosines=trained.cosines,
        device=trained.device,
    )


def _moved_weights(
    history: Sequence[EpochRecord], best_epoch: int, tasks: Sequence[TaskInfo]
) -> dict[str, float]:
    """Returns the mean weights in the best epoch, else in the last; empty where none move."""
    found = {epoch.epoch: epoch.metrics for epoch in history}
    metrics = found.get(best_epoch) or (history[-1].metrics if history else {})
    values = {task.name: metrics.get(metric_name("weight", task.name)) for task in tasks}
    return {task: value for task, value in values.items() if value is not None}


def evaluation_metrics(evaluation: Evaluation) -> dict[str, float]:
    """Returns every metric of an evaluation under its tracked name: `PART/TASK/METRIC`."""
    return {
        metric_name(evaluation.part, task, name): value
        for task, values in evaluation.tasks.items()
        for name, value in values.items()
    }


def end_of(record: TrialRecord) -> TrialEnd:
    """Returns what is tracked when a trial ends: all valid metrics of the kept parameters."""
    weights = {metric_name("weight", task): weight for task, weight in record.weights.items()}
    followed = record.history[-1].metrics if record.history else {}
    # Those that move came with every epoch.
    metrics = {name: weight for name, weight in weights.items() if name not in followed}
    if record.score is not None:
        metrics["score"] = record.score
    if record.evaluation is not None:
        metrics |= evaluation_metrics(record.evaluation)
    state: Any = record.state
    return TrialEnd(
        state=state,
        reason="" if state == "failed" else record.reason,
        metrics=metrics,
        step=record.epochs,
        seconds={"train": record.seconds},
        tags={
            "epochs": str(record.epochs),
            "best_epoch": str(record.best_epoch),
            "n_parameters": str(record.n_parameters),
            **({"device": record.device} if record.device else {}),
        },
        traceback=record.reason if state == "failed" else None,
        timestamp_ms=record.ended_ms,
    )
