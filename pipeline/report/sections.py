"""What stands in the report of a study, part by part: words, figures, tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.driver.choice import Choice
from pipeline.driver.records import TrialRecord, best_trials
from pipeline.report import row_charts, task_charts, trial_charts
from pipeline.report.charts import Figure, short
from pipeline.report.comparison import Cells, comparison_notes, row_cells, task_cells
from pipeline.report.importance import FEWEST, MEAN, importances
from pipeline.report.study import value_text
from pipeline.report.tables import choice_line, states_line
from pipeline.study.catalogue import read_params
from pipeline.study.ranges import AnyRange

MOST_ROWS = 200
"""Trials of the table, the best first: more make the page slow."""


@dataclass(frozen=True)
class Material:
    """What a study's part of the report is made from.

    Attributes:
        name: Of the study.
        state: Of its search.
        data: Digest of its data.
        trials: Its finished trials.
        ranges: What it searches.
        choice: What it ends with; None before a trial is complete.
        comparison: What `mtl compare` found; None before it did.
        commands: Commands that go on from here, each with what it does.
    """

    name: str
    state: str
    data: str
    trials: Sequence[TrialRecord]
    ranges: Mapping[str, AnyRange]
    choice: Choice | None = None
    comparison: Mapping[str, Any] | None = None
    commands: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True)
class Section:
    """One part of the report.

    Attributes:
        title: Its heading.
        reading: How its figure is read.
        figures: Drawn one below the other.
        tables: Each with a header first.
        notes: Sentences.
        commands: Commands, each with what it does.
    """

    title: str
    reading: str = ""
    figures: Sequence[Figure] = ()
    tables: Sequence[Cells] = ()
    notes: Sequence[str] = ()
    commands: Sequence[tuple[str, str]] = ()

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to show."""
        return not (self.figures or self.tables or self.notes or self.commands)


def study_sections(material: Material, compared: bool = True) -> list[Section]:
    """Returns the parts of one study's report; those with nothing to show are left out.

    Args:
        material: What they are made from.
        compared: Whether its comparison is one of them.
    """
    trials = material.trials
    shown = [material.comparison] if material.comparison and compared else []
    shares = importances(trials, material.ranges)
    parts = [
        *([comparison_section(shown)] if shown else []),
        _history(material),
        _importance(shares),
        _parallel(material, shares.get(MEAN)),
        _weights(trials),
        _fronts(material),
        _curves(trials),
        _trials(trials),
        Section("Going on", commands=material.commands),
    ]
    return [part for part in parts if not part.is_empty]


def comparison_section(documents: Sequence[Mapping[str, Any]]) -> Section:
    """Returns the comparison of one study's rows, or of several studies of the same data."""
    split = documents[0]["split"]
    figures = [row_charts.rows(documents), row_charts.differences(documents)]
    tables = [cells for one in documents for cells in (_named(one, documents), task_cells(one))
              if cells]  # fmt: skip
    notes = [note for one in documents for note in comparison_notes(one)]
    return Section(
        f"Comparison on {split}",
        "Above, each row's mean score over tasks and seeds with its 95 % interval (rows of the "
        "split and seeds are drawn); blue is what the search found. Below, how much each task "
        "gains (right of zero) or loses by learning together, against the same task alone at "
        "equal budget; an interval that crosses zero leaves the verdict unclear.",
        [figure for figure in figures if figure],
        tables,
        notes,
    )


def _named(document: Mapping[str, Any], documents: Sequence[Mapping[str, Any]]) -> Cells:
    """Returns the rows of a comparison; of several, each with its study."""
    cells = row_cells(document)
    if len(documents) == 1:
        return cells
    names = ["study", *[document["study"]] * (len(cells) - 1)]
    return [[name, *line] for name, line in zip(names, cells, strict=True)]


def _history(material: Material) -> Section:
    figure = trial_charts.history(material.trials)
    notes = [f"{len(material.trials)} trials: {states_line(material.trials)}."]
    if material.choice is not None:
        notes.append(choice_line(material.choice))
    return Section(
        "Search history",
        "One mark a trial; crosses were pruned, with the score that they had then. The line is "
        "the best complete trial so far: where it has been flat for long, further trials pay "
        "little. Point at a mark for its values.",
        _some(figure), notes=notes,
    )  # fmt: skip


def _importance(found: Mapping[str, Mapping[str, float]]) -> Section:
    return Section(
        "What matters",
        "The share of each searched value in what makes a trial one of the best quarter, for the "
        "mean score and for each task (PED-ANOVA). Columns sum to 100 %. A value that matters for "
        f"one task only is one to look at below. From {FEWEST} complete trials on; shares of few "
        "trials are rough.",
        _some(task_charts.importance(found)),
    )


def _parallel(material: Material, shares: Mapping[str, float] | None) -> Section:
    figure = trial_charts.parallel(material.trials, material.ranges, shares)
    return Section(
        "All values at once",
        "A line is a complete trial, coloured by its mean score. Drag along an axis to keep only "
        "the lines that pass there, click the axis to release them. Values searched on a log "
        "scale are drawn on one; of many values those that matter most are shown.",
        _some(figure),
    )


def _weights(trials: Sequence[TrialRecord]) -> Section:
    return Section(
        "Loss weights against scores",
        "Across, the weight of one task's loss (all weights sum to the number of tasks); upwards, "
        "the score of a task. A task's own weight usually helps it; a weight that costs another "
        "task shows where tasks compete. With many tasks, rank correlations stand in place of "
        "the panels: blue helps, red harms. Only complete trials are shown.",
        _some(task_charts.weights(trials)),
    )


def _fronts(material: Material) -> Section:
    chosen = material.choice.shipped.number if material.choice else None
    return Section(
        "Tasks against each other",
        "Blue trials are on the front: no other trial beats them on both tasks. A front that "
        "bends like a corner has one trial that is good for both; a long slope is a trade. The "
        "ring marks the trial that the study ends with, as it was in the search.",
        _some(task_charts.fronts(material.trials, chosen)),
    )


def _curves(trials: Sequence[TrialRecord]) -> Section:
    return Section(
        "Learning curves of the best trials",
        "Valid scores by epoch; the dot is the epoch whose parameters count. Curves that still "
        "rise at the end ask for more epochs, curves that fall after the dot for more "
        "regularisation. Click a name to hide its trial.",
        _some(trial_charts.curves(best_trials(trials, trial_charts.MOST_CURVES))),
    )


def _trials(trials: Sequence[TrialRecord]) -> Section:
    best = best_trials(trials, MOST_ROWS)
    if not best:
        return Section("Trials")
    tasks = list(best[0].evaluation.scores) if best[0].evaluation else []
    params = list(dict.fromkeys(path for trial in best for path in trial.params))
    header = ["trial", "score", *tasks, "epochs", "seconds", *map(short, params)]
    cells = [header]
    for trial in best:
        scores = trial.evaluation.scores if trial.evaluation else {}
        read = read_params(trial.params)
        cells.append([
            f"#{trial.number}", f"{trial.score:.4f}", *(f"{scores[task]:.4f}" for task in tasks),
            str(trial.epochs), f"{trial.seconds:.1f}",
            *(value_text(read[path]) if path in read else "" for path in params),
        ])  # fmt: skip
    return Section("Complete trials", tables=[cells])


def _some(figure: Figure | None) -> list[Figure]:
    return [figure] if figure else []
