"""Makes the pictures of the README from a run of the quickstart study.

    python -m tests.screenshots FOLDER [--store DIR]

It needs the system's Chromium. A store that has the study already is used as it is.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

from pipeline.cli import main as mtl

STUDY = Path(__file__).parents[1] / "studies" / "quickstart.yaml"
MOST_BYTES = 120_000
COLOURS = 256


def main() -> None:
    """Runs what is missing of the study, and photographs its pages."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where the pictures go")
    parser.add_argument("--store", type=Path, help="where the study is recorded")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        store = arguments.store or Path(temporary) / "store"
        report = Path(temporary) / "report.html"
        for words in (["search", STUDY], ["compare", STUDY, "--html", report]):
            if mtl([*map(str, words), "--store", str(store)]) != 0:
                raise SystemExit(f"`mtl {words[0]}` failed.")
        arguments.folder.mkdir(parents=True, exist_ok=True)
        with _served(store) as pages, _page() as page:
            for name, (url, look, height) in _pictures(pages, report).items():
                page.set_viewport_size({"width": 1360, "height": height})
                page.goto("about:blank")
                page.goto(url)
                look(page)
                _save(page.screenshot(), arguments.folder / f"{name}.png")


def _pictures(
    pages: dict[str, str], report: Path
) -> dict[str, tuple[str, Callable[[Page], None], int]]:
    """Returns name to address, what to do on the page before the picture, and its height."""
    return {
        "runs": (pages["trials"], _runs, 620),
        "charts": (pages["charts"], _charts, 820),
        "study": (pages["study"], _study, 980),
        "report": (report.as_uri(), _report, 1000),
        "weights": (f"{report.as_uri()}#s4", _report, 1000),
    }


def _runs(page: Page) -> None:
    page.get_by_text("matching runs").wait_for()
    _without_banner(page)


def _charts(page: Page) -> None:
    page.get_by_text("lambda.left").first.wait_for()
    _without_banner(page)


def _study(page: Page) -> None:
    page.get_by_text("Show more").first.click()
    page.get_by_text("How to go on").wait_for()


def _report(page: Page) -> None:
    page.locator("html[data-drawn]").wait_for()
    page.wait_for_timeout(500)


def _without_banner(page: Page) -> None:
    """Closes the note on shared views, as a person does, and waits for the table to settle."""
    page.get_by_text("Exit shared view").locator("xpath=../..").locator("svg").last.click()
    page.wait_for_timeout(1500)


def _save(png: bytes, file: Path) -> None:
    """Writes a picture with few colours: a third of the size, and nobody sees it."""
    Image.open(io.BytesIO(png)).convert("RGB").quantize(COLOURS, kmeans=2).save(file, optimize=True)
    size = file.stat().st_size
    print(f"{file}: {size:,} bytes")
    if size > MOST_BYTES:
        raise SystemExit(f"{file} is larger than {MOST_BYTES:,} bytes.")


@contextlib.contextmanager
def _served(store: Path) -> Iterator[dict[str, str]]:
    words = [sys.executable, "-m", "pipeline.cli", "ui", str(STUDY), "--store", str(store),
             "--no-browser", "--json"]  # fmt: skip
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        lines = list(iter(process.stdout.readline, "}\n"))
        yield json.loads("".join([*lines, "}"]))["pages"]
    finally:
        process.terminate()
        process.wait()


@contextlib.contextmanager
def _page() -> Iterator[Page]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path="/usr/bin/chromium", args=["--no-sandbox"]
        )
        context = browser.new_context(color_scheme="light")
        page = context.new_page()
        page.set_default_timeout(60_000)
        yield page
        browser.close()


if __name__ == "__main__":
    main()
