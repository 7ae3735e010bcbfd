"""What is shown in the terminal: tables from recorded trials."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from rich.table import Table
from rich.text import Text

from pipeline.driver.choice import Choice
from pipeline.driver.records import TrialRecord, best_trials
from pipeline.report.charts import short
from pipeline.report.study import value_text
from pipeline.study.catalogue import read_params


def trials_frame(trials: Sequence[TrialRecord]) -> pd.DataFrame:
    """Returns a row for each trial: state, scores, epochs, time, values."""
    rows = []
    for trial in trials:
        scores = trial.evaluation.scores if trial.evaluation else {}
        rows.append(
            {
                "trial": trial.number,
                "state": trial.state,
                "score": trial.score,
                **{f"score.{task}": value for task, value in scores.items()},
                "epochs": trial.epochs,
                "best_epoch": trial.best_epoch,
                "seconds": round(trial.seconds, 3),
                "reason": "" if trial.state == "failed" else trial.reason,
                "run_id": trial.run_id,
                **trial.params,
                **{f"lambda.{task}": weight for task, weight in trial.weights.items()},
            }
        )
    return pd.DataFrame(rows)


def trials_table(trials: Sequence[TrialRecord], most: int = 20) -> Table:
    """Returns the best trials, then how the others ended."""
    best = best_trials(trials, most)
    shown = best or list(trials)[-most:]
    tasks = list(shown[0].evaluation.scores) if shown and shown[0].evaluation else []
    params = list(shown[0].params) if shown else []
    table = Table(title=f"The best {len(best)} of {len(trials)} trials" if best else "Trials")
    for name in ("trial", "score"):
        table.add_column(name, justify="right")
    for name in (*tasks, *map(short, params)):
        table.add_column(name, justify="right", overflow="fold")
    for trial in shown:
        scores = trial.evaluation.scores if trial.evaluation else {}
        read = read_params(trial.params)
        table.add_row(
            f"#{trial.number}",
            _number(trial.score),
            *(_number(scores.get(task)) for task in tasks),
            *(value_text(read[name]) if name in read else "" for name in params),
        )
    return table


def trial_table(trial: TrialRecord, name: str = "") -> Table:
    """Returns everything that is known of one trial."""
    table = Table(title=f"{name or f'Trial #{trial.number}'}: {trial.state}", show_header=False)
    table.add_column("key")
    table.add_column("value", overflow="fold")
    facts = {
        "why": trial.reason,
        "score on valid": _number(trial.score),
        "epochs": f"{trial.epochs}, best {trial.best_epoch}",
        "parameters": f"{trial.n_parameters:,}",
        "seconds": f"{trial.seconds:.1f}",
        "MLflow run": trial.run_id,
        **{name: value_text(value) for name, value in read_params(trial.params).items()},
        **{f"weight of {task}": f"{weight:.4g}" for task, weight in trial.weights.items()},
    }
    if trial.evaluation is not None:
        for task, metrics in trial.evaluation.tasks.items():
            facts |= {f"valid {task} {name}": _number(value) for name, value in metrics.items()}
    for key, value in facts.items():
        if value:
            table.add_row(Text(key), Text(value))  # a traceback may hold what looks like markup
    return table


def choice_line(choice: Choice) -> str:
    """Returns which model a study ends with, and why."""
    shipped = choice.shipped
    if not choice.retrained:
        return (
            f"The best trial #{shipped.number} ({_number(shipped.score)} on valid) is used as it "
            "is: no finalists were trained."
        )
    means = ", ".join(
        f"#{number} {_number(mean) or 'none'}" for number, mean in choice.candidates.items()
    )
    why = ", the knee of their mean scores on the objectives" if shipped.objectives else ""
    return (
        f"Finalists, mean valid score over fresh seeds: {means}. #{shipped.number} is chosen{why}; "
        f"its median seed {shipped.replicate} of {len(choice.seeds)} ({_number(shipped.score)}) is "
        "what is shipped, evaluated as `best` and promoted."
    )


def choice_json(choice: Choice) -> dict[str, Any]:
    """Returns which model a study ends with: what `best` names in `evaluate` and `promote`."""
    shipped = choice.shipped
    return {
        "trial": shipped.number,
        "replicate": shipped.replicate,
        "score": shipped.score,
        "scores": dict(shipped.evaluation.scores) if shipped.evaluation else {},
        "params": dict(shipped.params),
        "run_id": shipped.run_id,
        "mean_over_seeds": choice.mean,
        "seeds": [record.score for record in choice.seeds],
        "candidates": {str(number): mean for number, mean in choice.candidates.items()},
        "line": choice_line(choice),
    }


def states_line(trials: Sequence[TrialRecord]) -> str:
    """Returns how many trials ended how."""
    counts = {state: sum(trial.state == state for trial in trials)
              for state in ("complete", "pruned", "diverged", "failed")}  # fmt: skip
    parts = [f"{count} {state}" for state, count in counts.items() if count or state == "complete"]
    return ", ".join(parts)


def search_lines(found: Mapping[str, Any]) -> list[str]:
    """Returns how many trials a search has, and how long this launch took."""
    counts = found["trials"]
    diverged = f" ({counts['diverged']} diverged)" if counts["diverged"] else ""
    total = counts["complete"] + counts["pruned"] + counts["failed"]
    return [
        f"{total} trials: {counts['complete']} complete, {counts['pruned']} pruned{diverged}, "
        f"{counts['failed']} failed; {found['seconds']:.1f} s",
        *([found["shipped"]["line"]] if found.get("shipped") else []),
    ]


def evaluation_table(found: Mapping[str, Any]) -> Table:
    """Returns every metric of one trial's model."""
    table = Table(
        title=f"Trial #{found['trial']} on {found['split']}: mean score {_number(found['mean'])}"
    )
    for name in ("task", "metric"):
        table.add_column(name)
    for name in ("value", "rows"):
        table.add_column(name, justify="right")
    for task, metrics in found["tasks"].items():
        for name, value in metrics.items():
            table.add_row(task, name, _number(value), str(found["n_rows"][task]))
    return table


def gates_table(decision: Mapping[str, Any]) -> Table:
    """Returns the gates of a promotion."""
    said = decision["decision"]
    if decision.get("dry_run"):
        said = {"promoted": "would be promoted", "refused": "would be refused"}.get(said, said)
    table = Table(title=f"{decision['model']}: {said}")
    table.add_column("gate", no_wrap=True)
    table.add_column("passed")
    for column in ("value", "surely above", "threshold"):
        table.add_column(column, justify="right")
    table.add_column("note")
    for gate in decision["gates"]:
        passed = ("warns" if gate.get("warns") else "yes") if gate["passed"] else "no"
        numbers = (_number(gate.get(key)) for key in ("value", "bound", "threshold"))
        table.add_row(gate["name"], passed, *numbers, gate.get("note", ""))
    if "confidence" in decision:
        table.caption = (
            f"`surely above` holds with {decision['confidence']:.0%} confidence over test rows; "
            f"test was read for {decision['test_reads']} models"
        )
    return table


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"
