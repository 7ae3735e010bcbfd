"""The network and the loops that people write, out of torch.nn and torch.optim alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from pipeline.data.prepared import Part
from tests.benchmarks.workload import N_CLASSES, N_INPUTS, N_TASKS, Workload

Params = Mapping[str, Any]
EveryEpoch = Callable[[int, list[float], list[float]], None]
"""Takes the epoch from 1, the train loss and the valid accuracy of each task; may raise."""


class Network(nn.Module):
    """A shared trunk and a linear head for each task."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.trunk = nn.Sequential(
            nn.Linear(N_INPUTS, width), nn.ReLU(), nn.Dropout(dropout),
            nn.Linear(width, width), nn.ReLU(), nn.Dropout(dropout),
        )  # fmt: skip
        self.heads = nn.ModuleList(nn.Linear(width, N_CLASSES) for _ in range(N_TASKS))

    def forward(self, x: Tensor) -> list[Tensor]:
        shared = self.trunk(x)
        return [head(shared) for head in self.heads]


def tensors(part: Part) -> tuple[Tensor, Tensor]:
    """Returns (N, inputs) numbers and (N, T) labels."""
    labels = [torch.from_numpy(part.targets[f"t{t}"]).long() for t in range(N_TASKS)]
    return torch.from_numpy(part.numeric).clone(), torch.stack(labels, dim=1)


def weights_of(params: Params) -> list[float]:
    """Returns the tasks' weights, scaled to sum to their number; the first is the unit."""
    raw = [1.0, *(params[f"w{t}"] for t in range(1, N_TASKS))]
    return [weight * N_TASKS / sum(raw) for weight in raw]


def accuracies(network: Network, x: Tensor, y: Tensor, batch: int) -> list[float]:
    """Returns the accuracy of each task."""
    network.eval()
    right = torch.zeros(N_TASKS, device=x.device)
    with torch.inference_mode():
        for low in range(0, len(x), batch):
            outputs = network(x[low : low + batch])
            labels = y[low : low + batch]
            for task, output in enumerate(outputs):
                right[task] += (output.argmax(1) == labels[:, task]).sum()
    network.train()
    return (right / len(x)).tolist()


def train_with_loader(
    workload: Workload,
    parts: Mapping[str, Part],
    params: Params,
    combine: Callable[[Tensor], Tensor],
    every_epoch: EveryEpoch,
) -> float:
    """The loop of tutorials: a DataLoader, a loss a task, AdamW; returns the best mean accuracy."""
    x, y = tensors(parts["train"])
    loader = DataLoader(TensorDataset(x, y), batch_size=workload.batch, shuffle=True)
    valid = tensors(parts["valid"])
    network = Network(workload.width, params["dropout"])
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=params["lr"], weight_decay=params["weight_decay"]
    )
    best = 0.0
    for epoch in range(1, workload.epochs + 1):
        sums = [0.0] * N_TASKS
        for inputs, labels in loader:
            optimizer.zero_grad()
            outputs = network(inputs)
            losses = [F.cross_entropy(out, labels[:, t]) for t, out in enumerate(outputs)]
            combine(torch.stack(losses)).backward()
            optimizer.step()
            for task, loss in enumerate(losses):
                sums[task] += loss.item() * len(inputs)
        found = accuracies(network, *valid, workload.batch)
        best = max(best, sum(found) / N_TASKS)
        every_epoch(epoch, [total / len(x) for total in sums], found)
    return best


def train_plainly(
    workload: Workload, parts: Mapping[str, Part], params: Params, device: str = "cpu"
) -> float:
    """The best sequential loop that we can write: one gather an epoch, fused AdamW, no tracking.

    On a GPU the rows are there from the start, and nothing comes back before an epoch ends.
    """
    x, y = (part.to(device) for part in tensors(parts["train"]))
    valid = tuple(part.to(device) for part in tensors(parts["valid"]))
    network = Network(workload.width, params["dropout"]).to(device)
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=params["lr"], weight_decay=params["weight_decay"], fused=True
    )
    weights = weights_of(params)
    best = 0.0
    for _ in range(workload.epochs):
        order = torch.randperm(len(x), device=device)
        inputs, labels = x[order], y[order].T.contiguous()
        for low in range(0, len(x), workload.batch):
            high = low + workload.batch
            optimizer.zero_grad(set_to_none=True)
            outputs = network(inputs[low:high])
            total = sum(
                weight * F.cross_entropy(out, labels[t, low:high])
                for t, (out, weight) in enumerate(zip(outputs, weights, strict=True))
            )
            assert isinstance(total, Tensor)
            total.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        best = max(best, sum(accuracies(network, *valid, 512)) / N_TASKS)
    return best
