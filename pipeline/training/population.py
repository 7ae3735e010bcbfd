"""K members of one structure, trained step by step as one array."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from pipeline.data.prepared import Part, Prepared
from pipeline.errors import TrainingError
from pipeline.models.build import MultiTaskModel
from pipeline.models.trunk import Rates as DropoutRates
from pipeline.study.catalogue import load
from pipeline.tasks.base import Kind
from pipeline.training.augmentation import (
    Augmentation,
    Mixing,
    draw_mixing,
    hide_codes,
    perturb,
)
from pipeline.training.members import Member, architecture_of, kinds_of, structure_of
from pipeline.training.optimizers import Optimizer, Rates
from pipeline.training.schedules import progress_after_warmup
from pipeline.training.state import FlatState
from pipeline.training.streams import Streams
from pipeline.training.weighting import Fixed, Weighting, stack_weights


class Rows:
    """The train rows as tensors: in memory, or mapped from the cache."""

    def __init__(self, part: Part, kinds: Sequence[Kind], dtype: torch.dtype) -> None:
        self.numeric = torch.from_numpy(part.numeric)
        self.codes = torch.from_numpy(part.codes)
        self.targets = [torch.from_numpy(part.targets[kind.info.name]) for kind in kinds]
        self.complete = [
            not bool(np.isnan(part.targets[kind.info.name]).any()) for kind in kinds
        ]  # no label of the task is missing: no mask is needed
        self.dtype = dtype
        self.n_rows = len(part)

    def gather(self, rows: Tensor) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Returns the inputs and targets of some rows."""
        numeric = self.numeric[rows].to(self.dtype)
        targets = [target[rows].to(self.dtype) for target in self.targets]
        return numeric, self.codes[rows], targets


class Population:
    """Members that train together.

    Every member's own loss is summed, never averaged, over members: a mean would divide each
    gradient by K. A member in an array equals the same member alone to float tolerance.

    Args:
        members: Of one structure.
        prepared: The data.
        dtype: Of parameters and inputs; float64 in tests against torch.optim.

    Raises:
        TrainingError: The members do not share one structure.
    """

    def __init__(
        self, members: Sequence[Member], prepared: Prepared, dtype: torch.dtype = torch.float32
    ) -> None:
        if len({structure_of(member) for member in members}) != 1:
            raise TrainingError("The members of a population must share one structure.")
        first = members[0]
        self.members = list(members)
        self.kinds = kinds_of(first, prepared)
        self.state = FlatState(
            architecture_of(first, prepared), [member.seed for member in members], dtype
        )
        self.rows = Rows(prepared.parts["train"], self.kinds, dtype)
        self.streams = Streams(first.stream)
        self._n_numbers = len(prepared.encoder.numeric)
        self._lengths, self._owners = self.state.segments()
        optimizer = load("optimizer", first.train.optimizer)
        self.optimizer: Optimizer = optimizer(
            len(members), self.state.n_parameters, len(self._owners), dtype
        )
        self.batch_size = (
            self.rows.n_rows
            if self.optimizer.full_batch
            else min(first.train.batch_size, self.rows.n_rows)
        )
        self.steps_per_epoch = -(-self.rows.n_rows // self.batch_size)
        self._n_steps = self.steps_per_epoch * first.train.epochs
        self._schedule = load("schedule", first.train.schedule)
        self._set_rates(dtype)
        self.first_losses: Tensor | None = None

    def _set_rates(self, dtype: torch.dtype) -> None:
        specs = [member.train for member in self.members]
        models = [member.model for member in self.members]
        self.rates = Rates.of(specs, dtype)
        self.weights = stack_weights([member.weights for member in self.members], dtype)
        self.weighting: Weighting = Fixed(self.weights)
        self.augmentation = Augmentation.of([spec.augment for spec in specs], dtype)
        self.smoothing = _column([spec.label_smoothing for spec in specs], dtype)
        self._warmup = _column([spec.warmup_epochs for spec in specs], dtype) * (
            self.steps_per_epoch
        )
        self._dropout = {
            "inputs": _chance([model.dropout_input for model in models], dtype),
            "trunk": _chance([model.dropout for model in models], dtype),
            "head": _chance([model.dropout_head for model in models], dtype),
        }

    @property
    def model(self) -> MultiTaskModel:
        """The network of all members."""
        return self.state.model

    def keep(self, index: Tensor) -> None:
        """Goes on with the members at `index` only."""
        self.members = [self.members[int(position)] for position in index]
        self.state.keep(index)
        self.optimizer.keep(index)
        self.weighting.keep(index)
        self.rates = self.rates.keep(index)
        self.weights = self.weights[index]
        self.augmentation = self.augmentation.keep(index)
        self.smoothing = self.smoothing[index]
        self._warmup = self._warmup[index]
        self._dropout = {
            site: None if chance is None else chance[index]
            for site, chance in self._dropout.items()
        }
        if self.first_losses is not None:
            self.first_losses = self.first_losses[index]

    def train_epoch(self, epoch: int) -> Tensor:
        """Trains one pass over the rows.

        Args:
            epoch: From 1.

        Returns:
            (K, T) mean train loss of each task over its labelled rows.
        """
        self.model.train()
        self.streams.start(epoch)
        order = (
            torch.arange(self.rows.n_rows)
            if self.optimizer.full_batch
            else self.streams.permutation("order", self.rows.n_rows)
        )
        sums = torch.zeros_like(self.weights)
        counts = torch.zeros(self.weights.shape[1], dtype=sums.dtype)
        for index, rows in enumerate(torch.split(order, self.batch_size)):
            losses, labelled = self._step((epoch - 1) * self.steps_per_epoch + index, rows)
            sums += losses * labelled
            counts += labelled
        return sums / counts.clamp_min(1)

    def _step(self, step: int, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Trains on one batch; returns (K, T) losses and the (T,) labelled rows behind them."""
        numeric, codes, targets = self.rows.gather(rows)
        numeric = perturb(numeric, self.augmentation, self.streams, self._n_numbers)
        codes = hide_codes(codes, self.augmentation, self.streams)
        features = self.model.encode(numeric, codes)
        mixing = draw_mixing(self.augmentation, len(rows), self.streams)
        if mixing is not None:
            features = mixing.mix(features)
        outputs = self.model.decide(features, DropoutRates(self.streams, **self._dropout))
        losses, labelled = self._losses(outputs, targets, mixing)
        detached = losses.detach()
        if self.first_losses is None:
            self.first_losses = detached
        weights = self.weighting.weigh(detached)
        (weights * losses).sum().backward()  # type: ignore[no-untyped-call]
        rising, progress = progress_after_warmup(step, self._n_steps, self._warmup)
        lr = self.rates.lr * rising * self._schedule(progress)
        self.optimizer.step(
            self.state.parameters, self.state.collect_gradient(), self.rates, lr,
            self._lengths, self._active(labelled),
        )  # fmt: skip
        return detached, labelled

    def _losses(
        self, outputs: Mapping[str, Tensor], targets: Sequence[Tensor], mixing: Mixing | None
    ) -> tuple[Tensor, Tensor]:
        columns, labelled = [], []
        for kind, target, complete in zip(self.kinds, targets, self.rows.complete, strict=True):
            output = outputs[kind.info.name]
            loss, count = _mean_loss(kind, output, target, self.smoothing, complete)
            if mixing is not None:
                other, _ = _mean_loss(kind, output, target[mixing.other], self.smoothing, complete)
                loss = torch.lerp(other, loss, mixing.share[:, 0, 0])
            columns.append(loss)
            labelled.append(count)
        return torch.stack(columns, dim=1), torch.tensor(labelled, dtype=self.weights.dtype)

    def _active(self, labelled: Tensor) -> Tensor | None:
        """Returns the (K, S) segments that this step moves; None where all do."""
        active = (self.weights > 0) & (labelled > 0)  # (K, T)
        if bool(active.all()):
            return None
        any_task = active.any(1)
        columns = [any_task if owner is None else active[:, owner] for owner in self._owners]
        return torch.stack(columns, dim=1)


def _mean_loss(
    kind: Kind, output: Tensor, target: Tensor, smoothing: Tensor, complete: bool
) -> tuple[Tensor, int]:
    """Returns the (K,) mean over labelled rows, 0 where there is none, and their number."""
    rows = kind.row_loss(output, target, smoothing)  # (K, B)
    weight = kind.row_weight(target)
    if complete:
        total = rows.sum(1)
        return total / (len(target) if weight is None else weight.sum()), len(target)
    missing = target.isnan() if target.dim() == 1 else target.isnan().any(1)
    present = (~missing).to(rows.dtype)  # (B,)
    count = int(present.sum())
    if count == 0:
        return rows.sum(1) * 0, 0
    weights = present if weight is None else weight * present
    return (rows * present).sum(1) / weights.sum(), count


def _column(values: Sequence[float], dtype: torch.dtype) -> Tensor:
    return torch.tensor(list(values), dtype=dtype).unsqueeze(1)


def _chance(values: Sequence[float], dtype: torch.dtype) -> Tensor | None:
    return torch.tensor(list(values), dtype=dtype).reshape(-1, 1, 1) if any(values) else None
