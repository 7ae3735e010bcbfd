"""Trains learners as arrays on a backend, one array a worker at a time.

Each array is kept when it ends, so that a kill loses only those that were training: one a worker.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pipeline.comparison.learners import Learned, Learner, LearnerArray, Learners
from pipeline.data.text_encoding import Progress, named_progress
from pipeline.driver.backend import ArrayDone, ArrayFailed, ArrayLost, Backend, EpochDone
from pipeline.errors import Interrupted, TrainingError
from pipeline.training.members import Trained

LIVES = 3
"""How often an array is trained again after its worker died."""


def train_learners(
    learners: Learners,
    wanted: Sequence[Learner],
    backend: Backend,
    n_workers: int,
    stopping: Callable[[], bool],
    say: Callable[[str], None],
    progress: Progress | None = None,
) -> dict[Learner, Learned]:
    """Returns how each learner ended, training those that are not kept.

    Args:
        learners: Makes the members, keeps what came of them.
        wanted: Which to train.
        backend: Where arrays train.
        n_workers: Of the backend.
        stopping: Asked after every epoch whether to stop.
        say: Told how many are trained.
        progress: Told how many arrays have ended.

    Raises:
        TrainingError: One did not complete.
        Interrupted: `stopping` said so; arrays that had ended are kept.
    """
    arrays = learners.arrays(wanted)
    missing = [array for array in arrays if learners.kept(array) is None]
    if missing:
        n_members = sum(map(len, missing))
        say(f"Training {n_members} of {len(wanted)} models, {len(missing)} arrays.")
    what = f"Training {sum(map(len, missing))} models of groups, arrays"
    told = named_progress(progress, what) if missing else None
    _Queue(learners, missing, backend, n_workers, stopping, told).run()
    return {one.learner: one for array in arrays for one in learners.kept(array) or []}


class _Queue:
    """Trains arrays, one a worker at a time."""

    def __init__(
        self,
        learners: Learners,
        arrays: Sequence[LearnerArray],
        backend: Backend,
        n_workers: int,
        stopping: Callable[[], bool],
        told: Callable[[int, int], None] | None,
    ) -> None:
        self._learners = learners
        self._told, self._n_arrays = told, len(arrays)
        self._waiting = list(reversed(arrays))
        self._backend = backend
        self._n_workers = n_workers
        self._stopping = stopping
        self._running: dict[int, LearnerArray] = {}
        self._run_ids: dict[int, dict[int, str]] = {}
        self._lives: dict[int, int] = {}
        self._best: dict[int, dict[int, dict[str, float]]] = {}
        self._trained: dict[int, dict[int, Trained]] = {}
        self._next = 0

    def run(self) -> None:
        self._tell()
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

    def _begin(self, array: LearnerArray, lives: int) -> None:
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
        self._tell()

    def _tell(self) -> None:
        if self._told is not None:
            n_left = len(self._waiting) + len(self._running)
            self._told(self._n_arrays - n_left, self._n_arrays)

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
