"""From an architecture to a network of members: made, drawn from seeds, or loaded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.models.architecture import Architecture
from pipeline.models.layers import MemberLayer
from pipeline.models.network import MultiTaskModel


def build(
    architecture: Architecture, n_members: int, dtype: torch.dtype = torch.float32
) -> MultiTaskModel:
    """Makes a network whose parameters are not yet set; see `initialise` and `load_member`."""
    return MultiTaskModel(architecture, n_members, dtype)


def initialise(model: MultiTaskModel, seeds: list[int]) -> None:
    """Draws each member's parameters from its own seed alone."""
    for member, seed in enumerate(seeds):
        generator = torch.Generator().manual_seed(seed)
        for module in model.modules():
            if isinstance(module, MemberLayer):
                module.initialise(member, generator)


def member_tensors(model: MultiTaskModel) -> Iterator[tuple[str, Tensor]]:
    """Yields what belongs to members: parameters and running statistics, each (K, ...)."""
    yield from model.named_parameters()
    for name, buffer in model.named_buffers():
        if name.rpartition(".")[2].startswith("running_"):
            yield name, buffer


def load_member(
    architecture: Architecture, parameters: Mapping[str, NDArray[Any]]
) -> MultiTaskModel:
    """Makes a network of one member; see `load_members`."""
    return load_members(architecture, [parameters])


def load_members(
    architecture: Architecture, members: Sequence[Mapping[str, NDArray[Any]]]
) -> MultiTaskModel:
    """Makes a network of members from their named parameters, ready to answer.

    Raises:
        ValueError: A parameter is missing, left over, or of another shape.
    """
    with torch.device("cpu"):  # whatever the caller's default device is
        model = build(architecture, len(members))
    expected = dict(member_tensors(model))
    with torch.no_grad():
        for member, parameters in enumerate(members):
            if set(expected) != set(parameters):
                odd = sorted(set(expected) ^ set(parameters))
                raise ValueError(f"The parameters do not fit the architecture: {', '.join(odd)}.")
            for name, tensor in expected.items():
                given = torch.from_numpy(np.array(parameters[name]))
                if given.shape != tensor.shape[1:]:
                    shapes = f"{tuple(given.shape)} and {tuple(tensor.shape[1:])}"
                    raise ValueError(f"The parameter {name} has another shape: {shapes}.")
                tensor[member] = given
    return model.eval()
