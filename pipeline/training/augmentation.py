"""Augmentation of batches, for train batches only; each member has its own rates."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from scipy.stats import beta
from torch import Tensor

from pipeline.study.train_spec import AugmentSpec
from pipeline.training.devices import CPU
from pipeline.training.streams import Streams


@dataclass(frozen=True)
class Augmentation:
    """Rates of the members, (K, 1, 1); None where no member uses one.

    Attributes:
        noise: Standard deviation of Gaussian noise on standardised numbers.
        drop: Chance that a numeric input is hidden (set to its mean, 0).
        mixup: Parameter a of Beta(a, a); on the CPU, where shares are computed.
        word_dropout: Chance that a token of a text becomes unknown.
        swap: Chance that it changes places with a neighbour.
        deletion: Chance that it goes.
    """

    noise: Tensor | None
    drop: Tensor | None
    mixup: Tensor | None
    word_dropout: Tensor | None = None
    swap: Tensor | None = None
    deletion: Tensor | None = None

    @property
    def changes_texts(self) -> bool:
        """Whether some member changes the tokens of texts."""
        rates = (self.word_dropout, self.swap, self.deletion)
        return any(rate is not None for rate in rates)

    @classmethod
    def of(
        cls, specs: list[AugmentSpec], dtype: torch.dtype, device: torch.device | None = None
    ) -> Augmentation:
        """Stacks the members' rates."""

        def column(values: list[float], where: torch.device | None = device) -> Tensor | None:
            if not any(values):
                return None
            return torch.tensor(values, dtype=dtype, device=where).reshape(-1, 1, 1)

        return cls(
            **{
                one.name: column(
                    [getattr(spec, one.name) for spec in specs],
                    CPU if one.name == "mixup" else device,
                )
                for one in fields(cls)
            }
        )


def perturb(
    numeric: Tensor, augmentation: Augmentation, streams: Streams, n_numbers: int | None = None
) -> Tensor:
    """Adds noise to numbers and hides some.

    Args:
        numeric: (B, D), shared by the members.
        augmentation: The members' rates.
        streams: Shared noise.
        n_numbers: How many of the columns are numbers; those behind them are indicators of
            missing values and stay as they are. By default all are numbers.

    Returns:
        (K, B, D), or `numeric` itself where no member changes it.
    """
    if n_numbers is not None and n_numbers < numeric.shape[1]:
        numbers = perturb(numeric[:, :n_numbers], augmentation, streams)
        if numbers.dim() == 2:
            return numeric
        indicators = numeric[:, n_numbers:].expand(len(numbers), -1, -1)
        return torch.cat([numbers, indicators], dim=2)
    shape = tuple(numeric.shape)
    if augmentation.noise is not None:
        noise = streams.normal("augment.noise", shape)
        numeric = numeric + augmentation.noise * noise
    if augmentation.drop is not None:
        uniform = streams.uniform("augment.drop", shape)
        numeric = numeric * (uniform >= augmentation.drop)
    return numeric


def hide_codes(codes: Tensor, augmentation: Augmentation, streams: Streams) -> Tensor:
    """Hides categories of some rows: their code becomes 1, "missing".

    Args:
        codes: (B, C), shared by the members.
        augmentation: The members' rates.
        streams: Shared noise.

    Returns:
        (K, B, C), or `codes` itself where no member hides any.
    """
    if augmentation.drop is None or not codes.shape[1]:
        return codes
    uniform = streams.uniform("augment.drop.codes", tuple(codes.shape))
    return torch.where(uniform >= augmentation.drop, codes, torch.ones_like(codes))


@dataclass(frozen=True)
class Mixing:
    """A step of mixup: row i of member k is share[k] * row i + (1 - share[k]) * row other[i].

    Attributes:
        share: (K, 1, 1).
        other: (B,) partner of each row.
    """

    share: Tensor
    other: Tensor

    def mix(self, features: Tensor) -> Tensor:
        """Mixes (K, B, F) encoded inputs."""
        return torch.lerp(features[:, self.other], features, self.share)


def draw_mixing(augmentation: Augmentation, n_rows: int, streams: Streams) -> Mixing | None:
    """Draws partners and each member's share from Beta(a, a) by one shared uniform number."""
    if augmentation.mixup is None:
        return None
    uniform = streams.number("augment.mixup")
    alpha = augmentation.mixup
    shape = alpha.clamp_min(1e-3).numpy()
    share = torch.from_numpy(beta.ppf(uniform, shape, shape)).to(alpha)
    shares = torch.where(alpha > 0, share, torch.ones_like(alpha)).to(streams.device)
    return Mixing(shares, streams.permutation("augment.mixup.rows", n_rows))
