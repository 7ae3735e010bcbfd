"""Optimizers on the whole population: parameters (K, P), a learning rate for each member.

Each is checked against `torch.optim` member by member in float64. Penalties apply in the order
of `torch.optim`: the coupled terms join the gradient after clipping, the decoupled decay shrinks
the parameters by `lr * weight_decay` before the step. Penalties act on every parameter.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from pipeline.study.spec import TrainSpec


@dataclass(frozen=True)
class Rates:
    """Each member's settings, (K, 1)."""

    lr: Tensor
    momentum: Tensor
    weight_decay: Tensor
    l2: Tensor
    l1: Tensor
    clip: Tensor

    @classmethod
    def of(cls, specs: list[TrainSpec], dtype: torch.dtype) -> Rates:
        """Stacks the members' settings; no clipping is a clip at infinity."""

        def column(name: str) -> Tensor:
            values = [getattr(spec, name) for spec in specs]
            numbers = [float("inf") if value is None else float(value) for value in values]
            return torch.tensor(numbers, dtype=dtype).unsqueeze(1)

        return cls(*(column(field.name) for field in fields(cls)))

    def keep(self, index: Tensor) -> Rates:
        """Returns the settings of the members at `index`."""
        return Rates(*(getattr(self, field.name)[index] for field in fields(self)))


class Optimizer(ABC):
    """One method, for all members at once.

    Args:
        n_members: K.
        n_parameters: P.
        n_segments: Parts of the parameters that may rest: the trunk and each head.
        dtype: Of the parameters.
    """

    state_names: tuple[str, ...] = ()
    """Names of the (K, P) tensors that the method remembers."""

    full_batch = False

    def __init__(
        self, n_members: int, n_parameters: int, n_segments: int, dtype: torch.dtype
    ) -> None:
        for name in self.state_names:
            setattr(self, name, torch.zeros(n_members, n_parameters, dtype=dtype))
        self.steps = torch.zeros(n_members, n_segments, dtype=dtype)

    def _states(self) -> Iterator[tuple[str, Tensor]]:
        return ((name, getattr(self, name)) for name in self.state_names)

    def keep(self, index: Tensor) -> None:
        """Goes on with the members at `index` only."""
        for name, state in self._states():
            setattr(self, name, state[index])
        self.steps = self.steps[index]

    def step(
        self, parameters: Tensor, gradient: Tensor, rates: Rates, lr: Tensor,
        lengths: Tensor, active: Tensor | None,
    ) -> None:  # fmt: skip
        """Moves the parameters in place.

        Args:
            parameters: (K, P).
            gradient: (K, P); changed in place.
            rates: The members' settings.
            lr: (K, 1) learning rate of this step.
            lengths: (S,) parameters in each segment, in order.
            active: (K, S) segments that move; None where all do. What rests keeps its
                parameters, its state and its step count.
        """
        with torch.no_grad():
            if active is None:
                self.steps += 1
                self._step(parameters, gradient, rates, lr, self._step_count(lengths))
                return
            self.steps += active
            before = [tensor.clone() for tensor in (parameters, *dict(self._states()).values())]
            self._step(parameters, gradient, rates, lr, self._step_count(lengths))
            mask = torch.repeat_interleave(active, lengths, dim=1)
            now = (parameters, *dict(self._states()).values())
            for tensor, old in zip(now, before, strict=True):
                torch.where(mask, tensor, old, out=tensor)

    def _step_count(self, lengths: Tensor) -> Tensor:
        """Returns how often each parameter moved, counting this step: (K, 1) or (K, P)."""
        if bool((self.steps == self.steps[:, :1]).all()):
            return self.steps[:, :1]
        return torch.repeat_interleave(self.steps, lengths, dim=1).clamp_min(1)

    def _step(
        self, parameters: Tensor, gradient: Tensor, rates: Rates, lr: Tensor, count: Tensor
    ) -> None:
        _clip(gradient, rates.clip)
        _penalise(gradient, parameters, rates)
        if bool((rates.weight_decay > 0).any()):
            parameters.mul_(1 - lr * rates.weight_decay)
        self.move(parameters, gradient, rates, lr, count)

    @abstractmethod
    def move(
        self, parameters: Tensor, gradient: Tensor, rates: Rates, lr: Tensor, count: Tensor
    ) -> None:
        """Moves the parameters along the penalised, clipped gradient.

        Args:
            parameters: (K, P), changed in place.
            gradient: (K, P).
            rates: The members' settings.
            lr: (K, 1).
            count: (K, 1) or (K, P): number of this step, from 1.
        """


def _clip(gradient: Tensor, clip: Tensor) -> None:
    if bool(torch.isfinite(clip).any()):
        norm = torch.linalg.vector_norm(gradient, dim=1, keepdim=True)
        gradient.mul_((clip / (norm + 1e-6)).clamp_(max=1))


def _penalise(gradient: Tensor, parameters: Tensor, rates: Rates) -> None:
    if bool((rates.l2 > 0).any()):
        gradient.addcmul_(parameters, rates.l2)
    if bool((rates.l1 > 0).any()):
        gradient.addcmul_(parameters.sign(), rates.l1)


class GradientDescent(Optimizer):
    """Full-batch gradient descent: w <- w - lr g, one step an epoch."""

    full_batch = True

    def move(
        self, parameters: Tensor, gradient: Tensor, rates: Rates, lr: Tensor, count: Tensor
    ) -> None:
        """Takes one step down the gradient."""
        parameters.addcmul_(gradient, lr, value=-1)


class SGD(Optimizer):
    """Momentum as in `torch.optim.SGD`: v <- m v + g; w <- w - lr v."""

    state_names = ("velocity",)
    velocity: Tensor

    def move(
        self, parameters: Tensor, gradient: Tensor, rates: Rates, lr: Tensor, count: Tensor
    ) -> None:
        """Adds the gradient to the velocity and moves along it."""
        self.velocity.mul_(rates.momentum).add_(gradient)
        parameters.addcmul_(self.velocity, lr, value=-1)


class Subgradient(Optimizer):
    """Subgradient method: w <- w - (lr / sqrt(t)) g, t the number of the step from 1.

    For non-smooth terms (L1, absolute loss). A step need not descend, so the best iterate is
    what counts (Shor, 1985; Boyd et al., 2003): training keeps the parameters of the best epoch.
    """

    def move(
        self, parameters: Tensor, gradient: Tensor, rates: Rates, lr: Tensor, count: Tensor
    ) -> None:
        """Takes a step of diminishing size along a subgradient."""
        parameters.sub_(gradient * (lr / count.sqrt()))


class Adam(Optimizer):
    """Adaptive moments (Kingma and Ba, 2015), with betas 0.9 and 0.999 and epsilon 1e-8.

    `adam` and `adamw` are one method: `l2` is the coupled penalty of the first, `weight_decay`
    the decoupled one of the second (Loshchilov and Hutter, 2019), and both may be given.
    """

    state_names = ("mean", "square")
    mean: Tensor
    square: Tensor
    betas = (0.9, 0.999)
    epsilon = 1e-8

    def move(
        self, parameters: Tensor, gradient: Tensor, rates: Rates, lr: Tensor, count: Tensor
    ) -> None:
        """Updates both moments and moves by their bias-corrected ratio."""
        first, second = self.betas
        self.mean.lerp_(gradient, 1 - first)
        self.square.mul_(second).addcmul_(gradient, gradient, value=1 - second)
        denominator = self.square.sqrt().div_((1 - second**count).sqrt()).add_(self.epsilon)
        parameters.sub_(self.mean.div(denominator).mul_(lr / (1 - first**count)))
