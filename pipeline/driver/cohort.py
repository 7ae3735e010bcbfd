"""One cohort through a backend: epochs gathered, rungs decided, losses of workers survived."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from pipeline.driver.arrays import Arrays
from pipeline.driver.backend import ArrayDone, Backend, EpochDone, Event
from pipeline.driver.pruners import Curves, Pruner, Rung, TaskCurves
from pipeline.errors import Interrupted
from pipeline.training.loop import Answer, Stops
from pipeline.training.members import EpochResult, Member, Trained, arrays_of


class CohortRun:
    """Runs the members of one cohort to their end.

    Arrays train side by side. At a rung each waits until all have reached it or ended, so that a
    decision sees the whole cohort; what was decided is remembered, and an array that has to
    start again gets the same answers, hence the same results.

    Args:
        backend: Where members run.
        members: Of the cohort.
        population: Most members in one array.
        pruner: Decides at rungs.
        told: Curves of earlier cohorts' trials.
        on_epochs: Sees each member's each epoch exactly once.
        stopping: Asked between epochs; True ends the cohort with `Interrupted`.
        told_tasks: Curves of each task, of earlier cohorts' trials.
    """

    def __init__(
        self,
        backend: Backend,
        members: Sequence[Member],
        population: int,
        pruner: Pruner,
        told: Curves,
        on_epochs: Callable[[Sequence[EpochResult]], None],
        stopping: Callable[[], bool],
        told_tasks: TaskCurves | None = None,
    ) -> None:
        self._backend = backend
        self._arrays = Arrays(backend, pruner.rungs())
        self._groups = arrays_of(members, population)
        self._pruner = pruner
        self._told = told
        self._tasks: dict[int, Mapping[str, Sequence[float]]] = {
            **(told_tasks or {}),
            **{member.number: {} for member in members},
        }
        self._on_epochs = on_epochs
        self._stopping = stopping
        self._numbers = [member.number for member in members]
        self._waiting: dict[int, EpochDone] = {}
        self._decided: dict[int, Stops] = {}
        self._trained: dict[int, Trained] = {}
        self.curves: dict[int, list[float]] = {number: [] for number in self._numbers}

    def run(self, once_started: Callable[[], None] = lambda: None) -> list[Trained]:
        """Returns one result a member, in the order of the cohort.

        Args:
            once_started: Called when the arrays have been submitted, before any epoch is seen:
                what can be done beside the first epochs.

        Raises:
            Interrupted: `stopping` said so; nothing of the cohort counts.
        """
        self._arrays.submit(self._groups)
        once_started()
        while self._arrays.members:
            event = self._backend.receive()
            if self._stopping():
                raise Interrupted("The cohort was stopped; it runs again when resumed.")
            if event is not None:
                self._take(event)
        return [self._trained[number] for number in self._numbers]

    def _take(self, event: Event) -> None:
        trained: Sequence[Trained]
        fresh: list[EpochResult] = []
        if isinstance(event, EpochDone):
            trained = event.trained
            fresh = self._epoch_done(event)
        elif isinstance(event, ArrayDone):
            trained = event.trained
            self._arrays.end(event.array)
        else:
            self._waiting.pop(event.array, None)
            trained = self._arrays.again(event)
        self._trained.update({result.number: result for result in trained})
        self._decide_when_all_wait()
        if fresh:
            self._on_epochs(fresh)  # last: no array waits for it

    def _epoch_done(self, event: EpochDone) -> list[EpochResult]:
        """Answers an array that waits, or lets it wait; returns what was not seen before."""
        fresh = [
            result for result in event.results if result.epoch > len(self.curves[result.number])
        ]
        for result in fresh:
            self.curves[result.number].append(result.score)
            self._tasks[result.number] = extended(self._tasks[result.number], result.scores)
        epoch = event.results[0].epoch
        if event.waits and epoch in self._decided:
            self._answer(event, self._decided[epoch])
        elif event.waits:
            self._waiting[event.array] = event
        return fresh

    def _decide_when_all_wait(self) -> None:
        """Decides the lowest rung once every array that still runs has reached a rung."""
        while self._waiting and self._waiting.keys() == self._arrays.members.keys():
            epoch = min(event.results[0].epoch for event in self._waiting.values())
            here = [e for e in self._waiting.values() if e.results[0].epoch == epoch]
            training = frozenset(
                result.number for event in here for result in event.results if not result.last
            )
            own = {number: _finite(curve) for number, curve in self.curves.items()}
            rung = Rung(epoch, self._told, own, training, dict(self._tasks))
            self._decided[epoch] = self._pruner.decide(rung)
            for event in here:
                del self._waiting[event.array]
                self._answer(event, self._decided[epoch])

    def _answer(self, event: EpochDone, decided: Stops) -> None:
        numbers = {result.number for result in event.results}
        mine = {number: stop for number, stop in decided.items() if number in numbers}
        self._backend.answer(event.array, Answer(mine))


def extended(
    curves: Mapping[str, Sequence[float]], scores: Mapping[str, float]
) -> dict[str, Sequence[float]]:
    """Returns a member's curves of tasks with the scores of one epoch more."""
    return {task: (*curves.get(task, ()), score) for task, score in scores.items()} or dict(curves)


def _finite(curve: Sequence[float]) -> list[float]:
    """Returns a curve up to where its member diverged."""
    return [score for score in curve if score == score]
