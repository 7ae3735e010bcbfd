"""The learning rate of pretrained layers, beside that of all that is learned from nothing."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pipeline.models.features import PRETRAINED
from pipeline.training.members import Member
from pipeline.training.state import FlatState

_DECODER = 5e-5
"""The same of a pretrained decoder, all of which is trained."""

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
    rates = [(f"readers.{PRETRAINED}.", [encoder_lr(member) for member in members])]
    for index, shape in enumerate(state.model.architecture.generators.values()):
        if "path" in shape:
            own: list[float | None] = [member.train.encoder_lr or _DECODER for member in members]
            rates.append((f"generators.{index}.layers.", own))
    found = None
    for prefix, each in rates:
        known = [rate for rate in each if rate is not None]
        if known:
            shares = lr.new_tensor(known).unsqueeze(1) / lr
            before = torch.ones_like(shares) if found is None else found
            found = torch.where(state.columns(prefix), shares, before)
    return found
