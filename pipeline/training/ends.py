"""How a member ends: what is known of it, and its best parameters evaluated."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.evaluation.evaluate import Evaluation, evaluate_one, tuned
from pipeline.models.architecture import Architecture
from pipeline.models.network import MultiTaskModel
from pipeline.training.diagnostics import MeanCosines
from pipeline.training.members import Member, State, Trained, kinds_of
from pipeline.training.placement import Placed
from pipeline.training.predict import predict_part
from pipeline.training.state import FlatState


@dataclass
class Progress:
    """What is known of one member so far.

    Attributes:
        member: The member.
        first_epoch: Of its population, in which it began.
        started: When, by `time.perf_counter`.
        epochs: Its own, trained so far.
        best_epoch: Of its own; 0 before the first score.
        best_score: On valid.
        best: Its row of a snapshot after that epoch.
        state: How it ends, or would now.
        reason: Why.
        cosines: Over the looks at its gradients.
        seconds: From its start to its end; 0 before that.
    """

    member: Member
    first_epoch: int
    started: float
    epochs: int = 0
    best_epoch: int = 0
    best_score: float = -float("inf")
    best: Tensor | None = None
    state: State = "complete"
    reason: str = ""
    cosines: MeanCosines = field(default_factory=MeanCosines)
    seconds: float = 0.0


def outputs_of(
    model: MultiTaskModel, members: Sequence[Member], placed: Placed
) -> dict[str, NDArray[np.float32]]:
    """Returns the outputs on valid; a member writes nothing for a task that it does not learn.

    So that neither its time nor its record depends on what members beside it learn.
    """
    weights = np.array([member.weights for member in members])  # (K, T)
    learned = {task.name: weights[:, t] > 0 for t, task in enumerate(placed.prepared.tasks)}
    writing = [task for task in model.architecture.generators if learned[task].any()]
    outputs = predict_part(model, placed.part("valid"), tasks=writing)
    for task in writing:
        outputs[task][~learned[task]] = 0
    return outputs


def active_score(evaluation: Evaluation, names: Sequence[str], weights: Sequence[float]) -> float:
    """Returns the mean score of the tasks with non-zero weight."""
    scores = [evaluation.scores[t] for t, w in zip(names, weights, strict=True) if w > 0]
    return sum(scores) / len(scores)


class Finisher:
    """Makes the ends of members of one structure, the best parameters of complete ones evaluated.

    Args:
        architecture: Of the members.
        n_parameters: Of each.
        placed: The data, where members train.
    """

    def __init__(self, architecture: Architecture, n_parameters: int, placed: Placed) -> None:
        self._architecture, self._n_parameters = architecture, n_parameters
        self._placed = placed

    def ends(self, everyone: Sequence[Progress]) -> list[Trained]:
        """Returns how members ended; those that are complete are evaluated at once."""
        complete = self._complete([known for known in everyone if known.state == "complete"])
        found = {trained.number: trained for trained in complete}
        return [found.get(known.member.number) or self._end(known) for known in everyone]

    def _end(self, known: Progress) -> Trained:
        """Returns what is known of a member without looking at its parameters."""
        known.seconds = known.seconds or time.perf_counter() - known.started
        return Trained(
            number=known.member.number,
            state=known.state,
            reason=known.reason,
            epochs=known.epochs,
            best_epoch=known.best_epoch,
            score=known.best_score if known.best_epoch else None,
            evaluation=None,
            parameters={},
            tasks=(),
            n_parameters=self._n_parameters,
            seconds=known.seconds,
            first_epoch=known.first_epoch,
            cosines=known.cosines.means(),
            device=self._placed.device.type,
        )

    def _complete(self, everyone: Sequence[Progress]) -> list[Trained]:
        """Returns how members ended at the parameters of their best epochs."""
        if not everyone:
            return []
        state = FlatState(self._architecture, [0] * len(everyone), device=self._placed.device)
        # Each was evaluated at least once.
        best = torch.stack([known.best for known in everyone if known.best is not None])
        state.restore(best)
        members = [known.member for known in everyone]
        outputs = outputs_of(state.model, members, self._placed)
        targets = self._placed.prepared.parts["valid"].targets
        ended = []
        for k, known in enumerate(everyone):
            own = {task: values[k] for task, values in outputs.items()}
            kinds = tuned(kinds_of(known.member, self._placed.prepared), own, targets)
            evaluation = evaluate_one(kinds, own, targets, "valid")
            names = [kind.info.name for kind in kinds]
            end = replace(
                self._end(known),
                score=active_score(evaluation, names, known.member.weights),
                evaluation=evaluation,
                parameters=state.named(best[k]),
                tasks=tuple(kind.info for kind in kinds),
            )
            ended.append(end)
        return ended
