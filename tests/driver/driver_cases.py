"""A study that trains in a moment, and a backend whose workers do what a test tells them."""

import random
from collections.abc import Callable, Container, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.data.prepare import prepare_data
from pipeline.data.prepared import Prepared
from pipeline.driver.backend import ArrayDone, ArrayFailed, ArrayLost, Backend, EpochDone, Event
from pipeline.driver.trials import make_member
from pipeline.study.loading import Study, parse_study
from pipeline.training.loop import Answer
from pipeline.training.members import EpochResult, Member, Stop, Trained

SMALL = """
name: small
seed: 3
sources: {rows: {path: rows.csv}}
tasks:
  colour: {kind: multiclass, target: colour}
  size: {kind: regression, target: size}
split: {train: 0.6, valid: 0.2, test: 0.2}
model: {layers: [4], dropout: {low: 0.0, high: 0.5}}
train:
  lr: {low: 0.001, high: 0.1, log: true}
  epochs: 3
  batch_size: 16
  patience: null
search: {trials: 6, cohort: 4, population: 2, pruner: none, finalists: {k: 2, seeds: 3}}
"""


def small_frame(n_rows: int = 60) -> pd.DataFrame:
    draw = np.random.default_rng(0)
    a, b = draw.normal(size=(2, n_rows))
    return pd.DataFrame(
        {"a": a, "b": b, "colour": np.where(a > 0, "red", "blue"), "size": a + 2 * b}
    )


def small_study(**overrides: object) -> Study:
    """The study with other values, by dotted path with `__` for a dot."""
    return parse_study(SMALL, overrides={k.replace("__", "."): v for k, v in overrides.items()})


def prepare_small(study: Study, cache: Path) -> Prepared:
    return prepare_data(study.spec, Path(), cache, tables={"rows": small_frame()})


def members_of(study: Study, prepared: Prepared, n_members: int) -> list[Member]:
    """Members 0, 1, ... whose learning rates differ."""
    return [
        make_member(study, prepared, number, {"train.lr": 0.002 * (number + 1)})
        for number in range(n_members)
    ]


def fake_score(number: int, epoch: int) -> float:
    """A made-up learning curve, the same whenever and wherever a member trains."""
    draw = random.Random(number * 1000 + epoch)
    return round(number % 5 / 10 + epoch / 20 + draw.uniform(0, 0.3), 6)


class FakeBackend(Backend):
    """Trains nothing: scores come from `fake_score`, in an order drawn from a seed.

    Args:
        seed: Of the order in which arrays come to their next event.
        n_epochs: Epochs of each member, by number.
        trouble: Told (members, epoch, attempt) before each epoch of an array, where attempt
            counts from 0 how often these very members were submitted; answers "fail", "lose",
            "lose after" (the epoch is told, then the worker dies) or nothing.
    """

    waited_seconds = 0.0

    def __init__(
        self,
        seed: int,
        n_epochs: Callable[[int], int],
        trouble: Callable[[tuple[int, ...], int, int], str | None] = lambda *_: None,
    ) -> None:
        self._random = random.Random(seed)
        self._n_epochs = n_epochs
        self._trouble = trouble
        self._ready: dict[int, Answer] = {}
        self._members: dict[int, tuple[int, ...]] = {}  # as submitted
        self._training: dict[int, dict[int, int]] = {}  # number to its own epochs
        self._epoch: dict[int, int] = {}
        self._ended: dict[int, list[Trained]] = {}
        self._doomed: list[int] = []
        self._pauses: dict[int, Container[int] | None] = {}
        self.submitted: list[tuple[int, ...]] = []

    def submit(
        self, arrays: Mapping[int, Sequence[Member]], pauses: Container[int] | None = None
    ) -> None:
        for array, members in arrays.items():
            assert array not in self._members, "a number of an array stands for one submission"
            numbers = tuple(member.number for member in members)
            assert numbers, "an array has members"
            self.submitted.append(numbers)
            self._members[array], self._training[array] = numbers, dict.fromkeys(numbers, 0)
            self._epoch[array], self._ended[array] = 0, []
            self._ready[array], self._pauses[array] = Answer(), pauses

    def answer(self, array: int, answer: Answer) -> None:
        assert array not in self._ready, "an array waits for one answer at a time"
        self._ready[array] = answer

    def receive(self) -> Event | None:
        if self._doomed:
            array = self._doomed.pop()
            self._ready.pop(array, None)
            return ArrayLost(array, "its worker process ended with exit code -9")
        if not self._ready or self._random.random() < 0.1:
            assert self._ready, "nothing can happen any more: the driver waits for ever"
            return None
        array = self._random.choice(sorted(self._ready))
        answer = self._ready.pop(array)
        for number, stop in answer.stops.items():
            if number in self._training[array]:  # the last epoch may have ended it already
                self._end(array, number, stop)
        for member in answer.joining:
            assert member.number not in self._training[array]
            self._training[array][member.number] = 0
        if not self._training[array]:
            return ArrayDone(array, self._take_ended(array))
        return self._next_epoch(array)

    def close(self) -> None:
        self._ready = {}

    def _next_epoch(self, array: int) -> Event:
        numbers = self._members[array]
        self._epoch[array] += 1
        attempt = self.submitted.count(numbers) - 1
        trouble = self._trouble(numbers, self._epoch[array], attempt)
        if trouble == "fail":
            return ArrayFailed(array, f"Traceback: {numbers} broke")
        if trouble == "lose":
            return ArrayLost(array, "its worker process ended with exit code -9")
        if trouble == "lose after":
            self._doomed.append(array)
        training = self._training[array]
        results = []
        for number in training:
            training[number] = epoch = training[number] + 1
            last = epoch >= self._n_epochs(number)
            results.append(EpochResult(number, epoch, {}, {}, fake_score(number, epoch), last))
        for result in results:
            if result.last:
                self._end(array, result.number, Stop("complete", ""))
        pauses = self._pauses[array]
        waits = pauses is None or results[0].epoch in pauses
        if not waits:
            self._ready[array] = Answer()
        return EpochDone(array, tuple(results), self._take_ended(array), waits)

    def _take_ended(self, array: int) -> tuple[Trained, ...]:
        ended, self._ended[array] = tuple(self._ended[array]), []
        return ended

    def _end(self, array: int, number: int, stop: Stop) -> None:
        epochs = self._training[array].pop(number)
        curve = [fake_score(number, epoch) for epoch in range(1, epochs + 1)]
        self._ended[array].append(Trained(
            number=number, state=stop.state, reason=stop.reason, epochs=epochs,
            best_epoch=curve.index(max(curve)) + 1, score=max(curve), evaluation=None,
            parameters={}, tasks=(), n_parameters=0, seconds=0.0,
        ))  # fmt: skip
