"""The description of a study on its parent run's page in MLflow, in Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.driver.records import TrialRecord, best_trials
from pipeline.report.comparison import comparison_page, markdown
from pipeline.report.html import REPORT
from pipeline.report.sections import Material
from pipeline.report.tables import choice_line, states_line
from pipeline.tracking import pages

_MOST_BEST = 5
_MOST_COMPARED = 10


def study_page(material: Material, experiment_id: str, run_id: str) -> str:
    """Returns the description; MLflow folds it, so that the result is in the first lines.

    Args:
        material: The study.
        experiment_id: Its experiment.
        run_id: Its parent run.
    """
    trials = material.trials
    best = best_trials(trials, _MOST_COMPARED)
    parts = [_result(material, best), _links(material, experiment_id, run_id, best)]
    if material.choice is not None:
        parts.append(choice_line(material.choice))
    if material.comparison is not None:
        parts.append(comparison_page(material.comparison))
    if best:
        parts.append(_best_table(best[:_MOST_BEST]))
    return "\n\n".join([*parts, _filters(experiment_id, best), _commands(material.commands)])


def _result(material: Material, best: Sequence[TrialRecord]) -> str:
    head = f"**{material.name}** ({material.state}): "
    if not best or best[0].evaluation is None:
        return f"{head}no trial is complete yet. {states_line(material.trials)}."
    top = best[0]
    scores = ", ".join(f"{task} {score:.4f}" for task, score in best[0].evaluation.scores.items())
    return (
        f"{head}best trial **#{top.number}** with mean valid score **{top.score:.4f}** "
        f"({scores}). {len(material.trials)} trials: {states_line(material.trials)}."
    )


def _links(material: Material, experiment_id: str, run_id: str, best: Sequence[TrialRecord]) -> str:
    links = {
        "report": pages.file_page(experiment_id, run_id, REPORT),
        "trials by score": pages.view_page(experiment_id, pages.TRIALS),
        "charts": pages.view_page(experiment_id, pages.TRIALS, charts=True),
    }
    if len(best) > 1:
        runs = [trial.run_id for trial in best]
        links[f"compare the best {len(best)}"] = pages.compare_page(experiment_id, runs)
    if material.choice is not None:
        shipped = material.choice.shipped
        links[f"the model to ship ({shipped.label})"] = pages.run_page(
            experiment_id, shipped.run_id
        )
    return "See " + ", ".join(f"[{name}]({page})" for name, page in links.items()) + "."


def _best_table(best: Sequence[TrialRecord]) -> str:
    tasks = list(best[0].evaluation.scores) if best[0].evaluation else []
    cells = [["trial", "score", *tasks]]
    for trial in best:
        scores = trial.evaluation.scores if trial.evaluation else {}
        cells.append([f"#{trial.number}", f"{trial.score:.4f}",
                      *(f"{scores[task]:.4f}" for task in tasks)])  # fmt: skip
    return f"**Best trials on valid**\n\n{markdown(cells)}"


def _filters(experiment_id: str, best: Sequence[TrialRecord]) -> str:
    """Returns filters for the search box of the table of runs, each with a link that uses it."""
    found = {f"{state} trials": pages.trials_condition(state) for state in pages.STATES}
    found["finalists"] = "tags.row = 'finalist'"
    found["all rows to compare"] = "tags.kind = 'row'"
    for trial in best[:1]:
        for info in trial.tasks[:1]:
            metric = f"valid/{info.name}/{info.metric}"
            value = trial.evaluation.tasks[info.name][info.metric] if trial.evaluation else 0.0
            found[f"trials as good for {info.name} as the best"] = (
                f"tags.kind = 'trial' and metrics.`{metric}` >= {value:.4g}"
            )
    lines = [["to see", "filter"]]
    for name, condition in found.items():
        lines.append([f"[{name}]({pages.runs_page(experiment_id, condition)})", f"`{condition}`"])
    return f"**How to filter** (the table of runs has a search box)\n\n{markdown(lines)}"


def _commands(commands: Sequence[tuple[str, str]]) -> str:
    lines = "\n".join(f"{command}   # {what}" for command, what in commands)
    return f"**How to go on**\n\n```bash\n{lines}\n```"
