"""The free order: rows are refilled, nothing is lost or doubled, whatever breaks."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from driver_cases import FakeBackend, fake_score, small_study
from hypothesis import given, settings
from hypothesis import strategies as st
from search_cases import Crash, Launcher, Watcher, check

from pipeline.data.prepared import Prepared
from pipeline.driver.backend import EpochDone
from pipeline.driver.free import FreeOrder
from pipeline.driver.journal import TrialJournal
from pipeline.driver.launch import Phases, SearchOptions
from pipeline.driver.order import Means
from pipeline.driver.pruners import Halving, Median, Never, Pruner, Rung
from pipeline.driver.study_folder import StudyFolder
from pipeline.driver.trials import make_member
from pipeline.errors import Interrupted, ResumeError
from pipeline.study.loading import Study
from pipeline.training.members import EpochResult, Member, Stop, Trained, structure_of

N_EPOCHS, N_TRIALS, ROWS, POPULATION = 9, 30, 7, 3
PRUNERS = (Halving(N_EPOCHS, 0), Median(N_EPOCHS, 0), Never(N_EPOCHS, 0))
quick = settings(max_examples=40, deadline=None)
orders = st.integers(0, 10**6)
Trouble = Callable[[tuple[int, ...], int, int], str | None]


def epochs_of(number: int) -> int:
    """Some members stop by themselves before the last epoch."""
    return N_EPOCHS if number % 3 else N_EPOCHS - 1 - number % 4


def same_structure(number: int) -> int:
    return 4


def two_structures(number: int) -> int:
    return 4 if number % 3 else 5


@dataclass
class FakeRow:
    """Remembers what happens to trials; makes members of made-up structures."""

    make: Callable[[int], Member]
    asked: list[int] = field(default_factory=list)
    open: dict[int, list[int]] = field(default_factory=dict)  # epochs of each open run
    ended: dict[int, tuple[Trained, list[int]]] = field(default_factory=dict)
    told: list[int] = field(default_factory=list)
    noted: int = 0

    @property
    def journal(self) -> Any:
        return SimpleNamespace(asked=list)

    @property
    def folder(self) -> Any:
        return SimpleNamespace(trials=list, extend=lambda stop: setattr(self, "noted", stop))

    @property
    def runs(self) -> Any:
        return SimpleNamespace(start=self._start, discard=self._discard, epochs=self._epochs)

    def ask_trials(self, numbers: Iterable[int]) -> dict[int, Any]:
        numbers = list(numbers)
        assert all(number < self.noted for number in numbers)
        self.asked += numbers
        return {number: {} for number in numbers}

    def members(self, params: Mapping[int, Any]) -> list[Member]:
        return [self.make(number) for number in params]

    def keep_each(
        self, members: Sequence[Member], trained: Sequence[Trained], params: Mapping[int, Any]
    ) -> list[Any]:
        for member, one in zip(members, trained, strict=True):
            assert member.number == one.number
            assert one.number in params
            assert one.number not in self.ended
            self.ended[one.number] = (one, self.open.pop(one.number))
        return [SimpleNamespace(number=one.number) for one in trained]

    def told_tasks(self) -> dict[int, Any]:
        return {}

    def tell(self, trials: Sequence[Any]) -> None:
        self.told += [trial.number for trial in trials]

    def _start(self, members: Sequence[Member], params: Mapping[int, Any]) -> None:
        for member in members:
            assert member.number not in self.open
            self.open[member.number] = []

    def _discard(self, members: Sequence[Member]) -> None:
        for member in members:
            del self.open[member.number]

    def _epochs(self, results: Sequence[EpochResult]) -> None:
        for result in results:
            self.open[result.number].append(result.epoch)


class Run:
    """One run of the free order with everything that can be seen of it."""

    def __init__(
        self,
        members: Callable[[int], Member],
        order: int,
        pruner: Pruner,
        trouble: Trouble = lambda *_: None,
        stopping: Callable[[], bool] = lambda: False,
        backend: FakeBackend | None = None,
    ) -> None:
        self.backend = backend or FakeBackend(order, epochs_of, trouble)
        self.row = FakeRow(members)
        spec = small_study(search__cohort=ROWS).spec.search
        means: Any = Means(
            spec, SearchOptions(N_TRIALS), self.row, (), Phases(), self.backend, pruner,
            POPULATION, stopping,
        )  # fmt: skip
        FreeOrder(means).search()

    @property
    def trained(self) -> dict[int, Trained]:
        return {number: one for number, (one, _) in self.row.ended.items()}


@pytest.fixture(scope="module")
def maker(study: Study, prepared: Prepared) -> Callable[[Callable[[int], int]], Any]:
    """Makes members of structures that a test chooses by number."""
    found = {
        width: make_member(
            small_study(model__layers=[width], train__epochs=N_EPOCHS), prepared, 0, {}
        )
        for width in (4, 5)
    }

    def of(width_of: Callable[[int], int]) -> Callable[[int], Member]:
        return lambda number: Member(**{**vars(found[width_of(number)]), "number": number})

    return of


def check_run(run: Run) -> None:
    """Each trial was asked, ended and told once, in one run with each of its epochs once."""
    assert run.row.asked == list(range(N_TRIALS))
    assert sorted(run.trained) == sorted(run.row.told) == list(range(N_TRIALS))
    assert run.row.open == {}
    for trained, seen in run.row.ended.values():
        if trained.state != "failed":
            assert seen == list(range(1, trained.epochs + 1))


structures = st.sampled_from([same_structure, two_structures])


@quick
@given(orders, st.sampled_from(PRUNERS), structures)
def test_each_trial_ends_once_with_each_epoch_once(maker, order, pruner, structure) -> None:
    run = Run(maker(structure), order, pruner)
    check_run(run)
    for number, trained in run.trained.items():
        assert trained.state in ("complete", "pruned")
        if trained.state == "complete":
            assert trained.epochs == epochs_of(number)
        else:
            assert trained.epochs in pruner.rungs()


class Watched(FakeBackend):
    """Counts members that will train in the next epochs, and looks at who trains together."""

    def __init__(self, order: int, structure: Callable[[int], int]) -> None:
        super().__init__(order, epochs_of)
        self.structure = structure
        self.rows: dict[int, int] = {}
        self.most: Counter[str] = Counter()

    def submit(self, arrays: Any, pauses: Any = None) -> None:
        assert pauses is None, "after every epoch others may join"
        super().submit(arrays)
        self.rows |= {array: len(members) for array, members in arrays.items()}
        self.count()

    def answer(self, array: int, answer: Any) -> None:
        super().answer(array, answer)
        n_on = len(self._training[array].keys() - answer.stops.keys())
        self.rows[array] = n_on + len(answer.joining)
        self.count()

    def receive(self) -> Any:
        event = super().receive()
        if isinstance(event, EpochDone):
            self.rows[event.array] = sum(not result.last for result in event.results)
            assert len({self.structure(result.number) for result in event.results}) == 1
        return event

    def count(self) -> None:
        self.most["array"] = max(self.most["array"], *self.rows.values())
        self.most["all"] = max(self.most["all"], sum(self.rows.values()))


@quick
@given(orders, structures)
def test_rows_and_arrays_are_never_exceeded_and_structures_never_mixed(
    maker, order, structure
) -> None:
    watched = Watched(order, structure)
    check_run(Run(maker(structure), order, PRUNERS[0], backend=watched))
    assert watched.most == {"array": POPULATION, "all": ROWS}


def test_freed_rows_are_refilled_in_the_arrays_that_run(maker) -> None:
    run = Run(maker(same_structure), 0, PRUNERS[0])
    assert sorted(map(len, run.backend.submitted)) == [2, 2, 3]  # the first seven, no array since


class Recorder(Halving):
    """Remembers what it was asked."""

    def __init__(self) -> None:
        super().__init__(N_EPOCHS, 0)
        self.asked: list[Rung] = []

    def decide(self, rung: Rung) -> dict[int, Stop]:
        self.asked.append(rung)
        return super().decide(rung)


@quick
@given(orders)
def test_a_decision_sees_who_has_come_that_far_or_has_ended(maker, order) -> None:
    pruner = Recorder()
    run = Run(maker(same_structure), order, pruner)
    decided = Counter((rung.epoch, number) for rung in pruner.asked for number in rung.training)
    assert set(decided.values()) == {1}  # each member once at each of its rungs
    for trained in run.trained.values():
        passed = {epoch for epoch, number in decided if number == trained.number}
        ended = trained.epochs - (trained.state == "complete")  # at its own end nobody asks
        assert passed == {epoch for epoch in pruner.rungs() if epoch <= ended}
    for rung in pruner.asked:
        assert rung.own.keys() == rung.training
        assert not rung.own.keys() & rung.told.keys()
        for number, curve in rung.told.items():
            whole = len(curve) == run.trained[number].epochs
            assert whole or len(curve) >= rung.epoch


@quick
@given(orders, st.sampled_from(PRUNERS), structures, st.data())
def test_lost_workers_lose_and_double_nothing(maker, order, pruner, structure, data) -> None:
    blows = data.draw(st.lists(st.tuples(
        st.sampled_from(["lose", "lose after"]), st.integers(0, N_TRIALS - 1), st.integers(1, 9)
    ), max_size=5))  # fmt: skip

    def trouble(numbers: tuple[int, ...], epoch: int, attempt: int) -> str | None:
        for verb, number, when in blows:
            if number in numbers and epoch == when and attempt == 0:
                return verb
        return None

    run = Run(maker(structure), order, pruner, trouble)
    check_run(run)
    assert {trained.state for trained in run.trained.values()} <= {"complete", "pruned"}


@quick
@given(orders, st.sampled_from(["fail", "lose"]), st.integers(0, ROWS - 1))
def test_the_member_at_fault_fails_alone(maker, order, verb, culprit) -> None:
    def trouble(numbers: tuple[int, ...], epoch: int, attempt: int) -> str | None:
        return verb if culprit in numbers else None

    run = Run(maker(same_structure), order, PRUNERS[2], trouble)
    check_run(run)
    failed = [trained for trained in run.trained.values() if trained.state == "failed"]
    assert [trained.number for trained in failed] == [culprit]
    assert (culprit,) in run.backend.submitted


def test_a_member_that_breaks_what_it_joins_is_found(maker) -> None:
    class Breaking(FakeBackend):
        def _next_epoch(self, array: int) -> Any:
            if 20 in self._training[array]:
                self._trouble = lambda *_: "fail"
            found = super()._next_epoch(array)
            self._trouble = lambda *_: None
            return found

    run = Run(maker(same_structure), 0, PRUNERS[2], backend=Breaking(0, epochs_of))
    check_run(run)
    failed = [trained for trained in run.trained.values() if trained.state == "failed"]
    assert [trained.number for trained in failed] == [20]
    assert "Traceback" in failed[0].reason


def test_a_stop_is_obeyed_between_epochs(maker) -> None:
    calls = iter(range(100))
    with pytest.raises(Interrupted, match="run again"):
        Run(maker(same_structure), 0, PRUNERS[2], stopping=lambda: next(calls) > 5)


FREE = small_study(search__order="free", search__pruner="halving", search__trials=9)


@pytest.fixture
def launcher(prepared: Prepared, tmp_path: Path) -> Launcher:
    return Launcher(FREE, prepared, StudyFolder(tmp_path, FREE.spec.name))


def check_search(launcher: Launcher, trials: Sequence[Any], n_trials: int = 9) -> None:
    assert [trial.number for trial in trials] == list(range(n_trials))
    check(launcher, trials)
    for trial in trials:
        assert (trial.state == "pruned") == ("not in the best third of" in trial.reason)
        assert trial.params.keys() == FREE.ranges.keys()
    steps = [step for step, _ in launcher.memory.progress]
    assert len(steps) == len(set(steps))


@pytest.mark.parametrize("n_workers", [1, 2])
def test_a_search_trains_every_trial_and_says_why_one_was_pruned(launcher, n_workers) -> None:
    trials = launcher.launch(9, n_workers=n_workers)
    check_search(launcher, trials)
    states = Counter(trial.state for trial in trials)
    assert states["pruned"] >= 2
    assert states["complete"] >= 1
    assert trials[0].params == FREE.centre()
    assert [trial.first_epoch for trial in trials[:4]] == [1] * 4  # the first four rows
    assert max(trial.first_epoch for trial in trials) > 1
    assert launcher.launch(9, n_workers=n_workers) == trials  # done: nothing is asked any more


@pytest.mark.parametrize("pruner", ["median", "hyperband", "none"])
def test_every_pruner_works_in_the_free_order(prepared, tmp_path, pruner) -> None:
    study = small_study(search__order="free", search__pruner=pruner, train__epochs=5)
    launcher = Launcher(study, prepared, StudyFolder(tmp_path, study.spec.name))
    trials = launcher.launch(12)
    assert len(trials) == 12
    check(launcher, trials)


def test_a_crash_anywhere_loses_and_doubles_nothing(launcher, prepared, tmp_path) -> None:
    launcher.launch(9)
    n_calls = launcher.tracker.n_calls
    assert n_calls > 25
    for crash_at in range(n_calls):
        crashed = Launcher(FREE, prepared, StudyFolder(tmp_path / str(crash_at), "small"))
        with pytest.raises(Crash):
            crashed.launch(9, crash_at=crash_at)
        before = {trial.number: trial for trial in crashed.folder.trials()}
        asked = params_asked(crashed)
        trials = crashed.launch(9)
        check_search(crashed, trials)
        assert {n: trials[n] for n in before} == before  # what was kept stays
        assert {n: trials[n].params for n in asked} == asked  # what was asked is trained


def params_asked(launcher: Launcher) -> dict[int, Any]:
    if not launcher.folder.journal.exists() or not launcher.folder.cohorts():
        return {}
    spec = launcher.study.spec
    journal = TrialJournal(
        launcher.folder.journal, spec.name, spec.seed, spec.search.sampler, launcher.study.ranges
    )
    return {trial.number: trial.params for trial in journal.asked()}


def test_ctrl_c_closes_the_runs_and_the_search_goes_on_later(launcher) -> None:
    watcher = Watcher(interrupt_at=3)
    with pytest.raises(Interrupted):
        launcher.launch(9, watcher=watcher)
    assert watcher.told[-1] == "end"
    assert all(run.status == "ENDED" for run in launcher.memory.runs.values())
    assert "interrupted" in {run.state for run in launcher.memory.runs.values()}
    check_search(launcher, launcher.launch(9))


def test_the_trials_are_the_total_and_more_may_be_added(launcher) -> None:
    first = launcher.launch(5)
    check_search(launcher, first, 5)
    trials = launcher.launch(9)
    check_search(launcher, trials)
    assert trials[:5] == first


def test_after_a_timeout_nothing_starts(launcher) -> None:
    assert launcher.launch(9, timeout_seconds=1e-9) == []
    assert launcher.memory.runs == {}
    check_search(launcher, launcher.launch(9, timeout_seconds=600))


def test_observers_are_told_of_each_trial_once(launcher) -> None:
    watcher = Watcher()
    launcher.launch(9, watcher=watcher)
    for verb in ("start [", "done ["):
        told = [one.removeprefix(verb)[:-1] for one in watcher.told if one.startswith(verb)]
        assert sorted(int(n) for numbers in told for n in numbers.split(",")) == list(range(9))
    assert (watcher.told[0], watcher.told[-1]) == ("start 0/9", "end")


def test_the_order_must_not_change_on_resume(launcher) -> None:
    launcher.launch(5)
    with pytest.raises(ResumeError, match=r"search\.order: was free, now fixed"):
        launcher.launch(9, study=small_study(search__pruner="halving", search__trials=9))


def test_structures_of_the_cases_differ(maker) -> None:
    assert structure_of(maker(two_structures)(0)) != structure_of(maker(two_structures)(1))
    assert fake_score(0, 1) == fake_score(0, 1)
