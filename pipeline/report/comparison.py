"""The comparison as tables: rows against each other, then each task against itself alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

MANY_TASKS = 6
"""Above this the rows' tasks stand in the table of tasks only, else no screen is wide enough."""

_MEANING = {
    "together": "learning together is better for",
    "alone": "each alone is better for",
    "unclear": "unclear whether sharing helped",
    "neither": "no row beats the constant for",
}

Cells = list[list[str]]

_GAP = "\u2003"


def comparison_tables(document: Mapping[str, Any]) -> list[Table]:
    """Returns the table of rows, and that of tasks where there are several."""
    rows = _table(f"{document['study']} on {document['split']}", row_cells(document), ["tuned"])
    tasks = task_cells(document)
    beside = [_table("Each task, against the same task alone", tasks)] if tasks else []
    return [rows, *beside, *summary_tables(document)]


def comparison_page(document: Mapping[str, Any]) -> str:
    """Returns the comparison in Markdown, for the parent run's page."""
    parts = [f"**Comparison on {document['split']}**", markdown(row_cells(document))]
    tasks = task_cells(document)
    if tasks:
        parts += ["**Each task, against the same task alone**", markdown(tasks)]
    return "\n\n".join([*parts, "\n".join(f"- {note}" for note in comparison_notes(document))])


def row_cells(document: Mapping[str, Any]) -> Cells:
    """Returns the rows of a comparison with each task's primary metric, a header first."""
    primary = document["primary"]
    shown = primary if len(primary) <= MANY_TASKS else {}
    header = ["row", "mean score", "95 % interval"]
    header += [f"{task} {metric}" for task, metric in shown.items()]
    cells = [[*header, "valid - test", "seeds", "budget"]]
    for row in document["rows"]:
        gap = row.get("valid_minus_test")
        cells.append([
            row["name"], _number(row["mean"]), _interval(*row["interval"]),
            *(_number(row["tasks"][task].get(metric)) for task, metric in shown.items()),
            "" if gap is None else f"{gap:+.4f}", str(row["seeds"]), budget_text(row["budget"]),
        ])  # fmt: skip
    return cells


def task_cells(document: Mapping[str, Any]) -> Cells:
    """Returns each task: what rows score, the gain over the task alone, the verdict.

    Empty where there is one task, or no row to compare it with.
    """
    if len(document["verdicts"]) == 1 or not document["differences"]:
        return []
    rows = document["rows"]
    names = [row["name"].replace("each task ", "") for row in rows]
    cells = [["task", "metric", *names, "gain over alone", "95 % interval", "verdict"]]
    for task, metric in document["primary"].items():
        gain = document["gains"].get(task)
        found = ["", ""] if gain is None else [
            f"{gain['gain']:+.4f}", f"{gain['low']:+.4f} to {gain['high']:+.4f}"
        ]  # fmt: skip
        scores = [_number(row["tasks"][task].get(metric)) for row in rows]
        cells.append([task, metric, *scores, *found, document["verdicts"][task]])
    return cells


def comparison_notes(document: Mapping[str, Any]) -> list[str]:
    """Returns what the tables do not say: mean gain, verdicts, what is shipped, readings."""
    notes = []
    if len(document["verdicts"]) > 1:
        notes = _gain_notes(document)
    return [*notes, *_verdict_notes(document), *_shipped_notes(document), _reads_note(document)]


def _gain_notes(document: Mapping[str, Any]) -> list[str]:
    notes = []
    if document["mean_gain"] is not None:
        low, high = document["mean_gain_interval"]
        notes.append(
            f"mean gain over each task alone {document['mean_gain']:+.4f} ({low:+.4f} to "
            f"{high:+.4f}), as a share of what is left above the constant"
        )
    if document["delta_m"] is not None:
        notes.append(f"delta_m {document['delta_m']:+.2%} against each task alone")
    elif document["delta_m_reason"]:
        notes.append(f"delta_m is not given: {document['delta_m_reason']}")
    return notes


def _verdict_notes(document: Mapping[str, Any]) -> list[str]:
    """Says each verdict once, with its tasks; of one task only that nothing works."""
    verdicts = document["verdicts"]
    notes = []
    for kind, meaning in _MEANING.items():
        tasks = ", ".join(task for task, verdict in verdicts.items() if verdict == kind)
        if tasks and (kind == "neither" or len(verdicts) > 1):
            notes.append(f"{kind}: {meaning} {tasks}{_why(kind, document)}")
    return notes


def _why(kind: str, document: Mapping[str, Any]) -> str:
    if kind == "neither":
        return ""
    seeds = [row["seeds"] for row in document["rows"] if row["kind"] in ("tuned", "single_task")]
    if len(seeds) < 2:
        return "; each task alone is not there to compare with"
    if min(seeds) == 1:
        return "; one seed a row cannot tell sharing from luck"
    return " (95 % over all tasks together, rows and seeds drawn)" if kind != "unclear" else ""


def _shipped_notes(document: Mapping[str, Any]) -> list[str]:
    return [
        f"shipped: {row['model']}, mean score {_number(row['shipped']['mean'])} on "
        f"{document['split']}; rows show means over their seeds"
        for row in document["rows"]
        if row["kind"] == "tuned" and row.get("shipped")
    ]


def _reads_note(document: Mapping[str, Any]) -> str:
    return f"test was read for {document['test_reads']} models of this study"


def budget_text(budget: Mapping[str, int]) -> str:
    """Returns what a row cost."""
    epochs = f", {budget['member_epochs']} epochs" if budget["member_epochs"] else ""
    more = f" + {budget['finalist_epochs']} of finalists" if "finalist_epochs" in budget else ""
    return f"{budget['trials']} fit{'s' if budget['trials'] != 1 else ''}{epochs}{more}"


def summary_tables(document: Mapping[str, Any]) -> list[Table]:
    """Returns a table for each task whose answers are summaries: ROUGE, copying, length."""
    tables = []
    for task, rows in document.get("summaries", {}).items():
        title = f"Summaries of {task} on {document['split']}, {rows[0]['n']} documents"
        table = Table(title=title)
        table.add_column("summary")
        for name in ("ROUGE-1", "ROUGE-2", "ROUGE-L", "copied", "length"):
            table.add_column(name, justify="right")
        for row in rows:
            scores = [_with_interval(row, name) for name in ("rouge1", "rouge2", "rougeL")]
            beside = [_number(row[name]) for name in ("copied", "length")]
            bold = "bold" if row is rows[0] else None
            table.add_row(row["name"], *scores, *beside, style=bold)
        tables.append(table)
    return [*tables, *_sample_tables(document)]


def _sample_tables(document: Mapping[str, Any], most: int = 3) -> list[Table]:
    """Returns a few summaries beside their references, cut to a line or two."""
    tables = []
    for task, shown in document.get("samples", {}).items():
        table = Table(title=f"Some summaries of {task}; more with `--json`")
        for name in ("reference", "summary"):
            table.add_column(name, overflow="fold")
        for one in shown[:most]:
            table.add_row(Text(one["reference"][:200]), Text(one["summary"][:200]))
        tables.append(table)
    return tables


def _with_interval(row: Mapping[str, Any], name: str) -> str:
    low, high = row["intervals"][name]
    return f"{row[name]:.3f} ({low:.3f} to {high:.3f})"


def _table(title: str, cells: Cells, bold: Sequence[str] = ()) -> Table:
    table = Table(title=title)
    left = {"row", "task", "metric", "verdict", "budget"}
    for name in cells[0]:
        table.add_column(name, justify="left" if name in left else "right", overflow="fold")
    for row in cells[1:]:
        table.add_row(*row, style="bold" if row[0] in bold else None)
    return table


def markdown(cells: Cells) -> str:
    """Returns cells as a table in Markdown, the header first.

    MLflow sets columns next to each other: a wide space keeps them apart.
    """
    lines = [cells[0], ["---"] * len(cells[0]), *cells[1:]]
    return "\n".join(f"| {f'{_GAP}| '.join(line)} |" for line in lines)


def _interval(low: float | None, high: float | None) -> str:
    return f"{_number(low)} to {_number(high)}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"
