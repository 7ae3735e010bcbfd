"""The free order: a row that a trial leaves is taken by the next trial at once.

Trials are asked a few ahead, start where a row is free, and are kept and told as they end. What is
asked depends on what has ended by then, so that repeating a study gives other trials. What holds
is that nothing is lost or doubled: each outcome is on disk before it is told; on resume, trials
that were asked and have not ended start again, with the same values.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pipeline.driver.arrays import Arrays
from pipeline.driver.backend import ArrayDone, ArrayFailed, ArrayLost, EpochDone, Event
from pipeline.driver.order import Means, Order
from pipeline.driver.pruners import Rung
from pipeline.errors import Interrupted
from pipeline.study.spec import Params
from pipeline.training.loop import Answer
from pipeline.training.members import (
    EpochResult,
    Member,
    Stop,
    Trained,
    arrays_of,
    structure_of,
)


class FreeOrder(Order):
    """Trials start one by one; see `order.Order`.

    `search.cohort` members train at once, in arrays that are kept full. An array that had to run
    again takes nobody on, so that a member that breaks it breaks no others; its rows go to new
    arrays as its members end.
    """

    def __init__(self, means: Means) -> None:
        super().__init__(means)
        self._arrays = Arrays(means.backend)
        self._rungs = means.pruner.rungs()
        self._rows: dict[int, int] = {}  # array to its members after its latest answer
        self._params: dict[int, Params] = {}  # of trials that were asked and are not kept
        self._waiting: list[Member] = []  # asked, not started
        self._begun: list[Member] = []  # started, without a run
        self._ended: list[tuple[Member, Trained]] = []  # not yet kept
        self._curves: dict[int, list[float]] = {}
        self._halted: set[int] = set()  # whose curve grows no more
        self._next = 0

    def search(self) -> None:
        """Searches until the trials are finished or the time is up."""
        self._resume()
        while True:
            self._settle()
            if not self._arrays.members:
                return
            with self._means.phases.of("train"):
                event = self._means.backend.receive()
            if self._means.stopping():
                raise Interrupted("The search was stopped; trials that had not ended run again.")
            if event is not None:
                self._take(event)

    def _resume(self) -> None:
        """Tells what an earlier driver kept, and takes on what it had asked."""
        row = self._means.row
        trials, asked = row.folder.trials(), row.journal.asked()
        ended = {trial.number for trial in trials}
        finished = {trial.number for trial in asked if trial.finished}
        self._tell([trial for trial in trials if trial.number not in finished], known=True)
        self._curves = {trial.number: list(trial.curve) for trial in trials}
        self._halted = set(ended)
        self._next = len(asked)
        n_open = max(0, self._means.options.n_trials - len(ended))
        self._ask([trial.number for trial in asked if trial.number not in ended][:n_open])

    def _settle(self) -> None:
        """Does what no array waits for: keep and tell, ask, start."""
        self._open_runs()
        if self._ended:
            self._keep()
        self._ask_more()
        self._start()
        self._open_runs()

    def _keep(self) -> None:
        members, trained = zip(*self._ended, strict=True)
        self._ended = []
        with self._means.phases.of("track"):
            records = self._means.row.keep_each(members, trained, self._params)
        self._tell(records)
        for member in members:
            del self._params[member.number]

    def _open_runs(self) -> None:
        if self._begun:
            self._announce(self._begun)
            with self._means.phases.of("track"):
                self._means.row.runs.start(self._begun, self._params)
            self._begun = []

    def _ask_more(self) -> None:
        """Asks for as many trials as rows are free, and a few that wait for the next ones."""
        n_ahead = max(1, self._means.population // 2) if self._arrays.members else 0
        n_missing = self._n_free() + n_ahead - len(self._waiting)
        stop = min(self._means.options.n_trials, self._next + n_missing)
        if stop > self._next and not self._time_is_up():
            self._means.row.folder.extend(stop)
            self._ask(range(self._next, stop))
            self._next = stop

    def _ask(self, numbers: Iterable[int]) -> None:
        with self._means.phases.of("ask"):
            params = self._means.row.ask_trials(numbers)
            self._params |= params
            self._waiting += self._means.row.members(params)

    def _start(self) -> None:
        """Starts new arrays with those that no running array will take on."""
        room: dict[object, int] = {}
        for array, members in self._arrays.members.items():
            if self._takes_on(array):
                structure = structure_of(members[0])
                n_free = self._means.population - self._rows_of(array)
                room[structure] = room.get(structure, 0) + n_free
        chosen = []
        for member in self._startable():
            structure = structure_of(member)
            room[structure] = room.get(structure, 0) - 1
            if room[structure] < 0:
                chosen.append(member)
        if chosen:
            self._arrays.submit(arrays_of(chosen, self._means.population))
            self._begin(chosen)

    def _begin(self, members: Sequence[Member]) -> None:
        numbers = {member.number for member in members}
        self._waiting = [member for member in self._waiting if member.number not in numbers]
        self._begun += members

    def _startable(self) -> list[Member]:
        """Returns those who may start now: the first that wait, a row for each."""
        return [] if self._time_is_up() else self._waiting[: max(0, self._n_free())]

    def _n_free(self) -> int:
        return self._means.spec.cohort - sum(map(self._rows_of, self._arrays.members))

    def _rows_of(self, array: int) -> int:
        return self._rows.get(array, len(self._arrays.members[array]))

    def _takes_on(self, array: int) -> bool:
        """Whether an array goes on, and may take on members after its next epoch."""
        return self._arrays.is_sound(array) and self._rows_of(array) > 0

    def _take(self, event: Event) -> None:
        if isinstance(event, EpochDone):
            self._epoch_done(event)
        elif isinstance(event, ArrayDone):
            self._members_ended(event.array, event.trained)
            self._forget(event.array)
        else:
            self._again(event)

    def _epoch_done(self, event: EpochDone) -> None:
        for result in event.results:
            if result.score == result.score:  # else it diverged
                self._curves.setdefault(result.number, []).append(result.score)
        structure = structure_of(self._arrays.members[event.array][0])
        self._members_ended(event.array, event.trained)
        stops = self._stops(event.results)
        self._halted |= stops.keys()
        n_on = sum(not result.last for result in event.results) - len(stops)
        self._rows[event.array] = n_on
        joining = self._joining(event.array, structure)
        self._means.backend.answer(event.array, Answer(stops, joining))
        self._rows[event.array] += len(joining)
        self._arrays.members[event.array] += joining
        self._begin(joining)
        self._epochs_done(event.results)

    def _stops(self, results: Sequence[EpochResult]) -> dict[int, Stop]:
        """Returns who must not go on, by what is known of all trials now."""
        stops: dict[int, Stop] = {}
        training = {result.number: result.epoch for result in results if not result.last}
        for epoch in sorted(set(training.values()) & self._rungs):
            here = frozenset(number for number, at in training.items() if at == epoch)
            own = {number: self._curves[number] for number in here}
            told = {
                number: curve
                for number, curve in self._curves.items()
                if number not in here and (number in self._halted or len(curve) >= epoch)
            }
            stops |= self._means.pruner.decide(Rung(epoch, told, own, here))
        return stops

    def _joining(self, array: int, structure: object) -> list[Member]:
        """Returns those who take the free rows of an array."""
        if not self._arrays.is_sound(array):
            return []
        n_free = self._means.population - self._rows[array]
        fitting = [m for m in self._startable() if structure_of(m) == structure]
        return fitting[:n_free]

    def _members_ended(self, array: int, trained: Sequence[Trained]) -> None:
        members = {member.number: member for member in self._arrays.members[array]}
        self._ended += [(members.pop(one.number), one) for one in trained]
        self._halted |= {one.number for one in trained}
        self._arrays.members[array] = list(members.values())

    def _forget(self, array: int) -> None:
        self._arrays.end(array)
        self._rows.pop(array, None)

    def _again(self, event: ArrayFailed | ArrayLost) -> None:
        """Runs an array again: its members start anew, and what was seen of them counts no more."""
        members = self._arrays.members[event.array]
        if not members:  # all had ended
            self._forget(event.array)
            return
        failed = {trained.number: trained for trained in self._arrays.again(event)}
        self._rows.pop(event.array, None)
        self._ended += [(m, failed[m.number]) for m in members if m.number in failed]
        self._halted |= failed.keys()
        again = [member for member in members if member.number not in failed]
        for member in again:
            self._curves.pop(member.number, None)
            self._halted.discard(member.number)
        if again:
            self._means.row.runs.discard(again)
            self._means.row.runs.start(again, self._params)
