"""The prepared arrays as tensors where members train: on a GPU they are put there once a study."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.data.prepared import Part, Prepared
from pipeline.models.texts import TextRows
from pipeline.text.ragged import Ragged
from pipeline.training.devices import CPU, free_bytes

DATA_SHARE = 0.5
"""Most of a device's free memory that the arrays of one part may take: what does not fit stays in
the computer's memory, and travels block by block in every epoch."""


@dataclass(frozen=True)
class PlacedPart:
    """One part of the data as tensors; see `Part`.

    Attributes:
        numeric: (N, D) float32.
        codes: (N, C) int32.
        targets: Task name to (N,) or (N, L) float32.
        sources: As in `Part`.
        device: Where members train. Texts are always there.
    """

    numeric: Tensor
    codes: Tensor
    targets: Mapping[str, Tensor]
    sources: NDArray[np.int32] | None
    device: torch.device
    _texts: Mapping[str, Ragged] = field(repr=False)
    _taken: dict[object, TextRows] = field(default_factory=dict, repr=False)

    def text_rows(self, names: Collection[str], dtype: torch.dtype) -> TextRows:
        """Returns the texts of the rows, put on the device when they are first asked for."""
        key = (tuple(names), dtype)
        if key not in self._taken:
            self._taken[key] = TextRows(self._texts, names, dtype, self.device)
        return self._taken[key]

    def __len__(self) -> int:
        return int(self.numeric.shape[0])


class Placed:
    """Prepared data on a device, each part put there when it is first asked for.

    Args:
        prepared: The data.
        device: Where members train.
        bf16: Whether members that ask for products of bf16 get them: see `driver.precision`.
    """

    def __init__(self, prepared: Prepared, device: torch.device = CPU, bf16: bool = False) -> None:
        self.prepared = prepared
        self.device = device
        self.bf16 = bf16
        self._parts: dict[str, PlacedPart] = {}

    def put_there(self) -> None:
        """Puts there what training reads."""
        for name in ("train", "valid"):
            self.part(name)

    def part(self, name: str) -> PlacedPart:
        """Returns a part, on the device where it fits, else in the computer's memory."""
        if name not in self._parts:
            self._parts[name] = _place(self.prepared.parts[name], self.device)
        return self._parts[name]


def _place(part: Part, device: torch.device) -> PlacedPart:
    n_bytes = sum(array.nbytes for array in (part.numeric, part.codes, *part.targets.values()))
    home = device if n_bytes <= DATA_SHARE * free_bytes(device) else CPU
    return PlacedPart(
        torch.from_numpy(part.numeric).to(home),
        torch.from_numpy(part.codes).to(home),
        {task: torch.from_numpy(target).to(home) for task, target in part.targets.items()},
        part.sources,
        device,
        part.texts,
    )
