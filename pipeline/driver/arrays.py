"""The arrays that run on a backend, and how often each is run again where it breaks."""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence

from pipeline.driver.backend import ArrayFailed, ArrayLost, Backend
from pipeline.training.members import Member, Trained

PATIENCE = 6
"""What an array may cost before its members are tried alone: an error costs 3, a lost worker 1."""

PATIENCE_ALONE = 3
"""Likewise for a member alone, before it has failed."""


class Arrays:
    """Arrays that were submitted and have not ended.

    Args:
        backend: Where they run.
        pauses: Epochs after which they wait for an answer; by default after each.
    """

    def __init__(self, backend: Backend, pauses: Container[int] | None = None) -> None:
        self._pauses = pauses
        self.members: dict[int, list[Member]] = {}
        self._backend = backend
        self._patience: dict[int, int] = {}
        self._alone: set[int] = set()
        self._next = 0

    def submit(
        self, groups: Iterable[Sequence[Member]], patience: int = PATIENCE, alone: bool = False
    ) -> None:
        """Runs each group of members as an array of its own."""
        fresh = {array: list(group) for array, group in enumerate(groups, self._next)}
        self._next += len(fresh)
        self.members.update(fresh)
        self._patience.update(dict.fromkeys(fresh, patience))
        if alone:
            self._alone.update(fresh)
        self._backend.submit(fresh, self._pauses)

    def is_sound(self, array: int) -> bool:
        """Whether an array has run so far without being run again."""
        return self._patience[array] == PATIENCE

    def end(self, array: int) -> None:
        """Forgets an array that has ended."""
        del self.members[array]

    def again(self, event: ArrayFailed | ArrayLost) -> list[Trained]:
        """Runs an array again, in the end each member alone to find the one at fault.

        Returns:
            The members that have failed for good.
        """
        members = self.members.pop(event.array)
        cost = 3 if isinstance(event, ArrayFailed) else 1
        patience = self._patience.pop(event.array) - cost
        if patience > 0:
            self.submit([members], patience, alone=event.array in self._alone)
        elif event.array not in self._alone:
            self.submit([[member] for member in members], PATIENCE_ALONE, alone=True)
        else:
            reason = event.traceback if isinstance(event, ArrayFailed) else event.reason
            return [_failed(member, reason) for member in members]
        return []


def _failed(member: Member, reason: str) -> Trained:
    return Trained(
        number=member.number, state="failed", reason=reason, epochs=0, best_epoch=0, score=None,
        evaluation=None, parameters={}, tasks=(), n_parameters=0, seconds=0.0,
    )  # fmt: skip
