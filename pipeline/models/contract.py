"""What a sharing of the user's own must offer, tried out on made-up inputs when it is named."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.models.architecture import Architecture
from pipeline.models.build import initialise, member_tensors
from pipeline.models.network import MultiTaskModel
from pipeline.models.sharing import Sharing
from pipeline.study.model_spec import ModelSpec

_N_MEMBERS, _N_ROWS = 2, 3
_HEADS = {"first": 1, "second": 3}


def sharing_problem(found: Any, section: ModelSpec) -> str | None:
    """Returns why something cannot be a sharing; None where it can.

    A network of two members and two tasks is made of it, and answers three rows.

    Args:
        found: What the study names.
        section: The section `model`, with the options.
    """
    if not isinstance(found, type) or not issubclass(found, nn.Module):
        return "it must be a class of torch.nn.Module"
    if inspect.isabstract(found):
        missing: frozenset[str] = getattr(found, "__abstractmethods__", frozenset())
        return f"it leaves out {', '.join(sorted(missing))}"
    shape = Architecture(
        sharing=section.sharing,
        layers=tuple(section.layers) or (4,),
        activation=section.activation,
        norm=section.norm,
        head_layers=(),
        embedding=section.embedding,
        n_numeric=5,
        n_codes=(4,),
        heads=_HEADS,
        options=dict(section.options),
    )
    try:
        return _trial(shape, issubclass(found, Sharing))
    except Exception as error:
        return f"made and asked for {_N_ROWS} rows it raised {type(error).__name__}: {error}"


def _trial(shape: Architecture, member_first: bool) -> str | None:
    model = MultiTaskModel(shape, _N_MEMBERS, torch.float32)
    for name, tensor in member_tensors(model):
        if tensor.dim() == 0 or len(tensor) != _N_MEMBERS:
            return f"the first axis of {name} must be the members, but it is {tuple(tensor.shape)}"
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(float("nan"))
    initialise(model, [0, 1])
    for name, parameter in model.named_parameters():
        if not bool(torch.isfinite(parameter).all()):
            return f"no `initialise` of a MemberLayer draws {name}"
    numeric = torch.linspace(-1, 1, _N_ROWS * shape.n_numeric).reshape(_N_ROWS, -1)
    codes = torch.zeros(_N_ROWS, 1, dtype=torch.int32)
    if member_first:
        problem = _reads_problem(model, model.encode(numeric, codes))
        if problem is not None:
            return problem
    outputs = model(numeric, codes)
    for name, parameter in model.named_parameters():
        model.owners(name).broadcast_to(parameter.shape[1:])
    total = torch.stack([output.sum() for output in outputs.values()]).sum()
    total.backward()  # type: ignore[no-untyped-call]
    return None


def _reads_problem(model: MultiTaskModel, features: Tensor) -> str | None:
    """Looks at what a sharing gives to the heads."""
    sharing = model.sharing
    if sharing.own_inputs:
        features = model.layout.by_task(features)
    reads = sharing(features, None)
    n_reads = 1 if sharing.one_read else len(_HEADS)
    if not isinstance(reads, list) or len(reads) != n_reads:
        return (
            f"its forward must give a list of {n_reads}: one tensor a task, or with `one_read` one"
        )
    wanted = (_N_MEMBERS, _N_ROWS, sharing.width)
    for read in reads:
        if tuple(read.shape) != wanted:
            return f"its forward must give (members, rows, width) {wanted}, not {tuple(read.shape)}"
    return None
