"""What each member of a population has of its own, stacked so that all are used at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from pipeline.models.trunk import Rates as DropoutRates
from pipeline.training.augmentation import Augmentation
from pipeline.training.encoder_rates import lr_shares
from pipeline.training.members import Member
from pipeline.training.optimizers import Rates
from pipeline.training.state import FlatState
from pipeline.training.streams import Streams
from pipeline.training.weighting import stack_weights


@dataclass(frozen=True)
class OwnSettings:
    """Settings in which K members of one structure may differ.

    Attributes:
        weights: (K, T) loss weights, as the study gives them.
        rates: Of the optimizer.
        lr_shares: (K, P) what the learning rate of each parameter is multiplied by; None where no
            member trains pretrained layers.
        warmup_epochs: (K, 1).
        smoothing: (K, 1) label smoothing; None where no member smooths.
        dropout: Chances, with the noise of a training step.
        augmentation: Rates.
    """

    weights: Tensor
    rates: Rates
    lr_shares: Tensor | None
    warmup_epochs: Tensor
    smoothing: Tensor | None
    dropout: DropoutRates
    augmentation: Augmentation

    # Asked once: a step that asked would wait for the device.

    @cached_property
    def all_weighted(self) -> bool:
        """Whether every member trains every task."""
        return bool((self.weights > 0).all())

    @cached_property
    def is_learned(self) -> list[bool]:
        """Of each task, whether some member trains it."""
        found: list[bool] = (self.weights > 0).any(0).tolist()
        return found

    @classmethod
    def of(cls, members: Sequence[Member], state: FlatState, streams: Streams) -> OwnSettings:
        """Stacks the members' settings.

        Args:
            members: K.
            state: Theirs; its parameters say in which dtype and where settings are used.
            streams: The noise of dropout.
        """
        dtype, device = state.parameters.dtype, state.device
        specs = [member.train for member in members]
        models = [member.model for member in members]

        def column(values: Sequence[float]) -> Tensor:
            return torch.tensor(list(values), dtype=dtype, device=device).unsqueeze(1)

        def chance(values: Sequence[float]) -> Tensor | None:
            return column(values).unsqueeze(2) if any(values) else None

        rates = Rates.of(specs, dtype, device)
        smoothing = [spec.label_smoothing for spec in specs]
        return cls(
            weights=stack_weights([member.weights for member in members], dtype, device),
            rates=rates,
            lr_shares=lr_shares(members, state, rates.lr),
            warmup_epochs=column([spec.warmup_epochs for spec in specs]),
            smoothing=column(smoothing) if any(smoothing) else None,
            dropout=DropoutRates(
                streams,
                inputs=chance([model.dropout_input for model in models]),
                trunk=chance([model.dropout for model in models]),
                head=chance([model.dropout_head for model in models]),
                text=chance([model.encoder.dropout for model in models]),
            ),
            augmentation=Augmentation.of([spec.augment for spec in specs], dtype, device),
        )
