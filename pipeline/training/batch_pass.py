"""One batch through the network and back: by autograd, or written out where it is plain."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from pipeline.models.network import Words
from pipeline.training.augmentation import Mixing
from pipeline.training.backward import weighted_gradient
from pipeline.training.losses import TaskLosses
from pipeline.training.own_settings import OwnSettings
from pipeline.training.plain import PlainPass
from pipeline.training.predict import words_of
from pipeline.training.rows import Batch
from pipeline.training.state import FlatState

Forward = Callable[[], tuple[Tensor, Tensor | None]]
"""Returns the losses of the batch as `TaskLosses` does; asked again, of the present parameters."""

Backward = Callable[[Tensor, Tensor], Tensor]
"""Maps the (K, T) weights of the losses, and the losses, to the (K, P) gradient."""


@dataclass(frozen=True)
class BatchPass:
    """Makes both directions through the network of a population, for one batch.

    Attributes:
        state: The members' parameters.
        losses: Of their tasks.
        bf16: Whether autograd computes products in 16 bits.
    """

    state: FlatState
    losses: TaskLosses
    bf16: bool

    def by_autograd(
        self, batch: Batch, own: OwnSettings, mixing: Mixing | None
    ) -> tuple[Forward, Backward]:
        """Returns both directions with a graph, for every network and every kind of batch.

        Args:
            batch: Augmented.
            own: What members have of their own.
            mixing: Mixup of this step.
        """

        def forward() -> tuple[Tensor, Tensor | None]:
            model, device = self.state.model, self.state.device
            with torch.autocast(device.type, torch.bfloat16) if self.bf16 else nullcontext():
                features = model.encode(batch.numeric, batch.codes, batch.texts, own.dropout)
                if mixing is not None:
                    features = mixing.mix(features)
                outputs = model.decide(features, own.dropout, self.words(batch.targets, own))
            outputs = outputs.to(self.state.parameters.dtype)
            return self.losses(outputs, batch.targets, own.smoothing, mixing)

        return forward, partial(weighted_gradient, self.state)

    def written_out(
        self, plain: PlainPass, batch: Batch, own: OwnSettings
    ) -> tuple[Forward, Backward]:
        """Returns both directions through a plain network, without a graph.

        Args:
            plain: Of the present members.
            batch: Augmented; its categories are those of all members.
            own: What members have of their own.
        """
        slopes: list[Tensor] = []

        def forward() -> tuple[Tensor, Tensor | None]:
            with torch.no_grad():
                outputs = plain.outputs(batch.numeric, batch.codes, own.dropout)
                losses, labelled, found = self.losses.with_slopes(
                    outputs, batch.targets, own.smoothing
                )
            slopes[:] = [found]
            return losses, labelled

        def backward(weights: Tensor, losses: Tensor) -> Tensor:
            with torch.no_grad():
                return plain.gradient(slopes[0], weights)

        return forward, backward

    def words(self, targets: list[Tensor], own: OwnSettings) -> Words:
        """Returns what the tasks that write read and are to write, from a batch's targets.

        A decoder that no member trains has none.
        """
        architecture = self.state.architecture
        tasks = list(architecture.heads)
        return {
            task: words_of(self.losses.of_task(targets, tasks.index(task)), shape)
            for task, shape in architecture.generators.items()
            if own.is_learned[tasks.index(task)]
        }
