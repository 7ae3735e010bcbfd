"""The losses of all tasks and members of a step; tasks of one form are computed at once."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.tasks.base import Kind
from pipeline.training.augmentation import Mixing
from pipeline.training.slopes import row_slopes


@dataclass(frozen=True)
class _Group:
    """Tasks whose losses are one call: they have one `loss_key`.

    Attributes:
        kind: Of the first; the others' would compute the same.
        tasks: Their positions.
        columns: Of their outputs among those of all tasks.
        complete: No label is missing: no mask is needed.
    """

    kind: Kind
    tasks: tuple[int, ...]
    columns: slice | Tensor
    complete: bool


class TaskLosses:
    """Computes the mean loss of each task over the labelled rows of a batch.

    Args:
        kinds: The tasks.
        targets: (N,) or (N, L) targets of each task, NaN where missing.
        device: Where losses are computed; by default where the targets are.
    """

    def __init__(
        self,
        kinds: Sequence[Kind],
        targets: Sequence[Tensor],
        device: torch.device | None = None,
    ) -> None:
        device = targets[0].device if device is None else device
        members: dict[Hashable, list[int]] = {}
        present = [_present(target) for target in targets]
        complete = [bool(rows.all()) for rows in present]
        for position, kind in enumerate(kinds):
            key = kind.loss_key()
            alike = (
                complete[position],
                targets[position].shape[1:],
                position if key is None else (key,),
            )
            members.setdefault(alike, []).append(position)
        widths = [kind.width for kind in kinds]
        columns = torch.split(torch.arange(sum(widths), device=device), widths)
        self._groups = [
            _Group(
                kinds[tasks[0]],
                tuple(tasks),
                _as_slice(torch.cat([columns[task] for task in tasks])),
                complete[tasks[0]],
            )
            for tasks in members.values()
        ]
        stacked = [[targets[task] for task in group.tasks] for group in self._groups]
        self.targets = [torch.stack(found, dim=1) for found in stacked]  # (N, G) or (N, G, L)
        self.complete = all(group.complete for group in self._groups)
        self._present = None if self.complete else torch.stack(present, dim=1)
        order = [task for group in self._groups for task in group.tasks]
        back = [order.index(task) for task in range(len(kinds))]
        in_order = order == list(range(len(kinds)))
        self._back = None if in_order else torch.tensor(back, device=device)

    def of_task(self, targets: Sequence[Tensor], task: int) -> Tensor:
        """Returns the (B, ...) targets of one task among a batch's rows of `self.targets`."""
        for group, target in zip(self._groups, targets, strict=True):
            if task in group.tasks:
                return target[:, group.tasks.index(task)]
        raise IndexError(task)

    def labelled_batches(self, order: Tensor, batch_size: int) -> list[bool]:
        """Tells of each batch of rows in the order given whether it has labels of every task.

        Asked once an epoch: a step that asked would wait for the device.
        """
        n_batches = -(-len(order) // batch_size)
        if self._present is None:
            return [True] * n_batches
        present = self._present[order.to(self._present.device)]  # (N, T)
        whole = present.new_zeros(n_batches * batch_size, present.shape[1])
        whole[: len(order)] = present
        found: list[bool] = whole.reshape(n_batches, batch_size, -1).any(1).all(1).tolist()
        return found

    def __call__(
        self,
        outputs: Tensor,
        targets: Sequence[Tensor],
        smoothing: Tensor | None,
        mixing: Mixing | None,
    ) -> tuple[Tensor, Tensor | None]:
        """Computes the losses of a batch.

        Args:
            outputs: (K, W, B) head outputs of all tasks, task after task.
            targets: The batch's rows of `self.targets`.
            smoothing: (K, 1) label smoothing; None where no member smooths.
            mixing: Mixup of this step.

        Returns:
            (K, T) losses, 0 where no row is labelled, and the (T,) labelled rows behind them;
            None where every row is.
        """
        losses, counts = [], []
        for group, target in zip(self._groups, targets, strict=True):
            output = _of_group(group, outputs)
            by_task = target.movedim(0, 1)  # (G, B) or (G, B, L)
            loss, count = _mean_loss(group, output, by_task, smoothing)
            if mixing is not None:
                other, _ = _mean_loss(group, output, by_task[:, mixing.other], smoothing)
                loss = torch.lerp(other, loss, mixing.share[:, :, 0])
            losses.append(loss)
            counts.append(count)
        return self._in_order(losses, counts)

    def with_slopes(
        self, outputs: Tensor, targets: Sequence[Tensor], smoothing: Tensor | None
    ) -> tuple[Tensor, Tensor | None, Tensor]:
        """Computes the losses of a batch without a graph.

        Args:
            outputs: See `__call__`, as for the other arguments and the first two results.
            targets: Likewise.
            smoothing: Likewise.

        Returns:
            Losses, labelled rows, and the derivative of each output's own task's loss, (K, W, B).
        """
        found = [
            self._with_slopes(group, outputs, target, smoothing)
            for group, target in zip(self._groups, targets, strict=True)
        ]
        losses, labelled = self._in_order([one[0] for one in found], [one[1] for one in found])
        if len(found) == 1:
            return losses, labelled, found[0][2]
        slopes = torch.empty_like(outputs)
        for group, (_, _, own) in zip(self._groups, found, strict=True):
            slopes[:, group.columns] = own
        return losses, labelled, slopes

    def _with_slopes(
        self, group: _Group, outputs: Tensor, target: Tensor, smoothing: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Returns (K, G) losses, (G,) labelled rows and the (K, G * width, B) slopes of a group."""
        by_task = target.movedim(0, 1)
        rows, slopes = row_slopes(group.kind, _of_group(group, outputs), by_task, _share(smoothing))
        share, count = _row_shares(group, by_task, rows)
        if share is None:
            return rows.mean(-1), count, slopes.mT.div_(rows.shape[-1]).flatten(1, 2)
        return (rows * share).sum(-1), count, slopes.mT.mul_(share.unsqueeze(-2)).flatten(1, 2)

    def _in_order(self, losses: list[Tensor], counts: list[Tensor]) -> tuple[Tensor, Tensor | None]:
        """Puts the losses and the counts of the groups into the order of the tasks."""
        together = losses[0] if len(losses) == 1 else torch.cat(losses, dim=1)
        labelled = None if self.complete else torch.cat(counts)
        if self._back is None:
            return together, labelled
        return together[:, self._back], None if labelled is None else labelled[self._back]


def _present(target: Tensor, n_axes: int = 1) -> Tensor:
    """Tells which rows of targets have a label: (N,) or (N, L), or with axes before N."""
    missing = target.isnan()
    return ~(missing if target.dim() == n_axes else missing.any(-1))


def _as_slice(columns: Tensor) -> slice | Tensor:
    """Returns columns that stand side by side as a slice, which copies nothing."""
    low, high = int(columns[0]), int(columns[-1]) + 1
    return slice(low, high) if high - low == len(columns) else columns


def _of_group(group: _Group, outputs: Tensor) -> Tensor:
    """Returns the (K, G, B, width) outputs of a group's tasks, out of (K, W, B)."""
    own = outputs[:, group.columns]
    return own.reshape(len(own), len(group.tasks), group.kind.width, own.shape[2]).mT


def _share(smoothing: Tensor | None) -> Tensor | None:
    return None if smoothing is None else smoothing.unsqueeze(-1)  # (K, 1, 1)


def _mean_loss(
    group: _Group, output: Tensor, target: Tensor, smoothing: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Returns the (K, G) means over labelled rows, 0 where there is none, and their (G,) number."""
    rows = group.kind.row_loss(output, target, _share(smoothing))  # (K, G, B)
    share, count = _row_shares(group, target, rows)
    return rows.mean(-1) if share is None else (rows * share).sum(-1), count


def _row_shares(group: _Group, target: Tensor, rows: Tensor) -> tuple[Tensor | None, Tensor]:
    """Returns what a row's loss is multiplied by in the mean, and the (G,) labelled rows.

    (G, B), or (G, 1) where no label is missing; None there where classes have no weights: a plain
    mean.
    """
    weight = group.kind.row_weight(target)  # (G, B)
    if group.complete:
        count = rows.new_full((len(target),), target.shape[1])
        return None if weight is None else 1 / weight.sum(-1, keepdim=True), count
    present = _present(target, n_axes=2).to(rows.dtype)  # (G, B)
    count = present.sum(-1)
    weights = present if weight is None else weight * present
    total = torch.where(count > 0, weights.sum(-1), 1)
    return present / total.unsqueeze(-1), count
