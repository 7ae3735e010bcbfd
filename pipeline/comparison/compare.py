"""Rows in, the comparison out: scores, intervals, gains, verdicts; test is read once a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.comparison.rows import Model, Row
from pipeline.comparison.summaries import samples, summary_rows
from pipeline.data.prepared import Prepared
from pipeline.data.text_encoding import Progress, told
from pipeline.evaluation.bootstrap import bootstrap_models, n_units
from pipeline.evaluation.evaluate import Evaluation, evaluate_one, tuned
from pipeline.evaluation.gains import delta_m, gain_unit, mean_gain
from pipeline.evaluation.verdicts import (
    Judged,
    Scores,
    beats,
    difference,
    holm,
    mean_bounds,
    mean_scores,
    verdict,
)
from pipeline.tasks.base import Kind


@dataclass(frozen=True)
class Scored:
    """A row with its scores on one part.

    Attributes:
        row: The row.
        readings: All metrics of each model, by key.
        evaluation: Their means over seeds.
        scores: Task to the scores of its seeds under resampling of rows, the same draws for
            every row.
        valid: Mean valid score, over tasks and seeds.
    """

    row: Row
    readings: Mapping[str, Evaluation]
    evaluation: Evaluation
    scores: Mapping[str, Scores]
    valid: float

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval of the row's mean, over rows and seeds."""
        return mean_bounds(mean_scores(list(self.scores.values())))

    @property
    def n_seeds(self) -> int:
        """Fewest seeds of any task."""
        return min(len(scores.values) for scores in self.scores.values())


def score_rows(
    rows: Sequence[Row],
    prepared: Prepared,
    part: str,
    seed: int,
    progress: Progress | None = None,
) -> list[Scored]:
    """Scores every row on one part, under draws of its rows that all models have in common.

    Args:
        rows: The rows.
        prepared: The data.
        part: `valid` or `test`.
        seed: Of the draws.
        progress: Told how many models are scored.
    """
    base = {kind.info.name: kind for kind in prepared.kinds()}
    valid, held = prepared.parts["valid"], prepared.parts[part]

    def tuned_kinds(model: Model) -> list[Kind]:
        return tuned([base[task] for task in model.tasks], model.outputs["valid"], valid.targets)

    models = [(model, tuned_kinds(model)) for row in rows for model in row.models]
    drawn = bootstrap_models(
        [(kinds, model.outputs[part]) for model, kinds in models],
        held.targets, held.groups, seed=seed,
    ) if models else []  # fmt: skip
    units = {task: n_units(kind, held.targets, held.groups)
             for task, kind in base.items()}  # fmt: skip
    read = iter([
        _Read(
            model,
            evaluate_one(kinds, model.outputs["valid"], valid.targets, "valid"),
            evaluate_one(kinds, model.outputs[part], held.targets, part),
            of_draws,
        )
        for (model, kinds), of_draws in told(
            list(zip(models, drawn, strict=True)), f"Scoring on {part}, models", progress
        )
    ])  # fmt: skip
    return [_scored(row, [next(read) for _ in row.models], units) for row in rows]


@dataclass(frozen=True)
class _Read:
    """A model with all its metrics on valid and on the part, and (D, T) scores of its tasks."""

    model: Model
    valid: Evaluation
    held: Evaluation
    drawn: NDArray[np.float64]


def _scored(row: Row, models: Sequence[_Read], units: Mapping[str, int]) -> Scored:
    """Returns a row's scores.

    Args:
        row: The row.
        models: Its models.
        units: Task to what is drawn of it: labelled rows, or their groups.
    """
    scores = {}
    for task, n_drawn in units.items():
        own = [one for one in models if task in one.model.tasks]
        values = np.array([one.held.scores[task] for one in own])
        drawn = np.array([one.drawn[:, one.model.tasks.index(task)] for one in own])
        scores[task] = Scores(values, drawn, n_drawn)
    tasks = list(units)
    readings = {one.model.key: one.held for one in models}
    evaluation = _over_seeds([one.held for one in models], tasks)
    valid = _over_seeds([one.valid for one in models], tasks).mean
    return Scored(row, readings, evaluation, scores, valid)


def _over_seeds(readings: Sequence[Evaluation], tasks: Sequence[str]) -> Evaluation:
    """Returns the mean of every metric over the models that answer a task."""
    metrics, scores, n_rows = {}, {}, {}
    for task in tasks:
        own = [reading for reading in readings if task in reading.tasks]
        metrics[task] = {name: float(np.mean([reading.tasks[task][name] for reading in own]))
                         for name in own[0].tasks[task]}  # fmt: skip
        scores[task] = float(np.mean([reading.scores[task] for reading in own]))
        n_rows[task] = own[0].n_rows[task]
    mean = float(np.mean(list(scores.values())))
    return Evaluation(readings[0].part, n_rows, metrics, scores, mean)


def compare_rows(
    study: str,
    scored: Sequence[Scored],
    prepared: Prepared,
    part: str,
    test_reads: int,
    seed: int = 0,
) -> dict[str, Any]:
    """Returns the comparison as its JSON contract has it.

    Args:
        study: Name of the study.
        scored: The rows on this part.
        prepared: The data.
        part: `valid` or `test`.
        test_reads: Readings of test in this study so far.
        seed: Of the intervals of summaries.
    """
    kinds = prepared.kinds()
    by_kind = {one.row.kind: one for one in scored}
    judged = _judged(kinds, by_kind)
    document: dict[str, Any] = {
        "study": study,
        "split": part,
        "data": prepared.data_digest,
        "rows": [_row_json(one) for one in scored],
        "gains": {},
        "mean_gain": None,
        "mean_gain_interval": None,
        "delta_m": None,
        "delta_m_reason": "",
        "differences": {task: _judged_json(found) for task, found in judged.items()},
        "verdicts": _verdicts(kinds, by_kind, judged),
        "summaries": {},
        "samples": {},
        "primary": {kind.info.name: kind.info.metric for kind in kinds},
        "test_reads": test_reads,
    }
    if "tuned" in by_kind:
        row = by_kind["tuned"].row
        shipped = next(model for model in row.models if model.key == row.shipped)
        document["summaries"] = {
            kind.info.name: summary_rows(
                prepared, shipped.outputs[part][kind.info.name], kind, part, seed
            )
            for kind in kinds
            if kind.info.name in prepared.documents
        }
        document["samples"] = {
            kind.info.name: samples(prepared, shipped.outputs[part][kind.info.name], kind, part)
            for kind in kinds
            if kind.info.name in prepared.documents
        }
    if {"tuned", "single_task", "constant"} <= by_kind.keys():
        document |= _gains(kinds, by_kind, judged)
    return document


def _judged(kinds: Sequence[Kind], rows: Mapping[str, Scored]) -> dict[str, Judged]:
    """Returns the tuned row against each task alone, bounds by Holm over the tasks."""
    if not {"tuned", "single_task"} <= rows.keys():
        return {}
    model, alone = rows["tuned"].scores, rows["single_task"].scores
    names = [kind.info.name for kind in kinds]
    return holm({task: difference(model[task], alone[task]) for task in names})


def _gains(
    kinds: Sequence[Kind], rows: Mapping[str, Scored], judged: Mapping[str, Judged]
) -> dict[str, Any]:
    model, alone, constant = rows["tuned"], rows["single_task"], rows["constant"]
    units = {kind.info.name: gain_unit(kind, constant.evaluation.scores[kind.info.name])
             for kind in kinds}  # fmt: skip
    gains = {
        task: {
            "gain": judged[task].difference.estimate / unit,
            "low": judged[task].low / unit,
            "high": judged[task].high / unit,
            "p": judged[task].p,
        }
        for task, unit in units.items()
        if unit is not None
    }
    change = delta_m(kinds, model.evaluation, alone.evaluation)
    overall = None
    if gains:
        shares = [units[task] or 1.0 for task in gains]
        sides = (mean_scores([side.scores[task] for task in gains], shares)
                 for side in (model, alone))  # fmt: skip
        overall = list(difference(*sides).bounds())
    return {
        "gains": gains,
        "mean_gain": mean_gain({task: gain["gain"] for task, gain in gains.items()}),
        "mean_gain_interval": overall,
        "delta_m": change.value,
        "delta_m_reason": change.reason,
    }


def _verdicts(
    kinds: Sequence[Kind], rows: Mapping[str, Scored], judged: Mapping[str, Judged]
) -> dict[str, str]:
    constant = rows.get("constant")
    others = [one for name, one in rows.items() if name != "constant"]
    pair = [rows[kind] for kind in ("tuned", "single_task") if kind in rows]
    several = len(pair) == 2 and min(one.n_seeds for one in pair) > 1 and len(kinds) > 1
    verdicts: dict[str, str] = {}
    for kind in kinds:
        task = kind.info.name
        beaten = constant is None or beats(
            [one.scores[task] for one in others], constant.scores[task]
        )
        verdicts[task] = verdict(judged.get(task), beaten, several)
    return verdicts


def _judged_json(found: Judged) -> dict[str, float]:
    return {
        "difference": found.difference.estimate, "low": found.low, "high": found.high, "p": found.p,
    }  # fmt: skip


def _row_json(one: Scored) -> dict[str, Any]:
    row, evaluation = one.row, one.evaluation.to_json()
    shipped = one.readings.get(row.shipped)
    budget = {"trials": row.n_trials, "member_epochs": row.member_epochs}
    if row.finalist_epochs:
        budget["finalist_epochs"] = row.finalist_epochs
    return {
        "name": row.name,
        "kind": row.kind,
        "mean": evaluation["mean"],
        "interval": list(one.interval),
        "tasks": evaluation["tasks"],
        "scores": evaluation["scores"],
        "valid": one.valid,
        "valid_minus_test": None
        if evaluation["part"] == "valid"
        else one.valid - one.evaluation.mean,
        "seeds": one.n_seeds,
        "budget": budget,
        "settings": row.settings,
        "model": row.shipped,
        "models": list(row.keys),
        "shipped": shipped.to_json() if shipped is not None and one.n_seeds > 1 else None,
    }
