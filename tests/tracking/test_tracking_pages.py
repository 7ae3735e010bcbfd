from urllib.parse import parse_qs

from pipeline.tracking.pages import experiment_note, run_page, running_note, runs_page


def test_the_runs_page_sorts_by_score_and_filters() -> None:
    page, _, query = runs_page("7", "tags.state = 'pruned'").partition("?")
    assert page == "#/experiments/7/runs"
    assert parse_qs(query) == {
        "searchFilter": ["tags.state = 'pruned'"],
        "orderByKey": ["metrics.`score`"],
        "orderByAsc": ["false"],
    }
    assert run_page("7", "abc") == "#/experiments/7/runs/abc"


def test_links_in_notes_have_no_character_that_ends_them() -> None:
    for note in (experiment_note("adult", "7"), running_note("adult", "7")):
        links = [part.partition(")")[0] for part in note.split("](")[1:]]
        assert links
        assert not any(character in link for link in links for character in " '`")
