"""What the parent run shows of its study: the table of trials, the description, the report."""

from __future__ import annotations

import shlex
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipeline.driver.choice import Choice, choose
from pipeline.driver.json_files import read_json
from pipeline.driver.records import TrialRecord
from pipeline.driver.search import Description
from pipeline.driver.study_folder import StudyFolder
from pipeline.report.html import REPORT, study_report
from pipeline.report.page import study_page
from pipeline.report.pareto import front_files
from pipeline.report.sections import Material
from pipeline.report.study import next_commands
from pipeline.report.tables import trials_frame
from pipeline.serving.connection import sqlite_uri
from pipeline.stages.session import Session
from pipeline.tracking.store import Store


def describe(
    session: Session, experiment_id: str, trials: Sequence[TrialRecord], state: str
) -> Description:
    """Returns the parent run's table, its description in Markdown, and its further files."""
    found = ended_material(session, trials, state)
    page = study_page(found, experiment_id, session.folder.record().get("run_id", ""))
    return trials_frame(trials), page, {**front_files(trials), **report_files(found)}


def report_files(found: Material) -> dict[str, str]:
    """Returns the report as a file of the parent run, or the reason why it could not be made."""
    try:
        return {REPORT: study_report(found)}
    except Exception:  # a figure must not cost a study its end
        return {"report-error.txt": traceback.format_exc()}


def running_material(session: Session, trials: Sequence[TrialRecord]) -> Material:
    """Returns what the report of a running study is made from; reads none of its files."""
    return Material(
        name=session.name,
        state="running",
        data=session.prepared.data_digest,
        trials=trials,
        ranges=session.study.ranges,
        commands=next_commands(session.study, store_words(session.store), len(trials)),
    )


def ended_material(session: Session, trials: Sequence[TrialRecord], state: str) -> Material:
    """Returns what the description and the report of a study are made from."""
    choice = choose(session.folder, session.study.spec.search.finalists)
    return replace(
        running_material(session, trials),
        state=state,
        choice=choice,
        comparison=known_comparison(session.folder, choice, "test", session.prepared.data_digest),
    )


def known_comparison(
    folder: StudyFolder, choice: Choice | None, part: str, data: str
) -> Mapping[str, Any] | None:
    """Returns the comparison of the model that the study ends with, on data of this digest.

    None before it was made.
    """
    if choice is None:
        return None
    known: Mapping[str, Any] | None = read_json(comparison_path(folder, choice, part))
    return known if known is not None and known["data"] == data else None


def comparison_path(folder: StudyFolder, choice: Choice, part: str) -> Path:
    """Returns where the comparison of the model that the study ends with is kept."""
    name = f"{part}-{choice.shipped.key}-of-{len(folder.trials())}.json"
    return folder.path / "comparisons" / name


def store_words(store: Store) -> str:
    """Returns the options that name a store on the command line; none for the default one."""
    words = ""
    if store.folder != Path("mlruns").absolute():
        words += f" --store {shlex.quote(str(store.folder))}"
    if store.tracking_uri != sqlite_uri(store.folder / "mlflow.db"):
        words += f" --tracking-uri {shlex.quote(store.tracking_uri)}"
    return words
