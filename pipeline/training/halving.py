"""Arrays that need more memory than the device has go on as halves."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from pipeline.errors import TrainingError
from pipeline.training.devices import TOO_LARGE, is_out_of_memory
from pipeline.training.loop import Answer, EpochEnd, Epochs
from pipeline.training.members import Member, Trained, structure_of

Start = Callable[[Sequence[Member], int], Epochs]
"""Starts a population: from its members and its first epoch to its epochs."""


@dataclass
class _Half:
    """Some members of an array, trained as a population of their own.

    Attributes:
        begun: Members that had not ended at its latest answer, with the epoch before which each
            started: in any company, a member that starts there trains the same.
        epochs: Of the population; None before its first.
        ended: Ends that no epoch has told.
    """

    begun: dict[int, tuple[Member, int]]
    epochs: Epochs | None = None
    ended: list[Trained] = field(default_factory=list)

    @property
    def members(self) -> list[Member]:
        return [member for member, _ in self.begun.values()]


class Halving:
    """Trains arrays, each in as many populations as the memory asks for.

    A population that runs out of memory is trained again from its start as two halves, up to the
    epoch at which it was; what it had told is not told again. How many members of a structure
    have proved too many is remembered, so that later arrays start in parts.

    Args:
        start: Starts a population.
        say: Told of it.
        give_back: Frees what a population that ended held.
    """

    def __init__(
        self, start: Start, say: Callable[[str], None], give_back: Callable[[], None]
    ) -> None:
        self._start = start
        self._say = say
        self._give_back = give_back
        self._most: dict[tuple[object, ...], int] = {}

    def train_epochs(self, members: Sequence[Member], first_epoch: int = 1) -> Epochs:
        """Trains an array as `loop.train_epochs` does."""
        halves = [
            _Half(part) for part in self._parts({m.number: (m, first_epoch) for m in members})
        ]
        answer, epoch = Answer(), first_epoch
        while True:
            told = EpochEnd([], [])
            halves = [rest for half in halves for rest in self._advance(half, epoch, answer, told)]
            if not told.results:
                return told.trained
            answer = yield told
            epoch += 1
            if answer.joining:
                self._seat(halves, answer.joining, epoch)

    def _parts(
        self, begun: Mapping[int, tuple[Member, int]]
    ) -> list[dict[int, tuple[Member, int]]]:
        """Divides members into as few parts as have proved to fit, sizes as equal as may be."""
        items = list(begun.items())
        most = self._most.get(structure_of(items[0][1][0]), len(items))
        n_parts = -(-len(items) // most)
        return [
            dict(items[len(items) * part // n_parts : len(items) * (part + 1) // n_parts])
            for part in range(n_parts)
        ]

    def _seat(self, halves: list[_Half], joining: Sequence[Member], epoch: int) -> None:
        """Gives each member that joins before an epoch to the population with the fewest."""
        most = self._most.get(structure_of(joining[0]))
        for member in joining:
            roomy = [half for half in halves if most is None or len(half.begun) < most]
            half = min(roomy, key=lambda one: len(one.begun), default=None)
            if half is None:
                half = _Half({})
                halves.append(half)
            half.begun[member.number] = (member, epoch)

    def _advance(self, half: _Half, epoch: int, answer: Answer, told: EpochEnd) -> list[_Half]:
        """Trains an epoch of a population; adds what it tells to `told`.

        Returns:
            The populations that go on, two where it had to be halved.
        """
        own = Answer(
            {number: stop for number, stop in answer.stops.items() if number in half.begun},
            [member for member in answer.joining if member.number in half.begun],
        )
        try:
            end = self._replay(half, epoch, own) if half.epochs is None else half.epochs.send(own)
        except StopIteration as stop:
            told.trained.extend([*half.ended, *stop.value])
            return []
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            return self._halve(half, epoch, answer, told, error)
        told.results.extend(end.results)
        told.trained.extend([*half.ended, *end.trained])
        half.ended = []
        gone = {*own.stops, *(result.number for result in end.results if result.last)}
        for number in gone:
            half.begun.pop(number, None)
        return [half]

    def _replay(self, half: _Half, epoch: int, answer: Answer) -> EpochEnd:
        """Trains a population from its start, and returns the end of an epoch.

        Ends before that epoch, which rounding may bring about in other company, are kept.
        """
        starts = sorted({start for _, start in half.begun.values()})
        by_start = {
            at: [member for member, start in half.begun.values() if start == at] for at in starts
        }
        half.epochs = self._start(by_start[starts[0]], starts[0])
        end = next(half.epochs)
        for at in range(starts[0] + 1, epoch + 1):
            half.ended += end.trained
            for ended in end.trained:
                half.begun.pop(ended.number)
            joining = by_start.get(at, [])
            end = half.epochs.send(Answer(answer.stops if at == epoch else {}, joining))
        return end

    def _halve(
        self, half: _Half, epoch: int, answer: Answer, told: EpochEnd, error: RuntimeError
    ) -> list[_Half]:
        half.epochs = None  # what it holds is free before its halves start
        error.__traceback__ = None
        self._give_back()
        size = len(half.begun)
        if size == 1:
            raise TrainingError(TOO_LARGE) from error
        self._most[structure_of(half.members[0])] = -(-size // 2)
        self._say(
            f"{size} members at once need more memory than the device has: they are trained again "
            f"as {-(-size // 2)} and {size // 2}."
        )
        halves = [_Half(part) for part in self._parts(half.begun)]
        halves[0].ended = half.ended
        return [rest for one in halves for rest in self._advance(one, epoch, answer, told)]
