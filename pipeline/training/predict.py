"""Head outputs of members for whole parts of the data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.data.prepared import Part
from pipeline.data.text_encoding import Progress
from pipeline.models.build import Architecture, MultiTaskModel, load_member
from pipeline.models.texts import TextRows

CHUNK_NUMBERS = 2**18
"""Activations of one layer at once: larger chunks of many members fall out of the cache."""

TEXT_ROWS = 1024
"""Documents whose tokens are put side by side at once."""


def predict_part(
    model: MultiTaskModel, part: Part, progress: Progress | None = None
) -> dict[str, NDArray[np.float32]]:
    """Returns each task's head outputs for all rows of a part, (K, N, outputs).

    Args:
        model: Of K members.
        part: The rows.
        progress: Told how many rows are answered: writing takes seconds for a hundred.
    """
    was_training = model.training
    model.eval()
    chunks: list[dict[str, NDArray[np.float32]]] = []
    first = next(model.parameters())
    size = chunk_rows(model)
    texts = TextRows(part.texts, model.architecture.texts, first.dtype, first.device)
    with torch.inference_mode():
        for low in range(0, max(len(part), 1), size):
            numeric = torch.from_numpy(part.numeric[low : low + size]).to(first)
            codes = torch.from_numpy(part.codes[low : low + size]).to(first.device)
            words = {
                task: (words_of(_rows(part, task, low, size).to(first.device), shape)[0], None)
                for task, shape in model.architecture.generators.items()
            }
            rows = torch.arange(low, low + len(numeric), device=first.device)
            outputs = model(numeric, codes, words=words, texts=texts.take(rows))
            chunks.append({t: o.cpu().numpy() for t, o in outputs.items()})
            if progress is not None:
                progress("Answering, rows", min(low + size, len(part)), len(part))
    model.train(was_training)
    return {task: np.concatenate([chunk[task] for chunk in chunks], axis=1) for task in chunks[0]}


def words_of(target: Tensor, shape: Mapping[str, int]) -> tuple[Tensor, Tensor]:
    """Returns the (B, S) words that a decoder reads, and the (B, T) that it is to write.

    Args:
        target: (B, 1 + T + S) of an abstractive task; a row without a label has no words.
        shape: Of the decoder.
    """
    numbers = target.nan_to_num().to(torch.int64)
    return numbers[:, 1 + shape["write"] :], numbers[:, 1 : 1 + shape["write"]]


def _rows(part: Part, task: str, low: int, size: int) -> Tensor:
    return torch.from_numpy(part.targets[task][low : low + size])


def chunk_rows(model: MultiTaskModel) -> int:
    """Returns how many rows to answer at once."""
    shape = model.architecture
    trunk = model.sharing.n_branches * max(shape.n_features, *shape.layers, 1)
    writing = [one["beam"] * one["vocabulary"] for one in shape.generators.values()]
    widest = max(trunk, *shape.head_layers, *writing, 1)
    most = TEXT_ROWS if shape.texts else CHUNK_NUMBERS
    return max(32, min(most, CHUNK_NUMBERS // (model.n_members * widest)))


def predict_member(
    architecture: Architecture,
    parameters: Mapping[str, NDArray[Any]],
    part: Part,
    progress: Progress | None = None,
) -> dict[str, NDArray[np.float32]]:
    """Returns one member's head outputs for all rows of a part, (N, outputs)."""
    outputs = predict_part(load_member(architecture, parameters), part, progress)
    return {task: values[0] for task, values in outputs.items()}
