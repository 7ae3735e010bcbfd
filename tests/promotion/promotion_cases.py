"""Measurements of models that nobody trained."""

from typing import Any

from pipeline.evaluation.evaluate import Evaluation
from pipeline.promotion.card import Card
from pipeline.promotion.contest import Change, Contest
from pipeline.promotion.gates import Facts
from pipeline.promotion.standalone import Standalone

ALONE = Standalone(gap=1e-7, compared="16 rows alone, 64 at once", latency_ms=3.0, size_mb=1.5)


def change(gain: float, low: float | None = None, **tasks: float) -> Change:
    """A gain with its lower bound; tasks with what each gains."""
    low = gain - 0.005 if low is None else low
    return Change(gain, low, {task: (one, one - 0.01, one + 0.01) for task, one in tasks.items()})


def contest(gain: float, low: float | None = None, **tasks: float) -> Contest:
    return Contest(n_rows=100, n_compared=100, change=change(gain, low, **tasks))


def facts(**values: Any) -> Facts:
    """A complete trial that passes every gate, but for what is given."""
    passing: dict[str, Any] = {
        "state": "complete", "rivals": {"constant": change(0.3)}, "standalone": ALONE,
        "dirty": False,
    }  # fmt: skip
    return Facts(**{**passing, **values})


def evaluation(**scores: float) -> Evaluation:
    mean = sum(scores.values()) / len(scores)
    tasks = {task: {"roc_auc": score} for task, score in scores.items()}
    return Evaluation("test", dict.fromkeys(scores, 50), tasks, scores, mean)


CARD = Card("Trial 1 of the study **small**", "d" * 32)
