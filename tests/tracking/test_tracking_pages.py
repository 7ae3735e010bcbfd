import json
from urllib.parse import parse_qs

from pipeline.tracking import pages
from pipeline.tracking.views import view_tags


def test_the_runs_page_sorts_by_score_and_filters() -> None:
    page, _, query = pages.runs_page("7", "tags.state = 'pruned'").partition("?")
    assert page == "#/experiments/7/runs"
    assert parse_qs(query) == {
        "searchFilter": ["tags.state = 'pruned'"],
        "orderByKey": ["metrics.`score`"],
        "orderByAsc": ["false"],
    }


def test_every_page_has_its_place() -> None:
    assert pages.run_page("7", "abc") == "#/experiments/7/runs/abc"
    assert (
        pages.file_page("7", "abc", "a b.html") == "#/experiments/7/runs/abc/artifacts/a%20b.html"
    )
    assert pages.model_page("7", "m-1") == "#/experiments/7/models/m-1"
    assert pages.version_page("adult", "3") == "#/models/adult/versions/3"
    page, _, query = pages.compare_page("7", ["a", "b"]).partition("?")
    assert page == "#/compare-runs"
    assert parse_qs(query) == {"runs": ['["a","b"]'], "experiments": ['["7"]']}


def test_links_in_notes_have_no_character_that_ends_them() -> None:
    notes = (
        pages.experiment_note("adult", "7"),
        pages.experiment_note("adult", "7", "abc"),
        pages.running_note("adult", "7"),
    )
    for note in notes:
        links = [part.partition(")")[0] for part in note.split("](")[1:]]
        assert links
        assert not any(character in link for link in links for character in " '`")
        assert note.startswith(pages.note_head("adult"))


def test_views_hold_what_the_ui_reads() -> None:
    tags = view_tags({"left": "accuracy", "total": "r2"}, ["lambda.left", "train.lr"], 123)
    assert set(tags) == {"mlflow.sharedViewState.trials", "mlflow.sharedViewState.rows"}
    found = json.loads(tags["mlflow.sharedViewState.trials"])
    assert (found["name"], found["createdAt"]) == ("Trials by score", 123)
    state = json.loads(found["state"])
    assert state["searchFilter"] == "tags.kind = 'trial'"
    assert state["orderByKey"] == "metrics.`score`"
    assert state["selectedColumns"] == [
        "metrics.`score`", "metrics.`valid/left/accuracy`", "metrics.`valid/total/r2`",
        "params.`lambda.left`", "params.`train.lr`", "tags.`state`",
    ]  # fmt: skip
    sections = {section["uuid"] for section in state["compareRunSections"]}
    assert {chart["metricSectionId"] for chart in state["compareRunCharts"]} == sections


def test_a_view_of_many_tasks_is_left_out_where_mlflow_would_refuse_its_size() -> None:
    many = {f"{'task' * 40}{number}": "accuracy" for number in range(100)}
    tags = view_tags(many, [f"{'p' * 200}{number}" for number in range(100)], 0)
    assert all(len(text) <= 20_000 for text in tags.values())
