"""How an epoch went for each member: diverged, or scored on valid; its best parameters so far."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from pipeline.evaluation.evaluate import Evaluation, evaluate_members
from pipeline.training.devices import CPU
from pipeline.training.diagnostics import describe, is_due
from pipeline.training.ends import Progress, active_score, outputs_of
from pipeline.training.members import EpochResult
from pipeline.training.placement import Placed
from pipeline.training.population import Population

EXPLODED = 1e3
"""A member diverged when its weighted train loss is this many times its first batch's (or 1)."""


def note_epoch(
    population: Population,
    progress: Mapping[int, Progress],
    placed: Placed,
    epoch: int,
    losses: Tensor,
) -> list[EpochResult]:
    """Looks at members after an epoch, and notes in their progress what came of it.

    Args:
        population: The members.
        progress: By number; changed.
        placed: The data, where members train.
        epoch: Of the population, from 1.
        losses: (K, T) mean train losses of the epoch, on the CPU.
    """
    gramian = _look(population, epoch)
    broken = _broken(population, losses)
    evaluations = _valid(population, placed, broken)
    results = _trained(population, progress, losses)
    for k, result in enumerate(results):
        known = progress[result.number]
        if result.number in broken:
            known.state = "diverged"
            known.reason = f"{broken[result.number]} at epoch {result.epoch}"
            results[k] = replace(result, last=True)
            continue
        if gramian is not None:
            result = _looked_at(population, known, result, gramian[k])
        results[k] = _scored(population, known, result, evaluations[result.number])
    _keep_best(population, progress)
    return results


def _look(population: Population, epoch: int) -> Tensor | None:
    """Returns the (K, T, T) Gramian of the tasks' gradients after an epoch, where a look is due."""
    due = is_due(epoch, population.steps_per_epoch, len(population.kinds))
    return population.gramian().cpu() if due and population.members[0].train.diagnostics else None


def _broken(population: Population, losses: Tensor) -> dict[int, str]:
    """Returns why members diverged, by number."""
    weights, first = population.own.weights.cpu(), population.first_losses.cpu()
    weighted = torch.where(weights > 0, weights * losses, 0)
    start = torch.where(weights > 0, weights * first, 0).sum(1)
    finite = torch.isfinite(population.state.snapshot()).all(1).cpu()
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


def _valid(population: Population, placed: Placed, broken: dict[int, str]) -> dict[int, Evaluation]:
    """Returns the primary metrics on valid of each member whose outputs are finite."""
    outputs = outputs_of(population.model, population.members, placed)
    finite = torch.ones(len(population.members), dtype=torch.bool, device=CPU)
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
    targets = placed.prepared.parts["valid"].targets
    found = evaluate_members(population.kinds, chosen, targets, "valid", primary_only=True)
    return {population.members[k].number: found[i] for i, k in enumerate(sound)}


def _trained(
    population: Population, progress: Mapping[int, Progress], losses: Tensor
) -> list[EpochResult]:
    """Counts the epoch, and returns what is known of it without valid."""
    names = [kind.info.name for kind in population.kinds]
    means = population.mean_weights()
    moved = None if means is None else means.cpu()
    results = []
    for k, member in enumerate(population.members):
        progress[member.number].epochs += 1
        own = {
            name: loss if weight > 0 else float("nan")
            for name, loss, weight in zip(names, losses[k].tolist(), member.weights, strict=True)
        }
        weights = {} if moved is None else dict(zip(names, moved[k].tolist(), strict=True))
        epoch = progress[member.number].epochs
        results.append(EpochResult(member.number, epoch, own, {}, float("nan"), weights=weights))
    return results


def _looked_at(
    population: Population, known: Progress, result: EpochResult, gramian: Tensor
) -> EpochResult:
    """Adds how a member's gradients lie to each other, of its (T, T) Gramian."""
    names = [kind.info.name for kind in population.kinds]
    gradients = describe(gramian, names, [weight > 0 for weight in known.member.weights])
    if gradients is not None:
        known.cosines.add(gradients)
    return replace(result, gradients=gradients)


def _scored(
    population: Population, known: Progress, result: EpochResult, evaluation: Evaluation
) -> EpochResult:
    """Adds what valid says of a member, and whether it ends here."""
    member, infos = known.member, [kind.info for kind in population.kinds]
    score = active_score(evaluation, [info.name for info in infos], member.weights)
    if score > known.best_score:
        known.best_score, known.best_epoch = score, result.epoch
    patience = member.train.patience
    last = result.epoch == member.train.epochs or (
        patience is not None and result.epoch - known.best_epoch >= patience
    )
    metrics = {info.name: evaluation.tasks[info.name][info.metric] for info in infos}
    scores = dict(evaluation.scores)
    return replace(result, valid=metrics, score=score, scores=scores, last=last)


def _keep_best(population: Population, progress: Mapping[int, Progress]) -> None:
    everyone = [progress[member.number] for member in population.members]
    improved = [k for k, known in enumerate(everyone) if known.best_epoch == known.epochs]
    if improved:
        snapshot = population.state.snapshot()[improved].cpu()  # one copy, what is stored is there
        for k, best in zip(improved, snapshot, strict=True):
            everyone[k].best = best.clone()
