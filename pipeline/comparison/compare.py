"""Rows in, the comparison out: scores, intervals, gains, verdicts; test is read once a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.comparison.rows import Row
from pipeline.comparison.summaries import samples, summary_rows
from pipeline.data.prepared import Prepared
from pipeline.evaluation.bootstrap import bootstrap_means, interval
from pipeline.evaluation.evaluate import Evaluation, evaluate_one, tuned
from pipeline.evaluation.gains import delta_m, mean_gain, task_gains
from pipeline.tasks.base import Kind


@dataclass(frozen=True)
class Scored:
    """A row with its scores on one part.

    Attributes:
        row: The row.
        evaluation: All metrics.
        samples: (D, T) scores under resampling of rows, the same draws for every row.
    """

    row: Row
    evaluation: Evaluation
    samples: NDArray[np.float64]

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval of the row's mean."""
        return interval(self.samples.mean(1))


def score_rows(rows: Sequence[Row], prepared: Prepared, part: str, seed: int) -> list[Scored]:
    """Scores every row on one part."""
    return [_score(row, prepared, part, seed) for row in rows]


def _score(row: Row, prepared: Prepared, part: str, seed: int) -> Scored:
    base = prepared.kinds()
    kinds = tuned(base, row.outputs["valid"], prepared.parts["valid"].targets)
    rows = prepared.parts[part]
    evaluation = evaluate_one(kinds, row.outputs[part], rows.targets, part)
    samples = bootstrap_means(kinds, row.outputs[part], rows.targets, rows.groups, seed=seed)
    return Scored(row, evaluation, samples)


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
    document: dict[str, Any] = {
        "study": study,
        "split": part,
        "data": prepared.data_digest,
        "rows": [_row_json(one) for one in scored],
        "gains": {},
        "mean_gain": None,
        "delta_m": None,
        "delta_m_reason": "",
        "verdicts": _verdicts(kinds, by_kind),
        "summaries": {},
        "samples": {},
        "primary": {kind.info.name: kind.info.metric for kind in kinds},
        "test_reads": test_reads,
    }
    if "tuned" in by_kind:
        outputs = by_kind["tuned"].row.outputs[part]
        document["summaries"] = {
            kind.info.name: summary_rows(prepared, outputs[kind.info.name], kind, part, seed)
            for kind in kinds
            if kind.info.name in prepared.documents
        }
        document["samples"] = {
            kind.info.name: samples(prepared, outputs[kind.info.name], kind, part)
            for kind in kinds
            if kind.info.name in prepared.documents
        }
    if {"tuned", "single_task", "constant"} <= by_kind.keys():
        document |= _gains(kinds, by_kind)
    return document


def _gains(kinds: Sequence[Kind], rows: Mapping[str, Scored]) -> dict[str, Any]:
    model, alone, constant = rows["tuned"], rows["single_task"], rows["constant"]
    gains = task_gains(
        kinds, model.evaluation, alone.evaluation, constant.evaluation,
        model.samples, alone.samples,
    )  # fmt: skip
    found = {task: vars(gain) for task, gain in gains.items() if gain is not None}
    change = delta_m(kinds, model.evaluation, alone.evaluation)
    return {
        "gains": found,
        "mean_gain": mean_gain({t: gain.gain if gain else None for t, gain in gains.items()}),
        "delta_m": change.value,
        "delta_m_reason": change.reason,
    }


def _verdicts(kinds: Sequence[Kind], rows: Mapping[str, Scored]) -> dict[str, str]:
    """Says `neither` where no row beats the constant; anything more needs several seeds.

    One seed cannot tell whether sharing or luck won, so `together` and `alone` are not given.
    """
    constant = rows.get("constant")
    verdicts = {}
    for column, kind in enumerate(kinds):
        beaten = constant is None or any(
            interval(one.samples[:, column] - constant.samples[:, column])[0] > 0
            for name, one in rows.items()
            if name != "constant"
        )
        verdicts[kind.info.name] = "unclear" if beaten else "neither"
    return verdicts


def _row_json(one: Scored) -> dict[str, Any]:
    evaluation = one.evaluation.to_json()
    return {
        "name": one.row.name,
        "kind": one.row.kind,
        "mean": evaluation["mean"],
        "interval": list(one.interval),
        "tasks": evaluation["tasks"],
        "scores": evaluation["scores"],
        "budget": {"trials": one.row.n_trials, "member_epochs": one.row.member_epochs},
        "settings": one.row.settings,
        "model": one.row.key,
    }
