"""Readings of test: stored once a model and data, shown again, counted."""

from __future__ import annotations

import time
from typing import Any

from pipeline.driver.json_files import read_json, write_json
from pipeline.driver.records import StudyFolder
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
        readings = self.all()
        if f"{model}@{data}" in readings:
            return
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        entry = {"time": stamp, "evaluation": evaluation.to_json()}
        write_json(self._path, {**readings, f"{model}@{data}": entry})
