"""Looking at a study's records without touching them, also while it runs."""

from __future__ import annotations

from pathlib import Path

from pipeline.driver.records import StudyFolder, TrialRecord
from pipeline.study.loading import Study


def read_trials(study: Study, store: Path) -> list[TrialRecord]:
    """Returns the finished trials, in number order."""
    return StudyFolder(store / "studies", study.spec.name).trials()


def running_trials(study: Study, store: Path) -> list[int]:
    """Returns the numbers of the trials of cohorts that were begun and have no outcome yet."""
    folder = StudyFolder(store / "studies", study.spec.name)
    return [
        number
        for cohort in folder.cohorts()
        if folder.outcome(cohort) is None
        for number in cohort.numbers
    ]
