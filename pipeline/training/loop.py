"""From members to trained members, epoch by epoch: who goes on, who joins, who ended."""

from __future__ import annotations

import time
from collections.abc import Callable, Container, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count

import torch

from pipeline.data.prepared import Prepared
from pipeline.training.checkpoint import Checkpoint, Checkpoints
from pipeline.training.devices import CPU
from pipeline.training.ends import Finisher, Progress
from pipeline.training.epoch_results import note_epoch
from pipeline.training.members import EpochResult, Member, Stop, Trained, architecture_of
from pipeline.training.placement import Placed
from pipeline.training.population import Population
from pipeline.training.told import Told

Stops = Mapping[int, Stop]
"""Which members must not go on, by number."""


@dataclass(frozen=True)
class Answer:
    """What a population does before its next epoch.

    Attributes:
        stops: Members that must not go on.
        joining: Members of the same structure that start with the next epoch.
    """

    stops: Stops = field(default_factory=dict)
    joining: Sequence[Member] = ()


@dataclass(frozen=True)
class EpochEnd:
    """What a population did in an epoch.

    Attributes:
        results: Of each member that trained in it.
        trained: The ends of members that ended since the epoch before was told.
    """

    results: list[EpochResult]
    trained: list[Trained]


Epochs = Generator[EpochEnd, Answer, list[Trained]]


def train(
    members: Sequence[Member],
    prepared: Prepared,
    on_epoch: Callable[[list[EpochResult]], Stops] | None = None,
    first_epoch: int = 1,
    placed: Placed | None = None,
) -> list[Trained]:
    """Trains members of one structure at once.

    Args:
        members: K members; one is the ordinary case of the same code.
        prepared: The data.
        on_epoch: Called after each epoch with the results of the members that trained in it;
            its answer names the members that must not go on. By default all go on.
        first_epoch: See `train_epochs`.
        placed: See `train_epochs`.

    Returns:
        One result a member, in the order given.

    Raises:
        TrainingError: The members do not share one structure.
    """
    epochs = train_epochs(members, prepared, first_epoch, placed)
    ended: list[Trained] = []
    try:
        end = next(epochs)
        while True:
            ended += end.trained
            end = epochs.send(Answer(on_epoch(end.results) if on_epoch else {}))
    except StopIteration as stop:
        ended += stop.value
    by_number = {trained.number: trained for trained in ended}
    return [by_number[member.number] for member in members]


def train_epochs(
    members: Sequence[Member],
    prepared: Prepared,
    first_epoch: int = 1,
    placed: Placed | None = None,
    checkpoints: Checkpoints | None = None,
) -> Epochs:
    """Trains members of one structure, pausing after each epoch for an answer; see `train`.

    A generator, so that one worker can hold several populations and move them epoch by epoch.
    Each member counts its own epochs: schedule, patience and end depend on them. Batch order and
    noise come from the population's epoch: a member that joins when e epochs are done equals,
    to float tolerance, the same member alone with `first_epoch` e + 1.

    Args:
        members: Those that start together.
        prepared: The data.
        first_epoch: Number of the population's first epoch.
        placed: The data where they train; by default on the CPU.
        checkpoints: What an earlier run of the same members left there is told again, and
            trained on; how the array ends stays there, for whoever keeps that to delete. None
            keeps none.

    Returns:
        The ends that no epoch has told; everything in them is in the computer's memory.
    """
    placed = placed or Placed(prepared)
    checkpoint = checkpoints.of(members, first_epoch, placed) if checkpoints else None
    saved = checkpoint.load() if checkpoint else None
    if checkpoint is None or saved is None:
        population = Population(members, prepared, placed=placed)
        begun = _begin(members, first_epoch)
        return (yield from _train(population, begun, first_epoch, [], placed, checkpoint))
    finisher = Finisher(architecture_of(members[0], prepared), saved.n_parameters, placed)
    ended: list[Trained] = []
    answers: list[Answer] = []
    for told in saved.told:
        answer = yield EpochEnd(told.results, ended + finisher.ends(told.ended))
        answers.append(answer)
        if answer.joining or answer.stops != told.stops:  # it is not the course that was kept
            checkpoint.drop()
            del saved, told  # their population makes room for another
            again = train_epochs(members, prepared, first_epoch, placed, checkpoints)
            return (yield from _repeat(again, answers))
        ended = finisher.ends(told.stopped)
    if saved.population is None:
        return ended
    epoch = first_epoch + len(saved.told)
    return (yield from _train(saved.population, saved.progress, epoch, ended, placed, checkpoint))


def _repeat(epochs: Epochs, answers: Sequence[Answer]) -> Epochs:
    """Trains again what was told already, under the same answers, and goes on from there."""
    try:
        end = next(epochs)
        for answer in answers:
            end = epochs.send(answer)
        while True:
            end = epochs.send((yield end))
    except StopIteration as stop:
        ended: list[Trained] = stop.value
        return ended


def _train(
    population: Population,
    progress: dict[int, Progress],
    first_epoch: int,
    ended: list[Trained],
    placed: Placed,
    checkpoint: Checkpoint | None,
) -> Epochs:
    """Trains a population from an epoch on; `ended` are the ends that no epoch has told."""
    state = population.state
    finisher = Finisher(state.architecture, state.n_parameters, placed)
    for epoch in count(first_epoch):
        losses = population.train_epoch(epoch).cpu()
        results = note_epoch(population, progress, placed, epoch, losses)
        own = [progress.pop(result.number) for result in results if result.last]
        answer = yield EpochEnd(results, ended + finisher.ends(own))
        stopped = _stop(progress, answer.stops)
        ended = finisher.ends(stopped)
        progress |= _begin(answer.joining, epoch + 1)
        if progress:
            _regroup(population, progress, answer.joining)
        if checkpoint and answer.joining:  # it tells of those who start together
            checkpoint.drop()
            checkpoint = None
        if checkpoint:
            checkpoint.note(Told(results, own, answer.stops, stopped), population, progress)
        if not progress:
            break
    return ended


def _begin(members: Sequence[Member], first_epoch: int) -> dict[int, Progress]:
    started = time.perf_counter()
    return {member.number: Progress(member, first_epoch, started) for member in members}


def _stop(progress: dict[int, Progress], stops: Stops) -> list[Progress]:
    """Takes out who must not go on; those that ended by themselves are out already."""
    stopped = [progress.pop(number) for number in stops if number in progress]
    for known in stopped:
        stop = stops[known.member.number]
        known.state, known.reason = stop.state, stop.reason
    return stopped


def _regroup(population: Population, staying: Container[int], joining: Sequence[Member]) -> None:
    """Takes on who joins, and only then cuts who ended: a population is never empty."""
    if joining:
        population.add(joining)
    index = [i for i, member in enumerate(population.members) if member.number in staying]
    if len(index) < len(population.members):
        population.keep(torch.tensor(index, device=CPU))
