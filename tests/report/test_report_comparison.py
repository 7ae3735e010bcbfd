"""The comparison as tables and Markdown: every value is where it belongs, and fits a screen."""

from typing import Any

import pytest
from report_cases import row_of, shown

from pipeline.report import comparison as shown_as


def row(name: str, kind: str, mean: float, tasks: dict[str, Any], **values: Any) -> dict[str, Any]:
    return {
        "name": name, "kind": kind, "mean": mean, "interval": [mean - 0.05, mean + 0.05],
        "tasks": tasks, "valid_minus_test": 0.012, "seeds": 1, "model": kind, "shipped": None,
        "budget": {"trials": 8, "member_epochs": 90}, **values,
    }  # fmt: skip


def document(**values: Any) -> dict[str, Any]:
    rows = [
        row("tuned", "tuned", 0.7, {"left": {"accuracy": 0.8}, "total": {"r2": 0.6}}, seeds=5,
            shipped={"mean": 0.71}, model="trial-3-seed-2",
            budget={"trials": 8, "member_epochs": 90, "finalist_epochs": 40}),
        row("each task alone", "single_task", 0.65, {"left": {"accuracy": 0.7},
            "total": {"r2": 0.61}}, seeds=5),
        row("constant", "constant", 0.05, {"left": {"accuracy": 0.1}, "total": {"r2": None}},
            budget={"trials": 1, "member_epochs": 0}, valid_minus_test=None),
    ]  # fmt: skip
    found = {
        "study": "s", "split": "test", "rows": rows, "primary": {"left": "accuracy", "total": "r2"},
        "gains": {"left": {"gain": 0.05, "low": 0.01, "high": 0.11}}, "mean_gain": 0.05,
        "mean_gain_interval": [-0.02, 0.12], "delta_m": 0.031, "delta_m_reason": "",
        "differences": {"left": {}, "total": {}},
        "verdicts": {"left": "together", "total": "neither"}, "test_reads": 6,
    }  # fmt: skip
    return {**found, **values}


def texts(found: dict[str, Any]) -> list[str]:
    return [shown(table, width=200) for table in shown_as.comparison_tables(found)]


def test_rows_show_primary_metrics_the_gap_to_valid_seeds_and_cost() -> None:
    text, _ = texts(document())
    assert "s on test" in text
    assert row_of(text, "row") == [
        "row", "mean score", "95 % interval", "left accuracy", "total r2", "valid - test", "seeds",
        "budget",
    ]  # fmt: skip
    assert row_of(text, "tuned") == [
        "tuned", "0.7000", "0.6500 to 0.7500", "0.8000", "0.6000", "+0.0120", "5",
        "8 fits, 90 epochs + 40 of finalists",
    ]  # fmt: skip
    assert row_of(text, "constant") == [
        "constant", "0.0500", "0.0000 to 0.1000", "0.1000", "", "", "1", "1 fit",
    ]  # fmt: skip


def test_tasks_show_each_row_the_gain_and_the_verdict() -> None:
    _, text = texts(document())
    assert row_of(text, "task") == [
        "task", "metric", "tuned", "alone", "constant", "gain over alone", "95 % interval",
        "verdict",
    ]  # fmt: skip
    assert row_of(text, "left")[5:] == ["+0.0500", "+0.0100 to +0.1100", "together"]
    assert row_of(text, "total")[2:] == ["0.6000", "0.6100", "", "", "", "neither"]


def test_many_tasks_leave_the_table_of_rows_narrow() -> None:
    names = [f"Class{i}" for i in range(14)]
    rows = [row(kind, kind, 0.7, {name: {"roc_auc": 0.7} for name in names})
            for kind in ("tuned", "equal weights", "each task alone", "linear", "boosting",
                         "constant")]  # fmt: skip
    many = document(
        rows=rows, primary=dict.fromkeys(names, "roc_auc"),
        gains={name: {"gain": 0.0, "low": -0.1, "high": 0.1} for name in names},
        verdicts=dict.fromkeys(names, "unclear"),
    )  # fmt: skip
    first, second = (shown(table) for table in shown_as.comparison_tables(many))
    assert "Class3" not in first
    assert max(map(len, (first + second).splitlines())) <= 160
    assert row_of(second, "Class13")[-1] == "unclear"


def test_notes_tell_gains_verdicts_what_is_shipped_and_readings() -> None:
    notes = "\n".join(shown_as.comparison_notes(document()))
    assert "mean gain over each task alone +0.0500 (-0.0200 to +0.1200)" in notes
    assert "delta_m +3.10% against each task alone" in notes
    assert "together: learning together is better for left (95 % over all tasks" in notes
    assert "neither: no row beats the constant for total" in notes
    assert "shipped: trial-3-seed-2, mean score 0.7100 on test" in notes
    assert "test was read for 6 models" in notes


@pytest.mark.parametrize(
    ("seeds", "why"), [(5, "helped left"), (1, "helped left; one seed a row cannot tell")]
)
def test_what_is_unclear_says_why(seeds: int, why: str) -> None:
    rows = [{**one, "seeds": seeds} for one in document()["rows"]]
    found = document(rows=rows, verdicts={"left": "unclear", "total": "neither"})
    assert why in "\n".join(shown_as.comparison_notes(found))
    missing = document(rows=rows[:1], verdicts={"left": "unclear", "total": "unclear"})
    assert "each task alone is not there" in "\n".join(shown_as.comparison_notes(missing))


def test_notes_tell_why_there_is_no_delta_m() -> None:
    given = document(delta_m=None, delta_m_reason="`total` alone has r2 0.01, too little")
    assert "delta_m is not given: `total` alone" in "\n".join(shown_as.comparison_notes(given))
    nothing = document(rows=[], delta_m=None, gains={}, mean_gain=None, verdicts={})
    assert shown_as.comparison_notes(nothing) == ["test was read for 6 models of this study"]


def test_one_task_alone_has_no_gain_to_speak_of() -> None:
    one = document(rows=[], verdicts={"size": "unclear"}, primary={"size": "r2"})
    assert shown_as.comparison_notes(one) == ["test was read for 6 models of this study"]
    assert shown_as.comparison_notes({**one, "verdicts": {"size": "neither"}})[0] == (
        "neither: no row beats the constant for size"
    )
    assert shown_as.task_cells(one) == []


def test_the_page_holds_both_tables_in_markdown() -> None:
    page = shown_as.comparison_page(document()).replace("\u2003", " ")
    lines = page.splitlines()
    assert lines[0] == "**Comparison on test**"
    assert "| row | mean score | 95 % interval |" in page
    assert "| left | accuracy | 0.8000 | 0.7000 | 0.1000 | +0.0500 |" in page
    tables = [line for line in lines if line.startswith("|")]
    assert len(tables) == 2 + 3 + 2 + 2
    assert "- together: learning together is better for left" in page
