"""Rows that are fitted and not searched, kept on disk with their outputs."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from pipeline.comparison.baselines import HELD_OUT, BaselineResult
from pipeline.driver.json_files import read_json, write_json


class Shelf:
    """Keeps fitted rows, each under its kind and the data that it was fitted to.

    Args:
        path: Folder.
        data: Digest of the prepared data.
    """

    def __init__(self, path: Path, data: str) -> None:
        self.path = path
        self._data = hashlib.sha256(data.encode()).hexdigest()[:16]

    def key(self, row: str) -> str:
        """Returns the name of a row's model among the readings."""
        return f"{row}-{self._data}"

    def load(self, row: str) -> BaselineResult | None:
        """Returns a row that was kept."""
        stored = read_json(self.path / f"{self.key(row)}.json")
        if stored is None:
            return None
        with np.load(self.path / f"{self.key(row)}.npz", allow_pickle=False) as arrays:
            outputs = {
                part: {task: arrays[f"{part}/{i}"] for i, task in enumerate(stored["settings"])}
                for part in HELD_OUT
            }
        return BaselineResult(row, outputs, stored["settings"], stored["n_settings"])

    def save(self, result: BaselineResult) -> BaselineResult:
        """Keeps a row: arrays first, then the JSON that makes them count."""
        self.path.mkdir(parents=True, exist_ok=True)
        arrays = {
            f"{part}/{i}": result.outputs[part][task]
            for part in HELD_OUT
            for i, task in enumerate(result.settings)
        }
        key = self.key(result.row)
        np.savez_compressed(self.path / f"{key}.npz", allow_pickle=False, **arrays)
        stored = {"settings": dict(result.settings), "n_settings": result.n_settings}
        write_json(self.path / f"{key}.json", stored)
        return result
