"""Linear models of term weights, one a task: what they say is an input of that task's head."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.text.ragged import Ragged


@dataclass(frozen=True)
class LinearTerms:
    """A weight for each term and output of the tasks' heads; see `linear_fitting`.

    Attributes:
        tasks: Task to its outputs, in the order of the columns.
        weight: (V, W) float16: they are much of what a served model weighs.
        bias: (W,).
    """

    tasks: Mapping[str, int]
    weight: NDArray[np.float16]
    bias: NDArray[np.float32]

    @property
    def width(self) -> int:
        """W."""
        return len(self.bias)

    @cached_property
    def _wide(self) -> NDArray[np.float32]:
        return self.weight.astype(np.float32)

    def say(self, rows: Ragged) -> NDArray[np.float32]:
        """Returns the (N, W) decision values of sparse rows.

        By torch: this module travels with every model, and scipy only with those that read terms.
        `mtl check` reads this module too, and needs no torch.
        """
        import torch
        from torch.nn.functional import embedding_bag

        if not len(rows):  # nothing was weighed
            return np.zeros((0, self.width), np.float32)
        assert rows.values is not None  # terms have weights
        found = embedding_bag(
            torch.as_tensor(rows.items.astype(np.int64)),
            torch.as_tensor(self._wide),
            torch.as_tensor(rows.starts[:-1].astype(np.int64)),
            per_sample_weights=torch.as_tensor(rows.values.astype(np.float32)),
            mode="sum",
        )
        said: NDArray[np.float32] = found.numpy() + self.bias
        return said

    def to_json(self) -> Mapping[str, Any]:
        """Returns the tasks."""
        return {"tasks": dict(self.tasks)}

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Returns what `from_json` takes beside the tasks."""
        return {"weight": self.weight, "bias": self.bias}

    @classmethod
    def from_json(
        cls, values: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]
    ) -> LinearTerms:
        """Rebuilds what `to_json` and `arrays` gave."""
        return cls(dict(values["tasks"]), arrays["weight"], arrays["bias"])
