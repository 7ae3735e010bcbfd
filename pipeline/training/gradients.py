"""The gradient of each task, and how those of two tasks lie to each other.

One backward pass a task serves all members: the loss of task t summed over members has, in the
rows of member k, the gradient of that member's loss alone. Strategies that balance gradients and
the diagnostics of a training are made of these.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from pipeline.models.network import Words
from pipeline.models.texts import NO_TEXTS, Texts
from pipeline.training.state import FlatState


def task_gradients(losses: Tensor, parameters: Sequence[Tensor], keep: bool = False) -> Tensor:
    """Returns the gradient of each task's loss: (K, T, P).

    Args:
        losses: (K, T), with their graph.
        parameters: Tensors (K, ...) that hold P numbers a member.
        keep: Leave the graph for a later pass.
    """
    n_members, n_tasks = losses.shape
    gradients = losses.new_zeros(n_members, n_tasks, sum(p[0].numel() for p in parameters))
    for task in range(n_tasks):
        found = torch.autograd.grad(
            losses[:, task].sum(), parameters, allow_unused=True,
            retain_graph=keep or task < n_tasks - 1,
        )  # fmt: skip
        at = 0
        for parameter, gradient in zip(parameters, found, strict=True):
            size = parameter[0].numel()
            if gradient is not None:
                gradients[:, task, at : at + size] = gradient.flatten(1)
            at += size
    return gradients


def shared_gramian(
    state: FlatState,
    losses_of: Callable[[Tensor], Tensor],
    numeric: Tensor,
    codes: Tensor,
    words: Words | None = None,
    texts: Texts = NO_TEXTS,
) -> Tensor:
    """Returns the Gramian of the tasks' gradients with respect to what they share, on one batch.

    Without dropout and augmentation, by the running statistics; leaves everything as it was.
    Holds K * T * (shared parameters) numbers for a moment.

    Args:
        state: The members' network.
        losses_of: From all heads' (K, W, B) outputs to (K, T) losses.
        numeric: (B, D).
        codes: (B, C).
        words: What tasks that write read and are to write.
        texts: Of the B rows.

    Returns:
        (K, T, T).
    """
    tensors, shared = state.sharing_tensors
    model, was_training = state.model, state.model.training
    model.eval()
    losses = losses_of(model.decide(model.encode(numeric, codes, texts), words=words))
    model.train(was_training)
    if not tensors:
        return losses.new_zeros(*losses.shape, losses.shape[1])
    gradients = task_gradients(losses, tensors)
    return gramian_of(gradients if bool(shared.all()) else gradients[:, :, shared])


def gramian_of(gradients: Tensor) -> Tensor:
    """Returns the (K, T, T) inner products of (K, T, P) gradients."""
    return torch.bmm(gradients, gradients.mT)


def cosines_of(gramian: Tensor) -> Tensor:
    """Returns the (K, T, T) cosines of the tasks' gradients; NaN where one of them is 0."""
    norms = norms_of(gramian)
    cosines: Tensor = gramian / (norms.unsqueeze(1) * norms.unsqueeze(2))
    return cosines.masked_fill(~cosines.isfinite(), float("nan")).clamp(-1, 1)


def norms_of(gramian: Tensor) -> Tensor:
    """Returns the (K, T) lengths of the tasks' gradients."""
    return gramian.diagonal(dim1=1, dim2=2).clamp_min(0).sqrt()
