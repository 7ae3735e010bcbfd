"""A small study with everything to look at, MLflow's UI on it, and a real browser."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from cli_cases import mtl, write_case
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from pipeline.driver.records import TrialRecord
from pipeline.driver.study_folder import StudyFolder

EDITS = (
    ("epochs: 2", "epochs: 4"),
    ("trials: 4", "trials: 24"),
    ("cohort: 4", "cohort: 8, finalists: {k: 1, seeds: 2}"),
    ("pruner: none", "pruner: median"),
)
CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@dataclass
class Looked:
    """The study, where its records are, and the report that `mtl compare --html` wrote."""

    file: Path
    store: Path
    report: Path

    @property
    def trials(self) -> list[TrialRecord]:
        return StudyFolder(self.store / "studies", "looked_at").trials()

    def names(self, state: str) -> set[str]:
        return {trial.label for trial in self.trials if trial.state == state}

    def words(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "pipeline.cli", "ui", str(self.file), "--store",
                str(self.store), "--no-browser", *words]  # fmt: skip


def look_at(folder: Path) -> Looked:
    """Searches and compares the study."""
    file = write_case(folder, "looked_at", edits=EDITS)
    looked = Looked(file, folder / "store", folder / "report.html")
    where = ["--store", looked.store, "--workers", "1"]
    for words in (["search", file], ["compare", file, "--html", looked.report]):
        done = mtl(*words, *where)
        assert done.code == 0, done.err
    assert looked.names("pruned")
    assert len(looked.names("complete")) >= 10
    return looked


@contextmanager
def serving(looked: Looked, *words: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    """Runs `mtl ui`, as a terminal does; gives what it printed once the server answers."""
    process = subprocess.Popen(
        looked.words("--json", *words), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line)
            if line == "}\n":
                break
        assert lines, process.communicate()[1]
        yield process, json.loads("".join(lines))
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def chromium() -> str:
    """Returns the system's browser; without one, the tests that need it are skipped."""
    found = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if found is None:
        pytest.skip("There is no Chromium. On Debian: apt-get install chromium")
    return found


@contextmanager
def browsing() -> Iterator[Browser]:
    """Runs the browser without a window."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        yield browser
        browser.close()


@dataclass
class Watched:
    """A page, the addresses that it asked for, and what went wrong on it."""

    page: Page
    asked: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


def watched(context: BrowserContext) -> Watched:
    """Opens a page that is watched."""
    found = Watched(context.new_page())
    found.page.set_default_timeout(60_000)  # a busy machine is slow
    found.page.on("request", lambda request: found.asked.append(request.url))
    found.page.on("pageerror", lambda error: found.errors.append(str(error)))
    found.page.on(
        "console",
        lambda message: found.errors.append(message.text) if message.type == "error" else None,
    )
    return found
