"""Subsets of tasks as models of one setting under common seeds: members, runs, what is kept."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.data.prepared import Prepared
from pipeline.driver.json_files import read_json, write_json
from pipeline.driver.study_folder import StudyFolder
from pipeline.driver.trials import evaluation_metrics, make_member, start_of
from pipeline.errors import TrainingError
from pipeline.evaluation.evaluate import only
from pipeline.study.loading import Study
from pipeline.study.seeds import derive_seed
from pipeline.study.spec import Params
from pipeline.tracking.records import TrialEnd, TrialStart, now_ms
from pipeline.tracking.tracker import Tracker
from pipeline.training.members import Member, Trained, architecture_of, arrays_of
from pipeline.training.predict import predict_member

ARRAY = 32
"""Most members of an array where the file does not say: more trains little faster, and a kill
would lose more."""

ROWS = ("pair", "group-alone", "group-all", "group")
"""Tags `row` of the runs."""


@dataclass(frozen=True)
class Learner:
    """One model of some tasks.

    Attributes:
        tasks: Numbers of its tasks, in order.
        replicate: From 1; learners of one replicate start from one seed and see the same batches.
    """

    tasks: tuple[int, ...]
    replicate: int


LearnerArray = Sequence[tuple[Learner, Member]]
"""Learners that train at once, each with its member."""


@dataclass(frozen=True)
class Learned:
    """How a learner ended.

    Attributes:
        learner: The learner.
        scores: Valid score of each of its tasks, in their order, each at the task's best epoch.
            Were all read at the epoch that the model keeps, a task alone would have chosen that
            epoch for itself, and a task in a group would not: sharing would look worse than it
            is on rows that chose nothing.
        epochs: Epochs trained.
        run_id: Of its MLflow run.
    """

    learner: Learner
    scores: tuple[float, ...]
    epochs: int
    run_id: str


class Learners:
    """Learners of one setting: their members and their runs, and what came of those that ended.

    A learner weighs each of its tasks with 1 and the others with 0, whatever their number: one
    task in a pair has the loss that it has alone, at the same learning rate.

    Args:
        study: The study.
        prepared: Its data.
        folder: Its files.
        params: The setting.
        tracker: Records a run for each learner.
    """

    def __init__(
        self,
        study: Study,
        prepared: Prepared,
        folder: StudyFolder,
        params: Params,
        tracker: Tracker,
    ) -> None:
        self._study = study
        self._prepared = prepared
        self._folder = folder
        self._params = params
        self._tracker = tracker
        every = tuple(range(len(prepared.tasks)))
        setting = asdict(self.member(0, Learner(every, 1)))
        self.key = digest(prepared.prepared_digest, json.dumps(setting, sort_keys=True))
        self.path = folder.path / "grouping" / self.key

    def member(self, number: int, learner: Learner) -> Member:
        """Returns the member that trains a learner."""
        chosen = set(learner.tasks)
        weights = [float(task in chosen) for task in range(len(self._prepared.tasks))]
        seed = derive_seed(self._study.spec.seed, learner.replicate, "grouping")
        return make_member(
            self._study, self._prepared, number, self._params, seed, weights, learner.replicate
        )

    def arrays(self, learners: Sequence[Learner]) -> list[LearnerArray]:
        """Returns learners with their members, parted into arrays that train at once."""
        asked = self._study.spec.search.population
        most = ARRAY if asked == "auto" else asked
        members = [self.member(number, one) for number, one in enumerate(learners)]
        return [[(learners[m.number], m) for m in array] for array in arrays_of(members, most)]

    def kept(self, array: LearnerArray) -> list[Learned] | None:
        """Returns how the learners of an array ended; None until all have."""
        entries = read_json(self._file(array))
        if entries is None:
            return None
        return [
            Learned(
                Learner(tuple(one["tasks"]), one["replicate"]),
                tuple(one["scores"]), one["epochs"], one["run_id"],
            )
            for one in entries
        ]  # fmt: skip

    def drop_models(self) -> None:
        """Deletes the models: what is asked of them was answered."""
        shutil.rmtree(self.path / "models", ignore_errors=True)

    def outputs(self, learner: Learner, part: str) -> Mapping[str, NDArray[Any]]:
        """Returns the (N, width) head outputs of a trained learner's own tasks on one part."""
        with np.load(self._model(learner), allow_pickle=False) as arrays:
            parameters = {name: arrays[name] for name in arrays.files}
        shape = architecture_of(self.member(0, learner), self._prepared)
        names = self._names(learner)
        found = predict_member(shape, parameters, self._prepared.parts[part], tasks=names)
        return {name: found[name] for name in names}

    def start(self, array: LearnerArray) -> dict[int, str]:
        """Opens the runs of an array."""
        return self._tracker.start_trials([self._start(*one) for one in array])

    def keep(
        self,
        array: LearnerArray,
        trained: Sequence[Trained],
        best: Mapping[int, Mapping[str, float]],
        run_ids: dict[int, str],
    ) -> None:
        """Keeps how an array ended: models first, then the scores that make them count.

        Args:
            array: Its learners with their members.
            trained: How each ended.
            best: Task to best valid score of each member, by number.
            run_ids: Likewise.

        Raises:
            TrainingError: One did not complete.
        """
        entries = []
        for (learner, member), result in zip(array, trained, strict=True):
            run_id = run_ids[member.number]
            if result.state != "complete" or result.evaluation is None:
                self._tracker.finish(run_id, TrialEnd(result.state, result.reason))
                self._tracker.flush()
                raise TrainingError(
                    f"{self.name(learner)} ended as {result.state} at the setting of the best "
                    f"trial, or the centre: {result.reason}. Narrow the range of `train.lr`."
                )
            self._save_model(learner, result)
            entries.append(self._entry(learner, result, best[member.number], run_id))
        write_json(self._file(array), entries)
        self._folder.drop_checkpoints("groups", {member.number for _, member in array})
        for entry in entries:
            self._tracker.finish(entry["run_id"], _end(entry))

    def mend(self, parent_run_id: str) -> None:
        """Mends what a killed process left: ends the runs of kept arrays, discards the others.

        Args:
            parent_run_id: The study's run.
        """
        kept = {
            found["run_id"]: (path.parent == self.path, found)
            for path in self.path.parent.glob("*/*.json")
            for found in read_json(path)
        }
        runs = [run for run in self._tracker.runs_of_study(parent_run_id) if run.row in ROWS]
        behind = [run.run_id for run in runs if run.status == "RUNNING"]
        for run_id in behind:
            is_own, entry = kept.get(run_id, (False, None))
            if entry is not None:
                if is_own:
                    learner = Learner(tuple(entry["tasks"]), entry["replicate"])
                    start = self._start(learner, self.member(0, learner))
                    self._tracker.reopen(run_id, start)
                self._tracker.finish(run_id, _end(entry))
        lost = [run.run_id for run in runs if run.run_id not in kept and run.state != "diverged"]
        self._tracker.discard(lost)

    def interrupt(self, run_ids: Sequence[str], reason: str) -> None:
        """Ends runs of arrays that did not end; they are trained again."""
        for run_id in run_ids:
            self._tracker.finish(run_id, TrialEnd("interrupted", reason))

    def name(self, learner: Learner) -> str:
        """Returns the learner's name for people."""
        tasks = " + ".join(self._names(learner))
        tasks = "all tasks" if self._row(learner) == "group-all" else tasks
        return f"{tasks}, seed {learner.replicate}"

    def _names(self, learner: Learner) -> list[str]:
        return [self._prepared.tasks[task].name for task in learner.tasks]

    def _row(self, learner: Learner) -> str:
        n_tasks = len(learner.tasks)
        if n_tasks == len(self._prepared.tasks):
            return "group-all"
        return {1: "group-alone", 2: "pair"}.get(n_tasks, "group")

    def _start(self, learner: Learner, member: Member) -> TrialStart:
        names = ",".join(self._names(learner))
        start = start_of(
            member, self._prepared, self._params, self.name(learner), self._row(learner)
        )
        tags = {"tasks": names[:4000], "replicate": str(learner.replicate)}
        return TrialStart(**{**vars(start), "tags": tags})

    def _entry(
        self, learner: Learner, result: Trained, best: Mapping[str, float], run_id: str
    ) -> dict[str, Any]:
        """Returns what is kept of a learner: the metrics are those of its own tasks."""
        assert result.evaluation is not None  # it is complete
        names = self._names(learner)
        own = only(result.evaluation, names)
        return {
            "tasks": learner.tasks,
            "replicate": learner.replicate,
            "scores": [best[task] for task in names],
            "epochs": result.epochs,
            "run_id": run_id,
            "metrics": {**evaluation_metrics(own), "score": own.mean},
            "seconds": result.seconds,
            "ended_ms": now_ms(),
        }

    def _file(self, array: LearnerArray) -> Path:
        return self.path / f"{digest([asdict(learner) for learner, _ in array])}.json"

    def _model(self, learner: Learner) -> Path:
        return self.path / "models" / f"{digest(asdict(learner))}.npz"

    def _save_model(self, learner: Learner, result: Trained) -> None:
        path = self._model(learner)
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(path, allow_pickle=False, **result.parameters)


def _end(entry: Mapping[str, Any]) -> TrialEnd:
    return TrialEnd(
        "complete", metrics=entry["metrics"], step=entry["epochs"],
        seconds={"train": entry["seconds"]}, tags={"epochs": str(entry["epochs"])},
        timestamp_ms=entry["ended_ms"],
    )  # fmt: skip


def digest(*parts: Any) -> str:
    """Returns a short name of JSON values."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]
