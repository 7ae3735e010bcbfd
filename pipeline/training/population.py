"""K members of one structure, trained step by step as one array."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from pipeline.data.prepared import Prepared
from pipeline.errors import TrainingError
from pipeline.models.network import MultiTaskModel
from pipeline.study.catalogue import load
from pipeline.training.augmentation import Mixing, draw_mixing, hide_codes, perturb
from pipeline.training.backward import WeightSums, balanced_gradient
from pipeline.training.batch_pass import Backward, BatchPass, Forward
from pipeline.training.gradients import shared_gramian
from pipeline.training.losses import TaskLosses
from pipeline.training.members import Member, architecture_of, kinds_of, structure_of
from pipeline.training.optimizers import Optimizer
from pipeline.training.own_settings import OwnSettings
from pipeline.training.placement import Placed
from pipeline.training.plain import PlainPass, is_plain
from pipeline.training.rows import Batch, Rows
from pipeline.training.schedules import progress_after_warmup
from pipeline.training.state import FlatState
from pipeline.training.streams import Streams
from pipeline.training.text_augmentation import disturb
from pipeline.training.weighting.base import Step, Weighting


class Population:
    """Members that train together.

    Every member's own loss is summed, never averaged, over members: a mean would divide each
    gradient by K. A member in an array equals the same member alone to float tolerance.

    Members may leave and join between epochs: each counts its own epochs, on which its schedule
    depends; batch order and noise come from the array's epoch, common to all.

    Args:
        members: Of one structure.
        prepared: The data.
        dtype: Of parameters and inputs; float64 in tests against torch.optim.
        placed: The data where members train; by default on the CPU. Initial parameters and noise
            are the same everywhere.

    Attributes:
        own: What each member has of its own; made anew whenever members come or go.
        is_plain: Whether gradients are computed by `PlainPass` where a step allows it; else by
            autograd.
        is_fresh: Whether some member has not trained its first batch.

    Raises:
        TrainingError: The members do not share one structure.
    """

    def __init__(
        self,
        members: Sequence[Member],
        prepared: Prepared,
        dtype: torch.dtype = torch.float32,
        placed: Placed | None = None,
    ) -> None:
        first = members[0]
        placed = placed or Placed(prepared)
        device = placed.device
        self._dtype, self._device = dtype, device
        bf16 = placed.bf16 and first.train.precision == "bf16"
        self._structure = structure_of(first)
        self._check(members)
        self.members = list(members)
        self.kinds = kinds_of(first, prepared)
        self.state = FlatState(
            architecture_of(first, prepared), [member.seed for member in members], dtype, device
        )
        train = placed.part("train")
        targets = [train.targets[kind.info.name] for kind in self.kinds]
        self._losses = TaskLosses(self.kinds, targets, device)
        self.rows = Rows(
            train, self._losses.targets, dtype, device, first.train.exponent,
            self.state.architecture.texts,
        )  # fmt: skip
        self.streams = Streams(first.stream, dtype, device)
        self._n_numbers = len(prepared.encoder.numeric)
        self._segments, self._owners = self.state.segments()
        optimizer = load("optimizer", first.train.optimizer)
        self.optimizer: Optimizer = optimizer(
            len(members), self.state.n_parameters, len(self._owners), dtype, device
        )
        self.batch_size = (
            self.rows.n_rows
            if self.optimizer.full_batch
            else min(first.train.batch_size, self.rows.n_rows)
        )
        self.steps_per_epoch = -(-self.rows.n_rows // self.batch_size)
        self._n_steps = self.steps_per_epoch * first.train.epochs
        self._schedule = load("schedule", first.train.schedule)
        self.own = OwnSettings.of(self.members, self.state, self.streams)
        self._pass = BatchPass(self.state, self._losses, bf16)
        strategy = load("strategy", first.weighting.strategy)
        self.weighting: Weighting = strategy(
            [member.weighting for member in members], self.own.weights, self.streams
        )
        self._weighed = WeightSums(self.own.weights)
        self.is_plain = is_plain(self.model) and not self.weighting.reads_gramian and not bf16
        self._plain: PlainPass | None = None  # made at the first step of the present members
        self.epochs = torch.zeros(len(members), dtype=torch.int64, device=device)
        self.first_losses = torch.full_like(self.own.weights, float("nan"))
        self.is_fresh = True

    def _check(self, members: Sequence[Member]) -> None:
        if any(structure_of(member) != self._structure for member in members):
            raise TrainingError("The members of a population must share one structure.")

    @property
    def model(self) -> MultiTaskModel:
        """The network of all members."""
        return self.state.model

    def keep(self, index: Tensor) -> None:
        """Goes on with the members at `index` only."""
        self._plain = None
        self.members = [self.members[position] for position in index.tolist()]
        index = index.to(self._device)
        self.state.keep(index)
        self.optimizer.keep(index)
        self.weighting.keep(index)
        self.epochs = self.epochs[index]
        self.first_losses = self.first_losses[index]
        self.own = OwnSettings.of(self.members, self.state, self.streams)

    def add(self, members: Sequence[Member]) -> None:
        """Takes members on; they start from their own first epoch.

        Raises:
            TrainingError: They have another structure.
        """
        self._check(members)
        self._plain = None
        self.members += members
        self.state.add([member.seed for member in members])
        self.optimizer.add(len(members))
        self.own = OwnSettings.of(self.members, self.state, self.streams)
        fresh = self.own.weights[-len(members) :]
        self.weighting.add([member.weighting for member in members], fresh)
        self.epochs = torch.cat([self.epochs, self.epochs.new_zeros(len(members))])
        unknown = torch.full_like(fresh, float("nan"))
        self.first_losses = torch.cat([self.first_losses, unknown])
        self.is_fresh = True

    def train_epoch(self, epoch: int) -> Tensor:
        """Trains one pass over the rows.

        Args:
            epoch: Of the array, from 1: decides batch order and noise.

        Returns:
            (K, T) mean train loss of each task over its labelled rows.
        """
        sums = torch.zeros_like(self.own.weights)
        counts = torch.zeros_like(self.own.weights[0])
        self._weighed = WeightSums(self.own.weights)
        for losses, labelled, n_rows in self.steps_of_epoch(epoch):
            if labelled is None:
                sums.add_(losses, alpha=n_rows)
                counts += n_rows
            else:
                sums.addcmul_(losses, labelled)
                counts += labelled
        self.epochs += 1
        losses = sums / counts.clamp_min(1)
        self.weighting.end_epoch(losses.masked_fill(counts == 0, float("nan")))
        return losses

    def mean_weights(self) -> Tensor | None:
        """Returns the (K, T) mean weights of the last epoch's steps; None where none move."""
        return self._weighed.mean() if self.weighting.moves else None

    def gramian(self) -> Tensor:
        """Looks at the gradients of the tasks on one batch of train rows, the epoch's own.

        Returns:
            (K, T, T) inner products of the gradients with respect to what tasks share.
        """
        rows = self.rows.order.draw(self.streams, "diagnostics")[: self.batch_size]
        batch = next(self.rows.batches(rows, self.batch_size))
        return shared_gramian(
            self.state,
            lambda out: self._losses(out, batch.targets, None, None)[0],
            batch.numeric,
            batch.codes,
            self._pass.words(batch.targets, self.own),
            batch.texts,
        )

    def steps_of_epoch(self, epoch: int) -> Iterator[tuple[Tensor, Tensor | None, int]]:
        """Trains an epoch batch by batch; see `train_epoch`, which counts it.

        Yields:
            (K, T) losses of a batch, the (T,) labelled rows behind them (None where every row
            is), and the batch's rows.
        """
        self.model.train()
        self.streams.start(epoch)
        order = (
            torch.arange(self.rows.n_rows, device=self._device)
            if self.optimizer.full_batch
            else self.rows.order.draw(self.streams, "order")
        )
        batches = self.rows.batches(order, self.batch_size)
        whole = self._losses.labelled_batches(order, self.batch_size)
        for batch, lr, every in zip(batches, self._lr(), whole, strict=True):
            losses, labelled = self._step(batch, lr, every)
            yield losses, labelled, len(batch.numeric)

    def _lr(self) -> Tensor:
        """Returns the (steps, K, 1) learning rates of an epoch, by each member's own progress."""
        step = torch.arange(self.steps_per_epoch, device=self._device).reshape(-1, 1, 1)
        done = (self.epochs * self.steps_per_epoch).unsqueeze(1) + step
        warmup = self.own.warmup_epochs * self.steps_per_epoch
        rising, progress = progress_after_warmup(done.to(self._dtype), self._n_steps, warmup)
        lr: Tensor = self.own.rates.lr * rising * self._schedule(progress)
        return lr

    def _step(self, batch: Batch, lr: Tensor, every: bool) -> tuple[Tensor, Tensor | None]:
        """Trains on one batch; returns what `TaskLosses` does, without gradients.

        Args:
            batch: The rows.
            lr: (K, 1).
            every: Whether the batch has labels of every task.
        """
        batch, mixing = self._augmented(batch)
        position = self.streams.position() if self.weighting.looks_again else None
        if self.is_plain and mixing is None and batch.codes.dim() == 2:
            plain = self._plain = self._plain or PlainPass(self.state)
            forward, backward = self._pass.written_out(plain, batch, self.own)
        else:
            forward, backward = self._pass.by_autograd(batch, self.own, mixing)
        losses, labelled = forward()
        detached = losses.detach()
        self._note_first(detached)
        step = None
        if not self.weighting.moves:
            gradient = backward(self.own.weights, losses)
        else:
            step = Step(detached, self._trained(labelled), lr)
            gradient = self._weigh(losses, step, backward)
        rate = lr if self.own.lr_shares is None else lr * self.own.lr_shares
        active = None if every and self.own.all_weighted else self._active(labelled)
        self.optimizer.step(
            self.state.parameters, gradient, self.own.rates, rate, self._segments, active
        )
        if position is not None and step is not None:
            self.streams.rewind(position)
            self._look_again(forward, step)
        return detached, labelled

    def _augmented(self, batch: Batch) -> tuple[Batch, Mixing | None]:
        """Returns a batch as the members see it, and which of its rows are mixed."""
        rates, streams = self.own.augmentation, self.streams
        found = Batch(
            perturb(batch.numeric, rates, streams, self._n_numbers),
            hide_codes(batch.codes, rates, streams),
            batch.targets,
            disturb(batch.texts, rates, streams),
        )
        return found, draw_mixing(rates, len(batch.numeric), streams)

    def _weigh(self, losses: Tensor, step: Step, backward: Backward) -> Tensor:
        """Returns the (K, P) gradient as the members' strategy wants it."""
        if self.weighting.reads_gramian:
            weights, gradient = balanced_gradient(self.state, self.weighting, losses, step)
        else:
            weights = self.weighting.weigh(step)
            gradient = backward(weights, losses)
        self._weighed.add(weights, step.active)
        return gradient

    def _look_again(self, forward: Forward, step: Step) -> None:
        """Shows the strategy the losses of the same batch, dropped alike, after the step."""
        statistics = self.state.statistics()
        with torch.no_grad():
            losses, _ = forward()
        self.state.restore_statistics(statistics)
        self.weighting.look(replace(step, losses=losses))

    def _trained(self, labelled: Tensor | None) -> Tensor:
        """Returns the (K, T) tasks that this step trains."""
        trained = self.own.weights > 0
        return trained if labelled is None else trained & (labelled > 0)

    def _note_first(self, losses: Tensor) -> None:
        """Keeps the losses of each member's first batch."""
        if self.is_fresh:
            self.first_losses = torch.where(self.first_losses.isnan(), losses, self.first_losses)
            self.is_fresh = False

    def _active(self, labelled: Tensor | None) -> Tensor:
        """Returns the (K, S) segments that this step moves."""
        active = self._trained(labelled)
        any_task = active.any(1)
        columns = [any_task if owner is None else active[:, owner] for owner in self._owners]
        return torch.stack(columns, dim=1)
