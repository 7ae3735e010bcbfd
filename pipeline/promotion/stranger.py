"""Loads a model as an application without this package does, and answers. Never imported.

`standalone` runs it by its path in an isolated interpreter, whose search path holds neither this
folder nor the working directory. It reads a JSON file with what to do and writes another with
what it found; MLflow prints what it likes meanwhile.
"""

import importlib
import json
import sys
import time
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any


class _Refuse(MetaPathFinder):
    """Refuses modules that an application has not installed."""

    def __init__(self, roots: Sequence[str]) -> None:
        self._roots = set(roots)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Raises for a refused module and leaves others to the other finders."""
        if fullname.partition(".")[0] in self._roots:
            raise ModuleNotFoundError(f"No module named {fullname!r}", name=fullname)
        return None


def check(task: dict[str, Any]) -> dict[str, Any]:
    """Returns what the model answers, how fast, and what was unpickled meanwhile."""
    roots = task["refused"]
    sys.meta_path.insert(0, _Refuse(roots))
    for root in roots:
        try:
            importlib.import_module(root)
        except ModuleNotFoundError:
            continue
        raise RuntimeError(f"{root} could be imported, so that nothing is shown by loading")
    import mlflow.pyfunc
    import pandas as pd

    pickles: list[str] = []

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "pickle.find_class":
            pickles.append(".".join(map(str, arguments)))

    sys.addaudithook(hook)
    model = mlflow.pyfunc.load_model(task["model"])
    frame = pd.DataFrame(task["rows"])
    found: dict[str, Any] = {"batch": {}, "single": {}, "seconds": []}
    if len(frame):
        found = _answers(model, frame, task["n_single"], task["n_timed"])
    loaded = [root for root in roots if root in sys.modules]
    if loaded:
        raise RuntimeError(f"the model imported {', '.join(loaded)}")
    return {**found, "pickles": sorted(set(pickles))}


def _answers(model: Any, frame: Any, n_single: int, n_timed: int) -> dict[str, Any]:
    batch = model.predict(frame)
    rows = [frame.iloc[[i % n_single]] for i in range(max(n_single, n_timed))]
    singles, seconds = [], []
    for row in rows:
        start = time.perf_counter()
        singles.append(model.predict(row))
        seconds.append(time.perf_counter() - start)
    return {
        "batch": {name: batch[name].tolist() for name in batch},
        "single": {name: [one[name].tolist()[0] for one in singles[:n_single]] for name in batch},
        "seconds": seconds,
    }


def main(task: str, answer: str) -> None:
    """Reads the task and writes the answer."""
    found = check(json.loads(Path(task).read_text("utf-8")))
    Path(answer).write_text(json.dumps(found, default=str), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
