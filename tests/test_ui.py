"""`mtl ui` and the report, as a person sees them: served, and drawn by a real browser."""

import os
import signal
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cli_cases import mtl, write_case
from playwright.sync_api import Browser, expect
from ui_cases import Looked, browsing, look_at, serving, watched

from pipeline.cli.server import listen
from pipeline.driver.records import best_trials
from pipeline.errors import InputError
from pipeline.serving.listening import HOST

expect.set_options(timeout=60_000)  # a busy machine is slow

MARKS = ".points path, .lines path, .hm image, .parcoords .axis"
"""What plotly.js draws of traces: points, lines, coloured cells, parallel axes."""


@pytest.fixture(scope="module")
def looked(tmp_path_factory: pytest.TempPathFactory) -> Looked:
    return look_at(tmp_path_factory.mktemp("looked"))


@pytest.fixture(scope="module")
def served(looked: Looked) -> Iterator[dict[str, Any]]:
    with serving(looked) as (_, found):
        yield found


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with browsing() as found:
        yield found


def test_without_a_study_there_is_nothing_to_see(tmp_path: Path) -> None:
    file = write_case(tmp_path)
    done = mtl("ui", file, "--store", tmp_path / "none", "--no-browser")
    assert done.code == 2
    assert "was not launched in" in done.err
    assert "Run `mtl search` first" in done.err
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("port", "told"),
    [("0", "must be a whole number above 0"), ("70000", "must be a port from 1 to 65535")],
)
def test_a_port_that_cannot_be_is_refused(tmp_path: Path, port: str, told: str) -> None:
    done = mtl("ui", write_case(tmp_path), "--store", tmp_path, "--no-browser", "--port", port)
    assert done.code == 2
    assert told in done.err


def test_a_store_has_a_port_of_its_own(tmp_path: Path) -> None:
    with listen(None, tmp_path) as first:
        port = first.getsockname()[1]
        with listen(None, tmp_path) as second:
            assert second.getsockname()[1] != port
        with pytest.raises(InputError, match=f"`--port` must be free on {HOST}. Found {port}"):
            listen(port, tmp_path)
        assert first.getsockname()[0] == HOST
    with listen(None, tmp_path) as again:
        assert again.getsockname()[1] == port


@pytest.mark.services
def test_of_a_server_only_the_pages_are_printed(looked: Looked, served: dict[str, Any]) -> None:
    words = ["--store", looked.store, "--no-browser", "--tracking-uri", served["url"]]
    done = mtl("ui", looked.file, *words, "--json")
    assert done.code == 0, done.err
    assert done.document == served
    other = write_case(looked.file.parent / "..", "nobody")
    refused = mtl("ui", other, "--store", looked.store, "--tracking-uri", served["url"])
    assert refused.code == 2
    assert "There is no experiment nobody" in refused.err


@pytest.mark.services
def test_ctrl_c_leaves_nothing_behind(looked: Looked) -> None:
    with serving(looked) as (process, found):
        assert urllib.request.urlopen(f"{found['url']}/health", timeout=30).read() == b"OK"
        group = processes_of(process.pid)
        assert group == {process.pid}, "the server is this process alone"
        os.killpg(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=30)
        assert process.returncode == 0, err
        assert "The UI is stopped." in err
        assert "Traceback" not in err
        assert "Warning" not in err
        assert processes_of(process.pid) == set()
    host, port = found["url"].removeprefix("http://").split(":")
    with socket.socket() as client:
        assert client.connect_ex((host, int(port))) != 0


def processes_of(group: int) -> set[int]:
    done = subprocess.run(["ps", "-e", "-o", "pid=,pgid=,stat="], capture_output=True, text=True,
                          check=True)  # fmt: skip
    found = (line.split() for line in done.stdout.splitlines())
    return {int(pid) for pid, own, state in found if int(own) == group and "Z" not in state}


@pytest.mark.browser
def test_the_ui_lists_the_trials_with_their_scores(
    looked: Looked, served: dict[str, Any], browser: Browser
) -> None:
    found = watched(browser.new_context(viewport={"width": 1600, "height": 1200}))
    page = found.page
    page.goto(served["pages"]["trials"])
    expect(page.get_by_text(f"{len(looked.trials)} matching runs")).to_be_visible()
    best = best_trials(looked.trials, 3)
    names = page.locator("a[href*='/runs/']").filter(has_text="#").all_inner_texts()
    assert names[:3] == [trial.label for trial in best]
    for column in ("score", "valid/bought/roc_auc", "valid/size/r2"):
        expect(page.get_by_role("columnheader", name=column).first).to_be_attached()
    assert all(url.startswith((served["url"], "data:", "blob:")) for url in found.asked)


@pytest.mark.browser
def test_the_filter_of_the_description_finds_the_pruned_trials(
    looked: Looked, served: dict[str, Any], browser: Browser
) -> None:
    page = watched(browser.new_context(viewport={"width": 1600, "height": 1200})).page
    page.goto(served["pages"]["study"])
    expect(page.get_by_text("(complete): best trial")).to_be_visible()  # while it is folded
    page.get_by_text("Show more").first.click()
    expect(page.get_by_text("How to go on")).to_be_visible()
    with page.context.expect_page() as opened:
        page.get_by_role("link", name="pruned trials").click()
    pruned = looked.names("pruned")
    runs = opened.value
    expect(runs.get_by_text(f"{len(pruned)} matching runs")).to_be_visible()
    names = runs.locator("a[href*='/runs/']").filter(has_text="#").all_inner_texts()
    assert set(names) == pruned


@pytest.mark.browser
def test_the_best_trials_are_compared_by_task(
    looked: Looked, served: dict[str, Any], browser: Browser
) -> None:
    [link] = [link for name, link in served["pages"].items() if name.startswith("compare")]
    page = watched(browser.new_context(viewport={"width": 1600, "height": 1200})).page
    page.goto(link)
    expect(page.get_by_text("Comparing 10 Runs from 1 Experiment")).to_be_visible()
    text = page.locator("body")
    best = best_trials(looked.trials, 1)[0]
    for task, metric in (("bought", "roc_auc"), ("colour", "macro_f1"), ("size", "r2")):
        expect(text).to_contain_text(f"valid/{task}/{metric}")
        assert best.evaluation is not None
        shown = f"{best.evaluation.tasks[task][metric]:.3f}".rstrip("0")
        expect(text).to_contain_text(shown)


@pytest.mark.browser
def test_the_charts_show_what_was_searched(served: dict[str, Any], browser: Browser) -> None:
    page = watched(browser.new_context(viewport={"width": 1600, "height": 1200})).page
    page.goto(served["pages"]["charts"])
    expect(page.get_by_text("Searched values and scores")).to_be_visible()
    expect(page.get_by_text("Task against task")).to_be_visible()
    expect(page.get_by_text("lambda.bought").first).to_be_visible()


@pytest.mark.browser
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_report_draws_every_figure_and_asks_nobody(
    looked: Looked, browser: Browser, theme: Any
) -> None:
    context = browser.new_context(color_scheme=theme, viewport={"width": 1366, "height": 800})
    context.set_offline(True)
    found = watched(context)
    page = found.page
    page.goto(looked.report.as_uri())
    figures = page.locator(".figure")
    expect(page.locator("html")).to_have_attribute("data-drawn", str(figures.count()))
    assert figures.count() == 8
    for figure in figures.all():
        assert figure.locator(MARKS).count() > 0, figure.get_attribute("id")
        box = figure.bounding_box()
        assert box is not None
        assert box["width"] > 600
        assert box["height"] > 100
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    assert page.locator("html").get_attribute("data-theme") == theme
    header = page.locator("table").last.locator("th", has_text="score").first
    header.click()
    header.click()
    scores = page.locator("table").last.locator("tbody tr td:nth-child(2)").all_inner_texts()
    assert [float(score) for score in scores] == sorted(map(float, scores))
    page.locator("#theme").click()
    assert page.locator("html").get_attribute("data-theme") != theme
    assert found.errors == []
    assert [url for url in found.asked if not url.startswith(("data:", "blob:"))] == [
        looked.report.as_uri()
    ]


@pytest.mark.browser
def test_the_report_is_drawn_inside_mlflow(
    looked: Looked, served: dict[str, Any], browser: Browser
) -> None:
    page = watched(browser.new_context(viewport={"width": 1600, "height": 1200})).page
    page.goto(f"{served['pages']['study']}/artifacts/report.html")
    frame = page.frame_locator("iframe").first
    expect(frame.locator("h1")).to_have_text("Study looked_at")
    drawn = frame.locator("html[data-drawn]")
    expect(drawn).to_have_attribute("data-drawn", "8")
    expect(frame.get_by_text("Comparison on test").first).to_be_visible()
