"""The description of a study in MLflow: the result first, links that work, filters, commands."""

import re
from dataclasses import replace
from urllib.parse import parse_qs

from report_cases import trial

from pipeline.driver.choice import Choice
from pipeline.report.page import study_page
from pipeline.report.sections import Material
from pipeline.tasks.base import TaskInfo

TRIALS = [
    trial(0, score=0.5),
    trial(1, "pruned", 0.4),
    trial(2, score=0.7),
    trial(3, "diverged", None),
    trial(4, "failed", None),
]
COMMANDS = [("mtl ui a.yaml", "look"), ("mtl promote a.yaml", "make it champion")]


def material(trials=TRIALS, **values) -> Material:
    found = {"name": "adult", "state": "complete", "data": "d" * 32, "trials": trials,
             "ranges": {}, "commands": COMMANDS}  # fmt: skip
    return Material(**{**found, **values})


def links(page: str) -> dict[str, str]:
    return dict(re.findall(r"\[([^\]]+)\]\(([^)]+)\)", page))


def test_the_result_and_the_links_are_in_the_first_lines() -> None:
    page = study_page(material(), "7", "parent").replace("\u2003", " ")
    first, second = [line for line in page.splitlines() if line][:2]
    assert first == (
        "**adult** (complete): best trial **#2** with mean valid score **0.7000** "
        "(left 0.8000, total 0.6000). 5 trials: 2 complete, 1 pruned, 1 diverged, 1 failed."
    )
    found = links(second)
    assert found["report"] == "#/experiments/7/runs/parent/artifacts/report.html"
    compared = parse_qs(found["compare the best 2"].partition("?")[2])
    assert compared == {"runs": ['["run2","run0"]'], "experiments": ['["7"]']}
    assert "| #0 | 0.5000 | 0.6000 | 0.4000 |" in page


def test_filters_are_shown_and_linked() -> None:
    page = study_page(material(), "7", "parent")
    rows = [line for line in page.splitlines() if line.startswith("| [")]
    for row in rows:
        [(name, link)] = links(row).items()
        assert f"`{parse_qs(link.partition('?')[2])['searchFilter'][0]}`" in row, name
        assert not set(link) & set(" '`|")
    assert any("tags.kind = 'trial' and tags.state = 'pruned'" in row for row in rows)


def test_a_filter_of_a_metric_names_one_that_trials_have(small_tasks: tuple[TaskInfo, ...]) -> None:
    info = replace(small_tasks[2], name="total")
    page = study_page(material([trial(2, score=0.7, tasks=(info,))]), "7", "parent")
    assert "`tags.kind = 'trial' and metrics.`valid/total/r2` >= 0.6`" in page


def test_commands_can_be_copied_as_they_are() -> None:
    page = study_page(material(), "7", "parent")
    block = page.partition("```bash\n")[2].partition("\n```")[0]
    assert block.splitlines() == [
        "mtl ui a.yaml   # look",
        "mtl promote a.yaml   # make it champion",
    ]


def test_what_is_shipped_is_linked() -> None:
    choice = Choice((TRIALS[2],), TRIALS[2], {})
    page = study_page(material(choice=choice), "7", "parent")
    assert links(page)["the model to ship (#2)"] == "#/experiments/7/runs/run2"
    assert "no finalists were trained" in page


def test_a_page_without_a_complete_trial_says_so() -> None:
    page = study_page(material(TRIALS[3:4], state="interrupted"), "7", "parent")
    assert page.startswith(
        "**adult** (interrupted): no trial is complete yet. 0 complete, 1 diverged."
    )
    assert "compare the best" not in page
