"""The report: one file, nothing from elsewhere, every name as it is."""

import json
import re
from html.parser import HTMLParser
from itertools import pairwise

import pytest
from report_cases import trial
from searched_cases import material
from test_report_charts import COMPARED

from pipeline.errors import InputError
from pipeline.report.html import _plotly, studies_report, study_report
from pipeline.report.refresh import EVERY_SECONDS, SHARE, ReportRefresh


class Parsed(HTMLParser):
    """What a browser would load, and the elements with their text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.texts: list[tuple[str, str]] = []
        self.open: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open.append(tag)
        self.loads += [value or "" for name, value in attrs if name in ("src", "href")]

    def handle_endtag(self, tag: str) -> None:
        if tag in self.open:
            while self.open.pop() != tag:
                pass

    def handle_data(self, data: str) -> None:
        self.texts.append((self.open[-1] if self.open else "", data))

    def of(self, tag: str) -> list[str]:
        return [text for found, text in self.texts if found == tag]


def figures_of(page: str) -> dict:
    [text] = re.findall(r'<script type="application/json" id="figures">(.*?)</script>', page)
    return json.loads(text)


def test_the_report_loads_nothing() -> None:
    parsed = Parsed(study_report(material(comparison=COMPARED)))
    assert parsed.loads
    assert all(link.startswith(("#", "data:")) for link in parsed.loads)
    ours = study_report(material()).replace(_plotly(), "")
    assert "http" not in ours
    assert "@import" not in ours
    assert "url(" not in ours


def test_it_has_every_part_with_its_figure_and_how_to_read_it() -> None:
    page = study_report(material(comparison=COMPARED))
    parsed = Parsed(page)
    assert parsed.of("h2") == [
        "Comparison on test", "Search history", "What matters", "All values at once",
        "Loss weights against scores", "Tasks against each other",
        "Learning curves of the best trials", "Complete trials", "Going on",
    ]  # fmt: skip
    figures = figures_of(page)
    assert len(figures) == 8
    assert all(f'id="{name}"' in page for name in figures)
    assert page.count('class="reading"') == 7
    assert "together: learning together is better for left" in page
    assert "mtl promote s.yaml  # make it champion" in page


def test_names_are_shown_as_they_are() -> None:
    name = '<script>alert("x")</script> & co'
    trials = [trial(number, score=0.5 + number / 100, params={name: number / 10})
              for number in range(12)]  # fmt: skip
    page = study_report(material(name=name, trials=trials, ranges={}))
    parsed = Parsed(page)
    assert parsed.of("h1") == [f"Study {name}"]
    assert name in parsed.of("th")
    assert 'alert("x")' not in page.replace(_plotly(), "")
    json.dumps(figures_of(page))


def test_a_report_of_nothing_yet_is_a_page_too() -> None:
    parsed = Parsed(study_report(material(0, state="running")))
    assert "none yet" in parsed.of("b")
    assert parsed.of("h2") == ["Search history", "Going on"]


def test_studies_of_the_same_data_share_a_report() -> None:
    other = {**COMPARED, "study": "other"}
    page = studies_report([material(comparison=COMPARED), material(name="other", comparison=other)])
    titles = Parsed(page).of("h2")
    assert titles[0] == "Comparison on test"
    assert "other: search history" in titles
    assert len([title for title in titles if title.startswith("Comparison")]) == 1


def test_studies_of_other_data_are_refused_with_the_reason() -> None:
    with pytest.raises(InputError, match="Found data digests: s dddddddddddd, t eeeeeeeeeeee"):
        studies_report([material(), material(name="t", data="e" * 32)])


class Clock:
    """A clock that is set by hand."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize("cost", [0.01, 2.0])
def test_refreshing_costs_less_than_its_share(cost: float) -> None:
    clock, made = Clock(), []

    def make(trials):
        made.append((clock.now, len(trials)))
        clock.now += cost
        return {"report.html": ""}

    refresh = ReportRefresh(make, lambda job: job(), clock)
    refresh.search_started(100, [trial(0)])
    n_steps = 4000
    for step in range(n_steps):
        refresh.trials_done([trial(step + 1)])
        clock.now += 1.0
    assert made[0] == (0.0, 2)
    starts = [start for start, _ in made]
    assert min(b - a for a, b in pairwise(starts)) >= EVERY_SECONDS
    assert refresh.seconds <= 1.1 * SHARE * clock.now + cost
    assert len(made) > 5


def test_no_report_is_asked_for_while_one_is_made() -> None:
    waiting: list = []
    refresh = ReportRefresh(lambda trials: {}, waiting.append, Clock())
    refresh.search_started(3, [])
    refresh.trials_done([trial(0)])
    refresh.trials_done([trial(1)])
    assert len(waiting) == 1
