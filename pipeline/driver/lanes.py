"""Members of several rows as members of the same arrays: each row sees its own only."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from pipeline.driver.backend import Backend
from pipeline.driver.cohort import CohortRun
from pipeline.driver.pruners import Curves, Pruner, Rung, TaskCurves
from pipeline.training.members import EpochResult, Member, Stop, Trained


@dataclass(frozen=True)
class Lane:
    """Members that are pruned by their own scores alone, such as a cohort of one row.

    Attributes:
        members: With numbers that differ within the lane.
        told: Curves of the lane's earlier trials.
        on_epochs: Sees each of its members' each epoch exactly once.
        told_tasks: Curves of each task, of the lane's earlier trials.
        rule: Prunes the lane in place of the rule of all, at the same rungs.
    """

    members: Sequence[Member]
    told: Curves
    on_epochs: Callable[[Sequence[EpochResult]], None]
    told_tasks: TaskCurves = field(default_factory=dict)
    rule: Pruner | None = None


class LanePruner(Pruner):
    """Decides for each lane as its rule would decide were the lane alone.

    Args:
        rule: The study's pruner, for lanes without their own.
        lanes: The lanes.
        places: Lane and number within it, by the number that a member trains under.
    """

    def __init__(
        self, rule: Pruner, lanes: Sequence[Lane], places: Mapping[int, tuple[int, int]]
    ) -> None:
        super().__init__(rule.n_epochs, rule.seed)
        self._rule = rule
        self._lanes = lanes
        self._places = places

    def rungs(self) -> frozenset[int]:
        """Returns those of the rule."""
        return self._rule.rungs()

    def decide(self, rung: Rung) -> dict[int, Stop]:
        """Returns the members that must not go on, lane by lane."""
        stops: dict[int, Stop] = {}
        for index, lane in enumerate(self._lanes):
            keys = {number: key for key, (at, number) in self._places.items() if at == index}
            own = {number: rung.own[key] for number, key in keys.items()}
            training = frozenset(number for number, key in keys.items() if key in rung.training)
            if not training:
                continue
            here = {n: rung.tasks[key] for n, key in keys.items() if key in rung.tasks}
            rule = lane.rule or self._rule
            tasks = {**lane.told_tasks, **here}
            decided = rule.decide(Rung(rung.epoch, lane.told, own, training, tasks))
            stops |= {keys[number]: stop for number, stop in decided.items()}
        return stops


def train_lanes(
    backend: Backend,
    lanes: Sequence[Lane],
    population: int,
    rule: Pruner,
    stopping: Callable[[], bool],
    once_started: Callable[[], None] = lambda: None,
    told: Callable[[int, int], None] | None = None,
) -> list[list[Trained]]:
    """Trains the members of all lanes side by side, and returns each lane's results.

    Args:
        backend: Where members run.
        lanes: The lanes.
        population: Most members in one array.
        rule: Prunes within each lane that has no rule of its own.
        stopping: Asked between epochs; True ends everything with `Interrupted`.
        once_started: See `CohortRun.run`.
        told: Told the latest epoch of any member, from 0, and the most that one may have.

    Raises:
        Interrupted: `stopping` said so; nothing counts.
    """
    found = [(index, member) for index, lane in enumerate(lanes) for member in lane.members]
    places = {key: (index, member.number) for key, (index, member) in enumerate(found)}
    members = [replace(member, number=key) for key, (_, member) in enumerate(found)]
    n_epochs, latest = max(member.train.epochs for member in members), 0

    def on_epochs(results: Sequence[EpochResult]) -> None:
        nonlocal latest
        latest = max(latest, *(result.epoch for result in results))
        if told is not None:
            told(latest, n_epochs)
        by_lane: dict[int, list[EpochResult]] = {}
        for result in results:
            index, number = places[result.number]
            by_lane.setdefault(index, []).append(replace(result, number=number))
        for index, own in by_lane.items():
            lanes[index].on_epochs(own)

    if told is not None:
        told(0, n_epochs)
    pruner = LanePruner(rule, lanes, places)
    run = CohortRun(backend, members, population, pruner, {}, on_epochs, stopping)
    trained: list[list[Trained]] = [[] for _ in lanes]
    for result in run.run(once_started):
        index, number = places[result.number]
        trained[index].append(replace(result, number=number))
    return trained
