"""Subsets of tasks trained at one setting under common seeds, as members of arrays.

Each array is kept when it ends, so that a kill loses only those that were training: one a worker.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.data.prepared import Prepared
from pipeline.driver.backend import ArrayDone, ArrayFailed, ArrayLost, Backend, EpochDone
from pipeline.driver.json_files import read_json, write_json
from pipeline.driver.records import StudyFolder
from pipeline.driver.trials import evaluation_metrics, make_member, start_of
from pipeline.errors import Interrupted, TrainingError
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

LIVES = 3
"""How often an array is trained again after its worker died."""


@dataclass(frozen=True)
class Learner:
    """One model of some tasks.

    Attributes:
        tasks: Numbers of its tasks, in order.
        replicate: From 1; learners of one replicate start from one seed and see the same batches.
    """

    tasks: tuple[int, ...]
    replicate: int


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
    """Trains learners of one setting, and keeps what came of them.

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

    def train(
        self,
        learners: Sequence[Learner],
        backend: Backend,
        n_workers: int,
        stopping: Callable[[], bool],
        say: Callable[[str], None],
    ) -> dict[Learner, Learned]:
        """Returns how each learner ended, training those that are not kept.

        Raises:
            TrainingError: One did not complete.
            Interrupted: `stopping` said so; arrays that had ended are kept.
        """
        asked = self._study.spec.search.population
        most = ARRAY if asked == "auto" else asked
        members = [self.member(number, one) for number, one in enumerate(learners)]
        arrays = [[(learners[m.number], m) for m in array] for array in arrays_of(members, most)]
        missing = [array for array in arrays if not self._file(array).exists()]
        if missing:
            n_members = sum(map(len, missing))
            say(f"Training {n_members} of {len(learners)} models, {len(missing)} arrays.")
        _Queue(self, missing, backend, n_workers, stopping).run()
        return {found.learner: found for array in arrays for found in self._kept(array)}

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

    def start(self, array: Sequence[tuple[Learner, Member]]) -> dict[int, str]:
        """Opens the runs of an array."""
        return self._tracker.start_trials([self._start(*one) for one in array])

    def keep(
        self,
        array: Sequence[tuple[Learner, Member]],
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
        entries: list[dict[str, Any]] = []
        for (learner, member), result in zip(array, trained, strict=True):
            if result.state != "complete" or result.evaluation is None:
                self._tracker.finish(run_ids[member.number], TrialEnd(result.state, result.reason))
                self._tracker.flush()
                raise TrainingError(
                    f"{self.name(learner)} ended as {result.state} at the setting of the best "
                    f"trial, or the centre: {result.reason}. Narrow the range of `train.lr`."
                )
            self._save_model(learner, result)
            entries.append(
                {
                    "tasks": learner.tasks,
                    "replicate": learner.replicate,
                    "scores": [best[member.number][task] for task in self._names(learner)],
                    "epochs": result.epochs,
                    "run_id": run_ids[member.number],
                    "metrics": self._metrics(learner, result),
                    "seconds": result.seconds,
                    "ended_ms": now_ms(),
                }
            )
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

    def _metrics(self, learner: Learner, result: Trained) -> dict[str, float]:
        """Returns the valid metrics of the learner's own tasks."""
        assert result.evaluation is not None  # it is complete
        own = only(result.evaluation, self._names(learner))
        return {**evaluation_metrics(own), "score": own.mean}

    def _kept(self, array: Sequence[tuple[Learner, Member]]) -> Iterator[Learned]:
        for found in read_json(self._file(array)) or []:
            learner = Learner(tuple(found["tasks"]), found["replicate"])
            yield Learned(learner, tuple(found["scores"]), found["epochs"], found["run_id"])

    def _file(self, array: Sequence[tuple[Learner, Member]]) -> Path:
        return self.path / f"{digest([asdict(learner) for learner, _ in array])}.json"

    def _model(self, learner: Learner) -> Path:
        return self.path / "models" / f"{digest(asdict(learner))}.npz"

    def _save_model(self, learner: Learner, result: Trained) -> None:
        path = self._model(learner)
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(path, allow_pickle=False, **result.parameters)


class _Queue:
    """Trains arrays, one a worker at a time, so that few are lost when it is killed."""

    def __init__(
        self,
        learners: Learners,
        arrays: Sequence[list[tuple[Learner, Member]]],
        backend: Backend,
        n_workers: int,
        stopping: Callable[[], bool],
    ) -> None:
        self._learners = learners
        self._waiting = list(reversed(arrays))
        self._backend = backend
        self._n_workers = n_workers
        self._stopping = stopping
        self._running: dict[int, list[tuple[Learner, Member]]] = {}
        self._run_ids: dict[int, dict[int, str]] = {}
        self._lives: dict[int, int] = {}
        self._best: dict[int, dict[int, dict[str, float]]] = {}
        self._trained: dict[int, dict[int, Trained]] = {}
        self._next = 0

    def run(self) -> None:
        try:
            while self._waiting or self._running:
                self._submit()
                event = self._backend.receive()
                if self._stopping():
                    raise Interrupted("The grouping was stopped; ended arrays are kept.")
                if isinstance(event, EpochDone):
                    self._note_best(event)
                    self._note_ends(event)
                elif isinstance(event, ArrayDone):
                    self._note_ends(event)
                    self._keep(event.array)
                elif isinstance(event, ArrayFailed):
                    raise TrainingError(f"An array of the grouping failed:\n{event.traceback}")
                elif isinstance(event, ArrayLost):
                    self._again(event)
        except BaseException as error:
            ids = [run_id for found in self._run_ids.values() for run_id in found.values()]
            self._learners.interrupt(ids, f"{type(error).__name__} while it trained")
            raise

    def _submit(self) -> None:
        while self._waiting and len(self._running) < self._n_workers:
            array = self._waiting.pop()
            self._begin(array, LIVES)

    def _begin(self, array: list[tuple[Learner, Member]], lives: int) -> None:
        number, self._next = self._next, self._next + 1
        self._backend.submit({number: [member for _, member in array]}, pauses=())
        self._running[number], self._lives[number] = array, lives
        self._best[number] = {member.number: {} for _, member in array}
        self._trained[number] = {}
        self._run_ids[number] = self._learners.start(array)

    def _note_ends(self, event: EpochDone | ArrayDone) -> None:
        ended = {result.number: result for result in event.trained}
        self._trained[event.array].update(ended)

    def _keep(self, number: int) -> None:
        array, trained = self._running.pop(number), self._trained.pop(number)
        best, run_ids = self._best.pop(number), self._run_ids.pop(number)
        in_order = [trained[member.number] for _, member in array]
        self._learners.keep(array, in_order, best, run_ids)

    def _note_best(self, event: EpochDone) -> None:
        """Keeps each task's best score so far; a diverged member has none in its last epoch."""
        for result in event.results:
            best = self._best[event.array][result.number]
            for task, score in result.scores.items():
                best[task] = max(score, best.get(task, score))

    def _again(self, lost: ArrayLost) -> None:
        array = self._running.pop(lost.array)
        self._learners.interrupt(list(self._run_ids.pop(lost.array).values()), lost.reason)
        lives = self._lives[lost.array] - 1
        if lives == 0:
            raise TrainingError(f"An array of the grouping was lost {LIVES} times: {lost.reason}.")
        self._begin(array, lives)


def _end(entry: Mapping[str, Any]) -> TrialEnd:
    return TrialEnd(
        "complete", metrics=entry["metrics"], step=entry["epochs"],
        seconds={"train": entry["seconds"]}, tags={"epochs": str(entry["epochs"])},
        timestamp_ms=entry["ended_ms"],
    )  # fmt: skip


def digest(*parts: Any) -> str:
    """Returns a short name of JSON values."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]
