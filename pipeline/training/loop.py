"""From members to trained members: epochs, early stopping, divergence, the best parameters."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from pipeline.data.prepared import Prepared
from pipeline.evaluation.evaluate import Evaluation, evaluate_members, evaluate_one, tuned
from pipeline.tasks.base import Kind
from pipeline.training.members import (
    EpochResult,
    Member,
    State,
    Stop,
    Trained,
    architecture_of,
    kinds_of,
)
from pipeline.training.population import Population
from pipeline.training.predict import predict_part
from pipeline.training.state import FlatState

EXPLODED = 1e3
"""A member diverged when its weighted train loss is this many times its first batch's (or 1)."""

Answer = Mapping[int, Stop]
"""Which members must not go on, by number."""

Epochs = Generator[list[EpochResult], Answer, list[Trained]]


@dataclass
class _Progress:
    """What is known of one member so far."""

    member: Member
    epochs: int = 0
    best_epoch: int = 0
    best_score: float = -float("inf")
    state: State = "complete"
    reason: str = ""
    seconds: float = 0.0


def train(
    members: Sequence[Member],
    prepared: Prepared,
    on_epoch: Callable[[list[EpochResult]], Answer] | None = None,
) -> list[Trained]:
    """Trains members of one structure at once.

    Args:
        members: K members; one is the ordinary case of the same code.
        prepared: The data.
        on_epoch: Called after each epoch with the results of the members that trained in it;
            its answer names the members that must not go on. By default all go on.

    Returns:
        One result a member, in the order given.

    Raises:
        TrainingError: The members do not share one structure.
    """
    epochs = train_epochs(members, prepared)
    answer: Answer = {}
    try:
        results = next(epochs)
        while True:
            answer = on_epoch(results) if on_epoch else {}
            results = epochs.send(answer)
    except StopIteration as end:
        trained: list[Trained] = end.value
        return trained


def train_epochs(members: Sequence[Member], prepared: Prepared) -> Epochs:
    """Trains members of one structure, pausing after each epoch for an answer; see `train`.

    A generator, so that one worker can hold several populations and move them epoch by epoch.
    """
    started = time.perf_counter()
    population = Population(members, prepared)
    progress = {member.number: _Progress(member) for member in members}
    best: dict[int, Tensor] = {}
    for epoch in range(1, members[0].train.epochs + 1):
        losses = population.train_epoch(epoch)
        broken = _broken(population, losses)
        evaluations = _valid(population, prepared, broken)
        results = _record(population, progress, losses, evaluations, broken, epoch)
        _keep_best(population, progress, best, epoch)
        answer = yield results
        ended = {result.number for result in results if result.last}
        for number in answer.keys() - ended:
            progress[number].state = answer[number].state
            progress[number].reason = answer[number].reason
        ended |= answer.keys()
        for number in ended & {member.number for member in population.members}:
            progress[number].seconds = time.perf_counter() - started
        remaining = [i for i, m in enumerate(population.members) if m.number not in ended]
        if not remaining:
            break
        if len(remaining) < len(population.members):
            population.keep(torch.tensor(remaining))
    return _finish(members, prepared, progress, best)


def _broken(population: Population, losses: Tensor) -> dict[int, str]:
    """Returns why members diverged, by number."""
    first = population.first_losses
    assert first is not None  # a population trains at least one step
    weighted = torch.where(population.weights > 0, population.weights * losses, 0)
    start = torch.where(population.weights > 0, population.weights * first, 0).sum(1)
    finite = torch.isfinite(population.state.snapshot()).all(1)
    broken = {}
    for k, member in enumerate(population.members):
        total = float(weighted[k].sum())
        odd = [
            kind.info.name
            for kind, value in zip(population.kinds, weighted[k].tolist(), strict=True)
            if value != value or abs(value) == float("inf")
        ]
        if odd:
            broken[member.number] = f"the train loss of {', '.join(odd)} is not finite"
        elif not bool(finite[k]):
            broken[member.number] = "a parameter is not finite"
        elif total > EXPLODED * max(float(start[k]), 1.0):
            broken[member.number] = f"the train loss rose from {float(start[k]):.3g} to {total:.3g}"
    return broken


def _valid(
    population: Population, prepared: Prepared, broken: dict[int, str]
) -> dict[int, Evaluation]:
    """Returns the primary metrics on valid of each member whose outputs are finite."""
    outputs = predict_part(population.model, prepared.parts["valid"])
    finite = torch.ones(len(population.members), dtype=torch.bool)
    for values in outputs.values():
        finite &= torch.isfinite(torch.from_numpy(values)).flatten(1).all(1)
    sound = [
        k
        for k, member in enumerate(population.members)
        if bool(finite[k]) and member.number not in broken
    ]
    for k, member in enumerate(population.members):
        if not bool(finite[k]):
            broken.setdefault(member.number, "an output on valid is not finite")
    if not sound:
        return {}
    chosen = {task: values[sound] for task, values in outputs.items()}
    targets = prepared.parts["valid"].targets
    found = evaluate_members(population.kinds, chosen, targets, "valid", primary_only=True)
    return {population.members[k].number: found[i] for i, k in enumerate(sound)}


def _record(
    population: Population,
    progress: Mapping[int, _Progress],
    losses: Tensor,
    evaluations: Mapping[int, Evaluation],
    broken: Mapping[int, str],
    epoch: int,
) -> list[EpochResult]:
    results = []
    names = [kind.info.name for kind in population.kinds]
    moved = population.mean_weights()
    for k, member in enumerate(population.members):
        known = progress[member.number]
        known.epochs = epoch
        trained = {
            name: loss if weight > 0 else float("nan")
            for name, loss, weight in zip(names, losses[k].tolist(), member.weights, strict=True)
        }
        weights = {} if moved is None else dict(zip(names, moved[k].tolist(), strict=True))
        result = EpochResult(member.number, epoch, trained, {}, float("nan"), weights=weights)
        if member.number in broken:
            known.state = "diverged"
            known.reason = f"{broken[member.number]} at epoch {epoch}"
            results.append(replace(result, last=True))
            continue
        evaluation = evaluations[member.number]
        score = active_score(evaluation, names, member.weights)
        if score > known.best_score:
            known.best_score, known.best_epoch = score, epoch
        patience = member.train.patience
        last = epoch == member.train.epochs or (
            patience is not None and epoch - known.best_epoch >= patience
        )
        metrics = {
            kind.info.name: evaluation.tasks[kind.info.name][kind.info.metric]
            for kind in population.kinds
        }
        results.append(replace(result, valid=metrics, score=score, last=last))
    return results


def active_score(evaluation: Evaluation, names: Sequence[str], weights: Sequence[float]) -> float:
    """Returns the mean score of the tasks with non-zero weight."""
    scores = [evaluation.scores[t] for t, w in zip(names, weights, strict=True) if w > 0]
    return sum(scores) / len(scores)


def _keep_best(
    population: Population,
    progress: Mapping[int, _Progress],
    best: dict[int, Tensor],
    epoch: int,
) -> None:
    improved = [
        k
        for k, member in enumerate(population.members)
        if progress[member.number].best_epoch == epoch
    ]
    if improved:
        snapshot = population.state.snapshot()
        for k in improved:
            best[population.members[k].number] = snapshot[k].clone()


def _finish(
    members: Sequence[Member],
    prepared: Prepared,
    progress: Mapping[int, _Progress],
    best: Mapping[int, Tensor],
) -> list[Trained]:
    """Evaluates the best parameters of each member that completed."""
    shape = FlatState(architecture_of(members[0], prepared), [0])
    kinds = kinds_of(members[0], prepared)
    trained = []
    for member in members:
        known = progress[member.number]
        result = Trained(
            number=member.number,
            state=known.state,
            reason=known.reason,
            epochs=known.epochs,
            best_epoch=known.best_epoch,
            score=known.best_score if known.best_epoch else None,
            evaluation=None,
            parameters={},
            tasks=(),
            n_parameters=shape.n_parameters,
            seconds=known.seconds,
        )
        if known.state == "complete":
            result = _complete(result, member, kinds, shape, prepared, best[member.number])
        trained.append(result)
    return trained


def _complete(
    result: Trained,
    member: Member,
    kinds: Sequence[Kind],
    shape: FlatState,
    prepared: Prepared,
    best: Tensor,
) -> Trained:
    shape.restore(best.unsqueeze(0))
    part = prepared.parts["valid"]
    outputs = {task: values[0] for task, values in predict_part(shape.model, part).items()}
    kinds = tuned(kinds, outputs, part.targets)
    evaluation = evaluate_one(kinds, outputs, part.targets, "valid")
    names = [kind.info.name for kind in kinds]
    return replace(
        result,
        score=active_score(evaluation, names, member.weights),
        evaluation=evaluation,
        parameters=shape.named(best),
        tasks=tuple(kind.info for kind in kinds),
    )
