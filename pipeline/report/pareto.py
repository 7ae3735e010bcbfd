"""The Pareto front of a study with several objectives: as JSON, as lines, as a figure."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

from pipeline.data.prepared import Prepared
from pipeline.driver.pareto import front_trials, front_volume
from pipeline.driver.records import TrialRecord, best_trials
from pipeline.report.figures import Point, scatters


def pareto_json(
    prepared: Prepared, objective: str | Sequence[str], trials: Sequence[TrialRecord]
) -> dict[str, Any]:
    """Returns what `mtl search --json` says of several objectives; no key where there is one."""
    if isinstance(objective, str):
        return {}
    return {
        "objective": list(objective),
        "front": [
            {
                "trial": trial.number,
                "scores": dict(zip(trial.objectives, trial.values, strict=True)),
                "params": dict(trial.params),
                "run_id": trial.run_id,
            }
            for trial in front_trials(trials)
        ],
        "hypervolume": front_volume(prepared, trials),
    }


def front_lines(trials: Sequence[TrialRecord]) -> list[str]:
    """Returns the front for people, its knee marked; nothing where there is one objective."""
    found = front_trials(trials)
    if not found:
        return []
    knee = best_trials(trials, 1)[0].number
    count = "1 trial" if len(found) == 1 else f"{len(found)} trials"
    lines = [f"Pareto front of {', '.join(found[0].objectives)}: {count}"]
    for trial in sorted(found, key=lambda one: -one.values[0]):
        scores = ", ".join(
            f"{task} {value:.4f}"
            for task, value in zip(trial.objectives, trial.values, strict=True)
        )
        mark = "  (knee: the best trial)" if trial.number == knee else ""
        lines.append(f"  #{trial.number}: {scores}{mark}")
    return lines


def front_files(trials: Sequence[TrialRecord]) -> dict[str, str]:
    """Returns the front as the artifact front.svg, a panel for each two objectives."""
    found = front_trials(trials)
    if not found:
        return {}
    on_front = {trial.number for trial in found}
    knee = best_trials(trials, 1)[0].number
    names = found[0].objectives
    complete = [trial for trial in trials if trial.state == "complete" and trial.values]
    panels = []
    for i, j in combinations(range(len(names)), 2):
        points = [
            Point(
                trial.values[i], trial.values[j], f"#{trial.number}",
                strong=trial.number in on_front, chosen=trial.number == knee,
            )
            for trial in complete
        ]  # fmt: skip
        panels.append((names[i], names[j], points))
    title = f"{len(found)} of {len(complete)} trials are on the front; the knee has a ring"
    return {"front.svg": scatters(panels, title)}
