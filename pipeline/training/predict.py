"""Head outputs of members for whole parts of the data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.data.prepared import Part
from pipeline.models.build import Architecture, MultiTaskModel, load_member

CHUNK_NUMBERS = 2**20
"""Activations of one layer at once: larger chunks of many members fall out of the cache."""


def predict_part(model: MultiTaskModel, part: Part) -> dict[str, NDArray[np.float32]]:
    """Returns each task's head outputs for all rows of a part, (K, N, outputs)."""
    was_training = model.training
    model.eval()
    chunks: list[dict[str, NDArray[np.float32]]] = []
    first = next(model.parameters())
    size = chunk_rows(model)
    with torch.inference_mode():
        for low in range(0, max(len(part), 1), size):
            numeric = torch.from_numpy(part.numeric[low : low + size]).to(first)
            codes = torch.from_numpy(part.codes[low : low + size]).to(first.device)
            chunks.append({t: o.cpu().numpy() for t, o in model(numeric, codes).items()})
    model.train(was_training)
    return {task: np.concatenate([chunk[task] for chunk in chunks], axis=1) for task in chunks[0]}


def chunk_rows(model: MultiTaskModel) -> int:
    """Returns how many rows to answer at once."""
    shape = model.architecture
    trunk = model.sharing.n_branches * max(shape.n_features, *shape.layers, 1)
    widest = max(trunk, *shape.head_layers, 1)
    return max(32, CHUNK_NUMBERS // (model.n_members * widest))


def predict_member(
    architecture: Architecture, parameters: Mapping[str, NDArray[Any]], part: Part
) -> dict[str, NDArray[np.float32]]:
    """Returns one member's head outputs for all rows of a part, (N, outputs)."""
    outputs = predict_part(load_member(architecture, parameters), part)
    return {task: values[0] for task, values in outputs.items()}
