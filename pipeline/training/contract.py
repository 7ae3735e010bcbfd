"""What a strategy of the user's own must offer, tried out on made-up losses when it is named."""

from __future__ import annotations

import inspect
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from pipeline.study.weights_spec import WeightsSpec
from pipeline.training.streams import Streams
from pipeline.training.weighting.base import Step, Weighting

_N_STEPS = 3


def strategy_problem(found: Any, section: WeightsSpec) -> str | None:
    """Returns why something cannot be a strategy of loss weights; None where it can.

    It weighs the losses of two members, and of the second alone.

    Args:
        found: What the study names.
        section: The section `weights`, with the options.
    """
    if not isinstance(found, type) or not issubclass(found, Weighting):
        return "it must be a class of pipeline.training.weighting.base.Weighting"
    if inspect.isabstract(found):
        missing: frozenset[str] = getattr(found, "__abstractmethods__", frozenset())
        return f"it leaves out {', '.join(sorted(missing))}"
    try:
        both, alone = _weights(found, section, [0, 1]), _weights(found, section, [1])
    except Exception as error:
        return f"asked to weigh losses it raised {type(error).__name__}: {error}"
    if tuple(both.shape) != (_N_STEPS, 2, 3):
        return f"`weigh` must give (members, tasks) weights, not {tuple(both.shape[1:])}"
    if not bool(torch.isfinite(both).all()):
        return "`weigh` must give finite weights"
    if bool((both[:, 0, 2] != 0).any()):
        return "`weigh` must give 0 to a task that is not active"
    if not torch.allclose(both[:, 1], alone[:, 0]):
        return "a member's weights must not depend on the other members of its array"
    return None


def _weights(found: type[Weighting], section: WeightsSpec, members: list[int]) -> Tensor:
    """Returns (steps, K, T) weights; the first member does not train the third task."""
    weights = torch.tensor([[1.5, 1.5, 0.0], [1.0, 1.0, 1.0]])[members]
    streams = Streams(0)
    streams.start(1)
    weighting = found([section] * len(members), weights, streams)
    losses = torch.tensor([[0.7, 1.3, 0.4], [2.0, 0.1, 0.9]])[members]
    gradients = torch.arange(2 * 3 * 4.0).reshape(2, 3, 4).sin()[members]
    lr = torch.full((len(members), 1), 0.01)
    step = Step(losses, weights > 0, lr, torch.bmm(gradients, gradients.mT))
    seen = []
    for number in range(_N_STEPS):
        seen.append(weighting.weigh(replace(step, losses=losses / (1 + number))).clone())
        weighting.look(step)
    weighting.end_epoch(losses)
    weighting.restore(weighting.save())
    weighting.keep(torch.tensor([0]))
    return torch.stack(seen)
