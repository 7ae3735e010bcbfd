"""What is shown of a study file and its data; imports neither torch nor MLflow."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import TYPE_CHECKING, Any

from pipeline.study.catalogue import entry
from pipeline.study.loading import Study
from pipeline.study.ranges import label

if TYPE_CHECKING:
    from pipeline.data.prepared import Prepared


def study_lines(study: Study, notes: Sequence[str]) -> list[str]:
    """Returns the tasks, what is searched, and a few sampled trials."""
    spec = study.spec
    lines = [f"{spec.name} is valid.", "", "Tasks:"]
    for name, task in spec.tasks.items():
        metric = task.metric or entry("kind", task.kind).metrics[0]
        target = task.target if isinstance(task.target, str) else f"{len(task.target)} columns"
        per = f", one for each {task.per}" if task.per else ""
        lines.append(f"  {name}: {task.kind} of {target} in {spec.source_of(name)}, {metric}{per}")
    lines += ["", f"Searched by {spec.search.sampler}, {spec.search.trials} trials:"]
    lines += [f"  {path}: {found}" for path, found in study.ranges.items()] or ["  nothing"]
    lines += ["", "Trial 0, and three that could follow:"]
    for trial in (study.centre(), *sampled_trials(study, 3)):
        lines.append(
            "  " + ", ".join(f"{path}={value_text(value)}" for path, value in trial.items())
        )
    lines += ["", *(f"Note: {note}" for note in study.notes)] if study.notes else []
    return [*lines, *(["", "Data:"] if notes else []), *(f"  {note}" for note in notes)]


def sampled_trials(study: Study, count: int) -> list[dict[str, Any]]:
    """Returns trials drawn at random from the ranges; the search asks Optuna instead."""
    random = Random(study.spec.seed)
    return [
        {path: label(found.sample(random)) for path, found in study.ranges.items()}
        for _ in range(count)
    ]


def prepared_json(prepared: Prepared) -> dict[str, Any]:
    """Returns what preparing found."""
    report = prepared.report
    return {
        "rows": dict(report.n_rows),
        "tasks": {task.name: dict(task.n_labelled) for task in prepared.tasks},
        "n_numeric": prepared.encoder.n_numeric,
        "n_categorical": len(prepared.encoder.categorical),
        "duplicates": dict(report.duplicates),
        "dropped": report.dropped,
        "warnings": list(report.warnings),
        "data": prepared.data_digest,
        "prepared": prepared.prepared_digest,
    }


def prepared_lines(prepared: Prepared) -> list[str]:
    """Returns what preparing found, for people."""
    found = prepared_json(prepared)
    lines = [
        f"Rows: {prepared.sizes()}",
        f"Inputs: {found['n_numeric']} numbers, {found['n_categorical']} categories",
    ]
    for task, counts in found["tasks"].items():
        labelled = ", ".join(f"{count} {part}" for part, count in counts.items())
        lines.append(f"Labels of {task}: {labelled}")
    for pair, count in found["duplicates"].items():
        if count:
            lines.append(f"Identical inputs in {pair}: {count} rows")
    if found["dropped"]:
        lines.append(f"Dropped for that: {found['dropped']} rows")
    lines += [f"Note: {warning}" for warning in found["warnings"]]
    return [*lines, f"Data {found['data']}, prepared {found['prepared']}"]


def next_commands(study: Study, store_options: str, n_trials: int) -> list[tuple[str, str]]:
    """Returns the commands that follow a search, each with what it does.

    Args:
        study: The study.
        store_options: What names its store on the command line.
        n_trials: Its finished trials.
    """
    promote, name = study.spec.promote, f"{study.words}{store_options}"
    model = f"{promote.model or study.spec.name}@{promote.alias}"
    return [
        (f"mtl ui {name}", "look at every run in the browser"),
        (f"mtl compare {name}", "against equal weights, each task alone, baselines"),
        (f"mtl promote {name}", f"make the best model {model}"),
        (f"mtl search {name} --trials {2 * n_trials}", "go on with the search"),
    ]


def next_lines(commands: Sequence[tuple[str, str]]) -> list[str]:
    """Returns commands for the terminal."""
    return ["", "Next:", *(f"  {command}   # {what}" for command, what in commands)]


def value_text(value: Any) -> str:
    """Returns a value of a range for people."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
