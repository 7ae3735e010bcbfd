"""Head outputs of members for whole parts of the data."""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.data.prepared import Part
from pipeline.data.text_encoding import Progress
from pipeline.models.architecture import Architecture
from pipeline.models.build import load_member
from pipeline.models.network import MultiTaskModel
from pipeline.models.texts import TextRows
from pipeline.training.devices import CPU
from pipeline.training.placement import PlacedPart

CHUNK_NUMBERS = 2**18
"""Activations of one layer at once: larger chunks of many members fall out of the cache."""

GPU_CHUNK_NUMBERS = 2**25
"""The same on a GPU, which is idle between small chunks: 128 MB a layer."""

WRITTEN_ROWS = 256
"""Rows after which it is told how far writing is."""

TEXT_ROWS = 1024
"""Documents whose tokens are put side by side at once."""

STATE_ROWS = 64
"""The same where tokens bring states: 25 MB, of 256 tokens of 384 numbers."""


def predict_part(
    model: MultiTaskModel,
    part: Part | PlacedPart,
    progress: Progress | None = None,
    tasks: Container[str] | None = None,
) -> dict[str, NDArray[np.float32]]:
    """Returns each task's head outputs for all rows of a part, (K, N, outputs).

    Computed where the model is, and brought to the computer's memory at the end.

    Args:
        model: Of K members.
        part: The rows.
        progress: Told how many rows are answered: writing takes seconds for a hundred.
        tasks: Those whose texts are wanted, by default all: of another task that writes nothing
            is written. Nor is it for rows without a reference, which no score needs.
    """
    was_training = model.training
    model.eval()
    chunks: list[dict[str, Tensor]] = []
    first = next(model.parameters())
    size = chunk_rows(model, first.device)
    names = model.architecture.texts
    texts = (
        part.text_rows(names, first.dtype)
        if isinstance(part, PlacedPart)
        else TextRows(part.texts, names, first.dtype, first.device)
    )
    with torch.inference_mode():
        for low in range(0, max(len(part), 1), size):
            rows = slice(low, low + size)
            numeric = _tensor(part.numeric[rows]).to(first)
            codes = _tensor(part.codes[rows]).to(first.device)
            own = torch.arange(low, low + len(numeric), device=first.device)
            chunks.append(model(numeric, codes, texts=texts.take(own)))
            if progress is not None:
                progress("Answering, rows", min(low + size, len(part)), len(part))
        outputs = {task: torch.cat([chunk[task] for chunk in chunks], dim=1) for task in chunks[0]}
        for task in model.architecture.generators:
            wanted = tasks is None or task in tasks
            outputs[task] = _written(model, part, texts, task, outputs[task], wanted, progress)
    model.train(was_training)
    return {task: found.cpu().numpy() for task, found in outputs.items()}


def _written(
    model: MultiTaskModel,
    part: Part | PlacedPart,
    texts: TextRows,
    task: str,
    opening: Tensor,
    wanted: bool,
    progress: Progress | None,
) -> Tensor:
    """Returns the (K, N, T) words that a task writes, 0 for a row without a reference."""
    shape = model.architecture.generators[task]
    target = _tensor(part.targets[task])
    rows = (~target[:, 0].isnan() & wanted).nonzero().squeeze(1)
    written = opening.new_zeros(len(opening), len(target), shape["write"])
    size = STATE_ROWS if model.architecture.reads_states else WRITTEN_ROWS
    for own in torch.split(rows, size) if len(rows) else ():
        source = words_of(target[own].to(opening.device), shape)[0]
        own = own.to(opening.device)
        source = model.read_by(task, source, texts.take(own))
        written[:, own] = model.write(task, opening[:, own], source)
        if progress is not None:
            progress(f"Writing {task}, rows", int(own[-1]) + 1, len(target))
    return written


def words_of(target: Tensor, shape: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
    """Returns the (B, S) words that a decoder reads, and the (B, T) that it is to write.

    Args:
        target: (B, 1 + T + S) of an abstractive task; a row without a label has no words.
        shape: Of the decoder.
    """
    numbers = target.nan_to_num().to(torch.int64)
    return numbers[:, 1 + shape["write"] :], numbers[:, 1 : 1 + shape["write"]]


def _tensor(rows: NDArray[Any] | Tensor) -> Tensor:
    return rows if isinstance(rows, Tensor) else torch.from_numpy(rows)


def chunk_rows(model: MultiTaskModel, device: torch.device = CPU) -> int:
    """Returns how many rows to answer at once."""
    shape = model.architecture
    trunk = model.sharing.n_branches * max(shape.n_features, *shape.layers, 1)
    widest = max(trunk, *shape.head_layers, 1)
    numbers = CHUNK_NUMBERS if device.type == "cpu" else GPU_CHUNK_NUMBERS
    most = TEXT_ROWS if shape.texts else numbers
    most = STATE_ROWS if shape.reads_states else most
    return max(32, min(most, numbers // (model.n_members * widest)))


def predict_member(
    architecture: Architecture,
    parameters: Mapping[str, NDArray[Any]],
    part: Part,
    progress: Progress | None = None,
    device: torch.device = CPU,
    tasks: Container[str] | None = None,
) -> dict[str, NDArray[np.float32]]:
    """Returns one member's head outputs for all rows of a part, (N, outputs).

    Arguments as for `predict_part`.
    """
    model = load_member(architecture, parameters).to(device)
    outputs = predict_part(model, part, progress, tasks)
    return {task: values[0] for task, values in outputs.items()}
