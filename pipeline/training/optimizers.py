"""Optimizers on the whole population: parameters (K, P), a learning rate for each member.

Each is checked against `torch.optim` member by member in float64. Penalties apply in the order
of `torch.optim`: the coupled terms join the gradient after clipping, the decoupled decay shrinks
the parameters by `lr * weight_decay` before the step. Penalties act on every parameter.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from functools import cached_property

import torch
from torch import Tensor

from pipeline.study.train_spec import TrainSpec


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
    def of(
        cls, specs: list[TrainSpec], dtype: torch.dtype, device: torch.device | None = None
    ) -> Rates:
        """Stacks the members' settings; no clipping is a clip at infinity."""

        def column(name: str) -> Tensor:
            values = [getattr(spec, name) for spec in specs]
            numbers = [float("inf") if value is None else float(value) for value in values]
            return torch.tensor(numbers, dtype=dtype, device=device).unsqueeze(1)

        return cls(*(column(field.name) for field in fields(cls)))

    # Asked once, since every step of every population would ask.

    @cached_property
    def any_clip(self) -> bool:
        """Whether some member clips."""
        return bool(torch.isfinite(self.clip).any())

    @cached_property
    def any_l1(self) -> bool:
        """Whether some member has an L1 penalty."""
        return bool((self.l1 > 0).any())

    @cached_property
    def any_l2(self) -> bool:
        """Whether some member has an L2 penalty."""
        return bool((self.l2 > 0).any())

    @cached_property
    def any_decay(self) -> bool:
        """Whether some member has decoupled weight decay."""
        return bool((self.weight_decay > 0).any())

    @cached_property
    def decays(self) -> list[float]:
        """The decoupled weight decay of each member."""
        return self.weight_decay.flatten().tolist()


class Optimizer(ABC):
    """One method, for all members at once.

    Args:
        n_members: K.
        n_parameters: P.
        n_segments: Parts of the parameters that may rest: the trunk and each head.
        dtype: Of the parameters.
        device: Where they are.
    """

    state_names: tuple[str, ...] = ()
    """Names of the (K, P) tensors that the method remembers."""

    full_batch = False

    def __init__(
        self,
        n_members: int,
        n_parameters: int,
        n_segments: int,
        dtype: torch.dtype,
        device: torch.device | None = None,
    ) -> None:
        for name in self.state_names:
            zeros = torch.zeros(n_members, n_parameters, dtype=dtype, device=device)
            setattr(self, name, zeros)
        self.steps = torch.zeros(n_members, n_segments, dtype=dtype, device=device)
        self._even = True  # all segments of a member have moved equally often

    def _states(self) -> Iterator[tuple[str, Tensor]]:
        return ((name, getattr(self, name)) for name in self.state_names)

    def keep(self, index: Tensor) -> None:
        """Goes on with the members at `index` only."""
        for name, state in self._states():
            setattr(self, name, state[index])
        self.steps = self.steps[index]

    def add(self, n_members: int) -> None:
        """Takes members on that have not moved yet."""
        for name, state in self._states():
            fresh = state.new_zeros(n_members, state.shape[1])
            setattr(self, name, torch.cat([state, fresh]))
        self.steps = torch.cat([self.steps, self.steps.new_zeros(n_members, self.steps.shape[1])])

    def save(self) -> dict[str, Tensor]:
        """Returns a copy of what is remembered."""
        copies = {name: state.clone() for name, state in self._states()}
        return {**copies, "steps": self.steps.clone(), "even": torch.tensor(self._even)}

    def restore(self, saved: Mapping[str, Tensor]) -> None:
        """Goes on from what `save` gave for the present members."""
        for name, state in self._states():
            state.copy_(saved[name])
        self.steps.copy_(saved["steps"])
        self._even = bool(saved["even"])

    def step(
        self, parameters: Tensor, gradient: Tensor, rates: Rates, lr: Tensor,
        segments: Tensor, active: Tensor | None,
    ) -> None:  # fmt: skip
        """Moves the parameters in place.

        Args:
            parameters: (K, P).
            gradient: (K, P); changed in place.
            rates: The members' settings.
            lr: (K, 1) learning rate of this step, or (K, P) where parameters have their own.
            segments: (P,) segment of each parameter.
            active: (K, S) segments that move; None where all do. What rests keeps its
                parameters, its state and its step count.
        """
        with torch.no_grad():
            if active is None:
                self.steps += 1
                self._step(parameters, gradient, rates, lr, self._step_count(segments))
                return
            self.steps += active
            self._even = False
            before = [tensor.clone() for tensor in (parameters, *dict(self._states()).values())]
            self._step(parameters, gradient, rates, lr, self._step_count(segments))
            mask = active[:, segments]
            now = (parameters, *dict(self._states()).values())
            for tensor, old in zip(now, before, strict=True):
                torch.where(mask, tensor, old, out=tensor)

    def _step_count(self, segments: Tensor) -> Tensor:
        """Returns how often each parameter moved, counting this step: (K, 1) or (K, P)."""
        if self._even:
            return self.steps[:, :1]
        return self.steps[:, segments].clamp_min(1)

    def _step(
        self, parameters: Tensor, gradient: Tensor, rates: Rates, lr: Tensor, count: Tensor
    ) -> None:
        _clip(gradient, rates)
        _penalise(gradient, parameters, rates)
        self._decay_and_move(parameters, gradient, rates, lr, count)

    def _decay_and_move(
        self, parameters: Tensor, gradient: Tensor, rates: Rates, lr: Tensor, count: Tensor
    ) -> None:
        if rates.any_decay:
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


def _clip(gradient: Tensor, rates: Rates) -> None:
    if rates.any_clip:
        norm = torch.linalg.vector_norm(gradient, dim=1, keepdim=True)
        gradient.mul_((rates.clip / (norm + 1e-6)).clamp_(max=1))


def _penalise(gradient: Tensor, parameters: Tensor, rates: Rates) -> None:
    if rates.any_l2:
        gradient.addcmul_(parameters, rates.l2)
    if rates.any_l1:
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
    _cut: tuple[Tensor, ...] | None = None  # whose rows are in `_rows`
    _rows: list[list[list[Tensor]]]

    def _decay_and_move(
        self, parameters: Tensor, gradient: Tensor, rates: Rates, lr: Tensor, count: Tensor
    ) -> None:
        # On a CPU each member's row is updated in one pass while it is in the cache; a GPU would
        # wait for K launches, and takes passes over all of (K, P) instead.
        if count.shape[1] == 1 and lr.shape[1] == 1 and parameters.is_cpu:
            self.move_rows(parameters, gradient, rates, lr, count)
        else:
            super()._decay_and_move(parameters, gradient, rates, lr, count)

    def move_rows(
        self, parameters: Tensor, gradient: Tensor, rates: Rates, lr: Tensor, count: Tensor
    ) -> None:
        """Does what the decay and `move` do, member by member in one pass over each row.

        Args:
            parameters: (K, P), changed in place.
            gradient: (K, P).
            rates: The members' settings.
            lr: (K, 1).
            count: (K, 1).
        """
        first, second = self.betas
        # A view of each row at each step would cost as much as a small update.
        tensors = (parameters, gradient, self.mean, self.square)
        if self._cut is None or any(a is not b for a, b in zip(self._cut, tensors, strict=True)):
            self._cut = tensors
            self._rows = [[[row] for row in rows.unbind()] for rows in tensors]
        counts = [[n] for n in count[:, 0].unbind()]
        rows = zip(*self._rows, counts, lr.flatten().tolist(), rates.decays, strict=True)
        for p, g, m, v, n, own_lr, decay in rows:
            torch._fused_adamw_(
                p, g, m, v, [], n, lr=own_lr, beta1=first, beta2=second,
                weight_decay=decay, eps=self.epsilon, amsgrad=False, maximize=False,
            )  # fmt: skip

    def move(
        self, parameters: Tensor, gradient: Tensor, rates: Rates, lr: Tensor, count: Tensor
    ) -> None:
        """Updates both moments and moves by their bias-corrected ratio."""
        first, second = self.betas
        self.mean.lerp_(gradient, 1 - first)
        self.square.mul_(second).addcmul_(gradient, gradient, value=1 - second)
        # lr / c1 * m / (sqrt(v) / c2 + eps), with the small (K, 1) factors under the fraction.
        under = (1 - first**count) / lr.clamp_min(torch.finfo(lr.dtype).tiny)
        factor = under / (1 - second**count).sqrt()
        denominator = self.square.sqrt().mul_(factor).add_(under * self.epsilon)
        parameters.addcdiv_(self.mean, denominator, value=-1)
