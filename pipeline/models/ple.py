"""Progressive layered extraction, and its one-level form (Tang et al., RecSys 2020)."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from pipeline.models.experts import mixed
from pipeline.models.layers import Linear
from pipeline.models.sharing import SHARED, Sharing, by_task
from pipeline.models.trunk import MLP, Rates

if TYPE_CHECKING:
    from pipeline.models.architecture import Architecture


class Extraction(nn.Module):
    """One level: experts of each task, experts of all, and the gates that mix them.

    Args:
        architecture: Of the whole network.
        n_members: K.
        widths: Of the input and of each layer of an expert.
        dtype: Of the parameters.
        last: Whether heads read this level; it then needs no gate for all.
    """

    def __init__(
        self, architecture: Architecture, n_members: int, widths: tuple[int, ...],
        dtype: torch.dtype, last: bool,
    ) -> None:  # fmt: skip
        super().__init__()
        self.n_tasks = len(architecture.heads)
        self.n_own = int(architecture.options["task_experts"])
        self.n_common = int(architecture.options["shared_experts"])
        self.n_experts = self.n_tasks * self.n_own + self.n_common
        self.experts = MLP(
            n_members, widths, architecture.activation, architecture.norm, dtype, self.n_experts
        )
        reach = self.n_own + self.n_common
        self.gates = Linear(n_members, widths[0], reach, dtype, self.n_tasks)
        self.common_gate = None if last else Linear(n_members, widths[0], self.n_experts, dtype, 1)

    def forward(
        self, own: Tensor, common: Tensor, rates: Rates | None, site: str
    ) -> tuple[Tensor, Tensor]:
        """Maps what tasks read and what all read to the same of the next level.

        Args:
            own: (K, T, B, in); (K, 1, B, in) at the first level, which has one input.
            common: (K, 1, B, in).
            rates: Dropout; None when answering.
            site: Names the level's noise.

        Returns:
            (K, T, B, W) for the tasks and (K, 1, B, W) for all, which a last level leaves as is.
        """
        chance, noise = (rates.trunk, rates.noise) if rates else (None, None)
        experts = self.experts(self._expert_inputs(own, common), chance, noise, site)
        of_tasks, of_all = experts.split([self.n_tasks * self.n_own, self.n_common], dim=1)
        shares = self.gates(own).softmax(-1)  # (K, T, B, own + common)
        for_own, for_common = shares.split([self.n_own, self.n_common], dim=-1)
        each = of_tasks.unflatten(1, (self.n_tasks, self.n_own))
        read = mixed(for_own, each) + mixed(for_common, of_all)
        if self.common_gate is not None:
            common = mixed(self.common_gate(common).softmax(-1), experts)
        return read, common

    def _expert_inputs(self, own: Tensor, common: Tensor) -> Tensor:
        """Returns what each expert reads, (K, G, B, in); (K, 1, B, in) where all read the same."""
        if own is common:
            return common
        each = own.repeat_interleave(self.n_own, dim=1)
        return torch.cat([each, common.expand(-1, self.n_common, -1, -1)], dim=1)

    def expert_owners(self) -> Tensor:
        """Returns the task of each task's experts, `SHARED` for the others."""
        common = torch.full((self.n_common, 1, 1), SHARED)
        return torch.cat([by_task(self.n_tasks, self.n_own), common])


class PLE(Sharing):
    """Levels of experts, some of a task and some of all, mixed by gates.

    At each level task t reads sum_g softmax(W_t x_t + b_t)[g] h_g(.) over its own `task_experts`
    and the `shared_experts`, where x_t is what it read of the level below; the experts of a task
    work on x_t, those of all on x_s, which a gate of its own mixes from every expert of the level
    below. The first level has x_t = x_s = x. The paper's gates have no b_t.

    `layers` is cut into `levels` runs, one for the experts of each level, so that a network is
    as deep as with any other sharing.

    What a task owns: its gates and experts of the last level, and its gate of the level below.
    Experts of lower levels are read by the gate of all, so every task's loss reaches them.
    """

    def __init__(
        self, architecture: Architecture, n_members: int, n_features: int, dtype: torch.dtype
    ) -> None:
        super().__init__(architecture, n_members, n_features, dtype)
        layers, n_levels = architecture.layers, self._n_levels(architecture)
        bounds = [len(layers) * level // n_levels for level in range(n_levels + 1)]
        widths = (n_features, *layers)
        self.levels = nn.ModuleList(
            Extraction(
                architecture, n_members, widths[low : high + 1], dtype, last=high == len(layers)
            )
            for low, high in pairwise(bounds)
        )
        self.n_branches = self._level(0).n_experts
        self.width = layers[-1]

    @staticmethod
    def _n_levels(architecture: Architecture) -> int:
        return int(architecture.options["levels"])

    def _level(self, index: int) -> Extraction:
        level: Extraction = self.levels[index]  # type: ignore[assignment]
        return level

    def forward(self, features: Tensor, rates: Rates | None) -> list[Tensor]:
        """Maps (K, B, F) to each task's mixture of the last level."""
        own = common = features.unsqueeze(1)
        for index, level in enumerate(self.levels):
            own, common = level(own, common, rates, f"experts.{index}")
        return list(own.unbind(1))

    def owners(self, name: str) -> Tensor:
        """Returns the tasks of what only one loss reaches; see the class."""
        _, number, part, *_ = name.split(".")
        level, above = self._level(int(number)), len(self.levels) - 1 - int(number)
        if part == "gates" and above <= 1:
            return by_task(level.n_tasks)
        if part == "experts" and above == 0:
            return level.expert_owners()
        return torch.tensor(SHARED)


class CGC(PLE):
    """Customised gate control: `ple` of one level."""

    @staticmethod
    def _n_levels(architecture: Architecture) -> int:
        return 1
