"""The rows of a comparison: each a set of head outputs for valid and test, trained when missing.

The tuned row is the best trial's model. Equal weights and each task alone are trained at the best
trial's settings, with its seed and batch order, all as members of one array: what differs from
the tuned row is the loss weights alone. Linear, boosting and constant come from `baselines`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.comparison.baselines import (
    HELD_OUT,
    BaselineResult,
    fit_boosting,
    fit_constant,
    fit_linear,
)
from pipeline.data.prepared import Prepared
from pipeline.driver.backend import one_thread
from pipeline.driver.json_files import read_json, write_json
from pipeline.driver.records import StudyFolder, TrialRecord
from pipeline.driver.trials import make_member
from pipeline.errors import TrainingError
from pipeline.serving.predictor import Predictor
from pipeline.study.loading import Study
from pipeline.training.loop import train
from pipeline.training.members import Member, Trained, architecture_of
from pipeline.training.predict import predict_member
from pipeline.training.weighting import alone_weights

Outputs = Mapping[str, Mapping[str, NDArray[Any]]]
"""Part (valid, test) to task to (N, width) head outputs."""


@dataclass(frozen=True)
class Row:
    """One row before it is scored.

    Attributes:
        name: As shown.
        kind: tuned, equal_weights, single_task, linear, boosting or constant.
        outputs: Head outputs of all held-out rows.
        n_trials: Configurations that were tried to get it.
        member_epochs: Epochs that were trained to get it; 0 where there are none.
        settings: What a grid chose, task to settings.
        key: Names the model in the list of test readings.
    """

    name: str
    kind: str
    outputs: Outputs
    n_trials: int
    member_epochs: int
    settings: Mapping[str, Any]
    key: str


NAMES = {
    "tuned": "tuned",
    "equal_weights": "equal weights",
    "single_task": "each task alone",
    "linear": "linear",
    "boosting": "boosting",
    "constant": "constant",
}


def collect_rows(
    study: Study,
    prepared: Prepared,
    folder: StudyFolder,
    best: TrialRecord,
    predictor: Predictor,
    say: Callable[[str], None],
    read_only: bool = False,
) -> list[Row]:
    """Returns the rows, training and keeping those that are missing.

    Args:
        study: The study.
        prepared: Its data.
        folder: Keeps the rows' outputs.
        best: The best trial.
        predictor: Its model.
        say: Told what is being trained.
        read_only: Train nothing: rows that are missing are left out.
    """
    trials = folder.trials()
    tuned = Row(
        NAMES["tuned"], "tuned", _predict(predictor, prepared), len(trials),
        sum(trial.epochs for trial in trials), {}, best.key,
    )  # fmt: skip
    rows = [tuned]
    shelf = Shelf(folder.path / "rows")
    weighted = _key(prepared, best.params, best.seed)
    plain = _key(prepared)
    makers: list[tuple[tuple[str, ...], str, Callable[[], list[Row]]]] = [
        (("equal_weights", "single_task"), weighted,
         lambda: _train_weighted(study, prepared, best)),
        (("constant",), plain, lambda: [_from_baseline(fit_constant(prepared))]),
        (("linear",), plain, lambda: [_from_baseline(fit_linear(prepared))]),
        (("boosting",), plain, lambda: [_from_baseline(fit_boosting(prepared))]),
    ]  # fmt: skip
    for kinds, key, make in makers:
        found = [shelf.load(kind, key) for kind in kinds]
        if not all(found) and not read_only:
            say(f"Training for the comparison: {', '.join(NAMES[kind] for kind in kinds)}")
            found = [shelf.save(row, key) for row in make()]
        rows += [row for row in found if row is not None]
    return sorted(rows, key=lambda row: list(NAMES).index(row.kind))


class Shelf:
    """Keeps rows on disk, each under its kind and a key of what it was made from."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def load(self, kind: str, key: str) -> Row | None:
        """Returns a row that was kept."""
        stored = read_json(self.path / f"{kind}-{key}.json")
        if stored is None:
            return None
        with np.load(self.path / f"{kind}-{key}.npz", allow_pickle=False) as arrays:
            outputs = {
                part: {task: arrays[f"{part}/{i}"] for i, task in enumerate(stored["tasks"])}
                for part in HELD_OUT
            }
        return Row(
            stored["name"], kind, outputs, stored["n_trials"], stored["member_epochs"],
            stored["settings"], stored["key"],
        )  # fmt: skip

    def save(self, row: Row, key: str) -> Row:
        """Keeps a row: arrays first, then the JSON that makes them count."""
        self.path.mkdir(parents=True, exist_ok=True)
        arrays = {
            f"{part}/{i}": values
            for part in HELD_OUT
            for i, values in enumerate(row.outputs[part].values())
        }
        np.savez_compressed(self.path / f"{row.kind}-{key}.npz", allow_pickle=False, **arrays)
        named = Row(**{**vars(row), "key": f"{row.kind}-{key}"})
        values = {k: v for k, v in vars(named).items() if k != "outputs"}
        write_json(
            self.path / f"{row.kind}-{key}.json", {**values, "tasks": list(row.outputs["valid"])}
        )
        return named


def _key(prepared: Prepared, *parts: Any) -> str:
    text = json.dumps([prepared.prepared_digest, *parts], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _predict(predictor: Predictor, prepared: Prepared) -> Outputs:
    return {
        part: predict_member(predictor.architecture, predictor.parameters, prepared.parts[part])
        for part in HELD_OUT
    }


def weighted_members(study: Study, prepared: Prepared, best: TrialRecord) -> list[Member]:
    """Returns equal weights, then each task alone, at the best trial's settings and seed."""
    n_tasks = len(prepared.tasks)
    weights = [(1.0,) * n_tasks, *(alone_weights(n_tasks, task) for task in range(n_tasks))]
    return [
        make_member(study, prepared, number, best.params, seed=best.seed, weights=weight)
        for number, weight in enumerate(weights)
    ]


def _train_weighted(study: Study, prepared: Prepared, best: TrialRecord) -> list[Row]:
    members = weighted_members(study, prepared, best)
    with one_thread():
        trained = train(members, prepared)
    for result in trained:
        if result.state != "complete":
            raise TrainingError(
                f"A baseline at the best trial's settings ended as {result.state}: "
                f"{result.reason}. Narrow the range of `train.lr`."
            )
    outputs = [
        dict(_member_outputs(member, result, prepared))
        for member, result in zip(members, trained, strict=True)
    ]
    names = [task.name for task in prepared.tasks]
    alone = {
        part: {task: outputs[1 + i][part][task] for i, task in enumerate(names)}
        for part in HELD_OUT
    }
    return [
        _trained_row("equal_weights", outputs[0], trained[:1]),
        _trained_row("single_task", alone, trained[1:]),
    ]


def _member_outputs(
    member: Member, result: Trained, prepared: Prepared
) -> Iterator[tuple[str, Mapping[str, NDArray[Any]]]]:
    shape = architecture_of(member, prepared)
    for part in HELD_OUT:
        yield part, predict_member(shape, result.parameters, prepared.parts[part])


def _trained_row(kind: str, outputs: Outputs, trained: Sequence[Trained]) -> Row:
    epochs = sum(result.epochs for result in trained)
    return Row(NAMES[kind], kind, outputs, len(trained), epochs, {}, "")


def _from_baseline(result: BaselineResult) -> Row:
    n_models = result.n_settings * len(result.settings)
    return Row(NAMES[result.row], result.row, result.outputs, n_models, 0, result.settings, "")
