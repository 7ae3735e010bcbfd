"""The learning rate of pretrained layers, beside that of all that is learned from nothing."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pipeline.training.members import Member
from pipeline.training.state import FlatState

PRETRAINED = "pretrained"
"""The encoder whose layers have a learning rate of their own."""

_DEFAULT = {"last_n": 5e-5, "full": 5e-5, "lora": 5e-4}
"""See `TrainSpec.encoder_lr`."""


def encoder_lr(member: Member) -> float | None:
    """Returns the rate of a member's pretrained layers; None where it trains none."""
    if not member.model.encoder.trains_pretrained:
        return None
    return member.train.encoder_lr or _DEFAULT[member.model.encoder.finetune]


def lr_shares(members: Sequence[Member], state: FlatState, lr: Tensor) -> Tensor | None:
    """Returns what the rate of each parameter is multiplied by, (K, P).

    None where no member trains pretrained layers; members of one structure all do, or none.

    Args:
        members: K.
        state: Theirs.
        lr: (K, 1) rates of the other parameters.
    """
    own = [rate for rate in map(encoder_lr, members) if rate is not None]
    if not own:
        return None
    shares = lr.new_tensor(own).unsqueeze(1) / lr
    return torch.where(state.columns(f"readers.{PRETRAINED}."), shares, torch.ones_like(shares))
