"""The heat map, and what the terminal shows of a grouping."""

from __future__ import annotations

import io
import xml.etree.ElementTree as ET

import numpy as np
from rich.console import Console

from pipeline.report.figures import heat_map
from pipeline.report.groups import group_notes, groups_table, transfer_table

FOUND = {
    "study": "small", "seeds": 3, "tasks": ["a", "b"], "alone": {"a": 0.5, "b": 0.25},
    "transfer": {"mean": {"a": {"b": 0.012}, "b": {"a": -0.05}},
                 "spread": {"a": {"b": 0.004}, "b": {"a": None}}},
    "believed": {"mean": 0.0, "spread": 0.01, "error": 0.005},
    "groups": [["a"], ["b"]], "valid": {"grouped": 0.4, "all_in_one": 0.3, "each_alone": 0.4},
    "recommended": "grouped",
    "test": {
        "rows": [{"name": "the recommended groups", "kind": "grouped", "groups": [["a"], ["b"]],
                  "mean": 0.41, "interval": [0.3, 0.5]},
                 {"name": "one model for all", "kind": "all_in_one", "groups": [["a", "b"]],
                  "mean": 0.31, "interval": [0.2, 0.4]},
                 {"name": "one model each", "kind": "each_alone", "groups": [["a"], ["b"]],
                  "mean": 0.41, "interval": [0.3, 0.5]}],
        "gains": {"over_one_model": {"gain": 0.1, "low": 0.05, "high": 0.15},
                  "over_each_alone": {"gain": 0.0, "low": 0.0, "high": 0.0}},
    },
    "cosine_rank_correlation": None, "cosine_reason": "none was recorded",
    "budget": {"trials": 9, "member_epochs": 90}, "seconds": 2.4, "test_reads": 9,
}  # fmt: skip


def shown(*tables: object) -> str:
    console = Console(width=160, record=True, file=io.StringIO())
    for table in tables:
        console.print(table)
    return console.export_text()


def test_the_terminal_shows_transfers_in_hundredths_with_their_spread() -> None:
    text = shown(transfer_table(FOUND), groups_table(FOUND))
    assert "+1.2 ±0.4" in text
    assert "-5.0" in text
    assert "0.3000 to 0.5000" in text


def test_notes_say_what_was_believed_recommended_and_won() -> None:
    notes = "\n".join(group_notes(FOUND))
    assert "groups by transfer: alone: a, b" in notes
    assert "against one model for all on test: +0.1000 (+0.0500 to +0.1500)" in notes
    assert "no rank correlation with gradient cosines: none was recorded" in notes
    assert "9 models, 90 epochs, 2 s" in notes


def test_the_heat_map_is_an_image_with_a_cell_for_each_pair() -> None:
    matrix = np.array([[np.nan, 0.02], [-0.04, np.nan]])
    image = ET.fromstring(heat_map(matrix, ["a & b", "c"], "Transfer", "Row from column."))
    cells = [cell for cell in image.iter() if cell.get("stroke")]
    texts = [text.text for text in image.iter() if text.tag.endswith("text")]
    assert len(cells) == 4
    assert {"a & b", "+2.0", "-4.0", "Transfer"} <= {*texts}
    fills = [cell.get("fill") for cell in cells]
    assert fills[0] == fills[3] == "#dddddd"
    red, _, blue = (int(fills[1][i : i + 2], 16) for i in (1, 3, 5))
    assert blue > red, "a gain is blue"
    red, _, blue = (int(fills[2][i : i + 2], 16) for i in (1, 3, 5))
    assert red > blue, "a loss is red"


def test_a_matrix_of_zeros_is_white() -> None:
    image = heat_map(np.zeros((2, 2)), ["a", "b"], "", "")
    assert image.count("#ffffff") == 4
