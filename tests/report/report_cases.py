"""Finished trials made by hand, and what a table shows as text."""

import io
from typing import Any

from rich.console import Console

from pipeline.driver.records import TrialRecord
from pipeline.evaluation.evaluate import Evaluation


def evaluation(left: float, total: float) -> Evaluation:
    return Evaluation(
        part="valid",
        n_rows={"left": 30, "total": 40},
        tasks={"left": {"accuracy": left, "log_loss": 0.7}, "total": {"r2": total, "rmse": 2.5}},
        scores={"left": left, "total": total},
        mean=(left + total) / 2,
    )


def trial(number: int, state: str = "complete", score: float | None = 0.5, **values: Any):
    """A trial; with a score of s, task `left` has s + 0.1 and task `total` s - 0.1."""
    complete = state == "complete" and score is not None
    found: dict[str, Any] = {
        "number": number, "params": {"train.lr": 0.01 * (number + 1), "model.layers": "[64,64]"},
        "weights": {"left": 1.5, "total": 0.5}, "seed": number, "state": state, "reason": "",
        "score": score, "evaluation": evaluation(score + 0.1, score - 0.1) if complete else None,
        "curve": (), "epochs": 12, "best_epoch": 9, "n_parameters": 12345, "seconds": 2.0,
        "run_id": f"run{number}", "ended_ms": 0,
    }  # fmt: skip
    return TrialRecord(**{**found, **values})


def shown(renderable: Any, width: int = 160) -> str:
    console = Console(record=True, width=width, file=io.StringIO())
    console.print(renderable)
    return console.export_text()


def cells(line: str) -> list[str]:
    """The cells of a table's line."""
    return [cell.strip() for cell in line.strip("│┃ ").replace("┃", "│").split("│")]


def row_of(text: str, first: str) -> list[str]:
    """The cells of the row that begins with a cell."""
    [found] = [cells(line) for line in text.splitlines() if cells(line)[0] == first]
    return found
