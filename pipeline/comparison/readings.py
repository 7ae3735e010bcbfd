"""Readings of test: stored once a model and data, shown again, counted."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from pipeline.driver.json_files import read_json, write_json
from pipeline.driver.study_folder import StudyFolder
from pipeline.evaluation.evaluate import Evaluation


class Readings:
    """The readings of test of one study: one for each model and data digest, never repeated."""

    def __init__(self, folder: StudyFolder) -> None:
        self._path = folder.path / "readings.json"

    def all(self) -> dict[str, Any]:
        """Returns reading by model and digest."""
        return read_json(self._path) or {}

    def get(self, model: str, data: str) -> Evaluation | None:
        """Returns what was read before."""
        found = self.all().get(f"{model}@{data}")
        return Evaluation.from_json(found["evaluation"]) if found else None

    def add(self, model: str, data: str, evaluation: Evaluation) -> None:
        """Keeps a reading; one that is there already stays as it is."""
        self.add_all(data, {model: evaluation})

    def add_all(self, data: str, evaluations: Mapping[str, Evaluation]) -> None:
        """Keeps the readings of several models, by key; those that are there already stay."""
        readings = self.all()
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        fresh = {
            f"{model}@{data}": {"time": stamp, "evaluation": evaluation.to_json()}
            for model, evaluation in evaluations.items()
        }
        if not fresh.keys() <= readings.keys():
            write_json(self._path, {**fresh, **readings})
