"""The report as one HTML file that needs nothing else: no network, no other file."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping, Sequence
from functools import cache
from html import escape
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

from pipeline.driver.json_files import finite
from pipeline.errors import InputError
from pipeline.report.charts import Figure
from pipeline.report.comparison import Cells
from pipeline.report.sections import Material, Section, comparison_section, study_sections

REPORT = "report.html"
"""Name of the report among a study's files."""


def study_report(material: Material) -> str:
    """Returns the report of one study."""
    cards = _cards(material)
    return _page(f"Study {material.name}", _subtitle(material), cards, study_sections(material))


def studies_report(materials: Sequence[Material]) -> str:
    """Returns the report of studies of the same data: their rows together, then each.

    Raises:
        InputError: They have different data, so that their scores do not compare.
    """
    if len(materials) == 1:
        return study_report(materials[0])
    need_same_data([(material.name, material.data) for material in materials])
    documents = [material.comparison for material in materials if material.comparison]
    sections = [comparison_section(documents)] if documents else []
    sections += [
        _of_study(material.name, part)
        for material in materials
        for part in study_sections(material, compared=False)
    ]
    names = ", ".join(material.name for material in materials)
    cards = {f"best of {one.name}": _best(one) for one in materials}
    return _page("Studies compared", f"{names}; data {materials[0].data[:12]}", cards, sections)


def need_same_data(studies: Sequence[tuple[str, str]]) -> None:
    """Checks that studies may be compared.

    Args:
        studies: Name and digest of the data of each.

    Raises:
        InputError: They have different data, so that their scores do not compare.
    """
    if len({digest for _, digest in studies}) > 1:
        found = ", ".join(f"{name} {digest[:12]}" for name, digest in studies)
        raise InputError(
            "The studies have different data (rows, labels or split), so their scores cannot be "
            f"compared. Found data digests: {found}. Compare studies with the same data digest, "
            "which `mtl prepare` prints."
        )


def _of_study(name: str, part: Section) -> Section:
    return Section(f"{name}: {part.title[0].lower()}{part.title[1:]}", part.reading, part.figures,
                   part.tables, part.notes, part.commands)  # fmt: skip


def _subtitle(material: Material) -> str:
    now = time.strftime("%Y-%m-%d %H:%M")
    return f"Search {material.state}; data {material.data[:12]}; written {now}"


def _cards(material: Material) -> dict[str, str]:
    trials = material.trials
    complete = sum(trial.state == "complete" for trial in trials)
    cards = {"best mean valid score": _best(material), "trials": str(len(trials)),
             "complete": str(complete), "values searched": str(len(material.ranges))}  # fmt: skip
    if material.comparison is not None:
        split = material.comparison["split"]
        for row in material.comparison["rows"]:
            if row["kind"] == "tuned":
                cards[f"tuned on {split}"] = f"{row['mean']:.4f}"
        verdicts = list(material.comparison["verdicts"].values())
        for verdict in ("together", "alone", "unclear", "neither"):
            if verdict in verdicts and len(verdicts) > 1:
                cards[f"tasks: {verdict}"] = str(verdicts.count(verdict))
    return cards


def _best(material: Material) -> str:
    scores = [trial.score for trial in material.trials
              if trial.state == "complete" and trial.score is not None]  # fmt: skip
    return f"{max(scores):.4f}" if scores else "none yet"


def _page(title: str, subtitle: str, cards: Mapping[str, str], sections: Sequence[Section]) -> str:
    figures: dict[str, Figure] = {}
    body = "\n".join(_section(index, part, figures) for index, part in enumerate(sections))
    links = "".join(f'<a href="#s{i}">{escape(part.title)}</a>' for i, part in enumerate(sections))
    shown = "".join(f'<div class="card"><b>{escape(value)}</b><span>{escape(name)}</span></div>'
                    for name, value in cards.items())  # fmt: skip
    # In JSON inside a page only `</` and `<!` could end or change the script.
    data = json.dumps(finite(figures), allow_nan=False, separators=(",", ":")).replace(
        "<", "\\u003c"
    )
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<link rel="icon" href="data:,">
<style>
{_asset("page.css")}</style>
</head>
<body>
<header><h1>{escape(title)}</h1><p class="soft">{escape(subtitle)}</p></header>
<nav><div>{links}<button id="theme" title="change between light and dark">dark</button></div></nav>
<main>
<div class="cards">{shown}</div>
{body}
</main>
<footer>Made by mtl-pipeline. The file holds everything it shows and loads nothing.</footer>
<script type="application/json" id="figures">{data}</script>
<script>{_plotly()}</script>
<script>
{_asset("page.js")}</script>
</body>
</html>
"""


def _section(index: int, part: Section, figures: dict[str, Figure]) -> str:
    lines = [f'<section><h2 id="s{index}">{escape(part.title)}</h2>']
    lines += [f"<p>{_words(note)}</p>" for note in part.notes if not part.tables]
    if part.reading and (part.figures or part.tables):
        lines.append(f'<p class="reading">{escape(part.reading)}</p>')
    for number, figure in enumerate(part.figures):
        name = f"f{index}-{number}"
        figures[name] = figure
        height = int(figure["layout"]["height"])
        lines.append(f'<div class="figure" id="{name}" style="min-height:{height}px"></div>')
    lines += [_table(cells) for cells in part.tables]
    lines += [f"<p>{_words(note)}</p>" for note in part.notes if part.tables]
    if part.commands:
        width = max(len(command) for command, _ in part.commands)
        text = "\n".join(f"{command:<{width}}  # {what}" for command, what in part.commands)
        lines.append(f"<pre>{escape(text)}</pre>")
    return "\n".join([*lines, "</section>"])


def _words(text: str) -> str:
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))


def _table(cells: Cells) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in cells[0])
    rows = []
    for line in cells[1:]:
        strong = ' class="strong"' if "tuned" in line[:2] else ""
        found = "".join(f"<td{_verdict(cell)}>{escape(cell)}</td>" for cell in line)
        rows.append(f"<tr{strong}>{found}</tr>")
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
    return f'<div class="scroll">{table}</div>'


def _verdict(cell: str) -> str:
    return f' class="{cell}"' if cell in ("together", "alone") else ""


def _asset(name: str) -> str:
    return files("pipeline.report").joinpath(name).read_text("utf-8")


@cache
def _plotly() -> str:
    """Returns plotly.js; from its package's files, because importing Plotly is not needed."""
    spec = find_spec("plotly")
    assert spec is not None  # it is a dependency of this package
    assert spec.origin is not None
    text = (Path(spec.origin).parent / "package_data" / "plotly.min.js").read_text("utf-8")
    return re.sub(r"</(script)", r"<\\/\1", text, flags=re.IGNORECASE)
