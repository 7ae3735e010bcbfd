"""One cohort through a backend whose arrays end their epochs, break and die in any order."""

from collections import Counter
from collections.abc import Callable, Sequence

import pytest
from driver_cases import FakeBackend, fake_score, members_of
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.data.prepared import Prepared
from pipeline.driver.cohort import CohortRun
from pipeline.driver.pruners import Hyperband, Median, Never, Pruner, Rung
from pipeline.errors import Interrupted
from pipeline.study.loading import Study
from pipeline.training.members import EpochResult, Member, Stop, Trained, arrays_of

N_EPOCHS = 9
TOLD = {-n: [fake_score(n, epoch) for epoch in range(1, N_EPOCHS + 1)] for n in range(1, 7)}
PRUNERS = (Median(N_EPOCHS, 0), Hyperband(N_EPOCHS, 0), Never(N_EPOCHS, 0))
quick = settings(max_examples=50, deadline=None)
orders = st.integers(0, 10**6)


@pytest.fixture(scope="module")
def members(study: Study, prepared: Prepared) -> list[Member]:
    return members_of(study, prepared, 10)


def epochs_of(number: int) -> int:
    """Some members stop by themselves before the last epoch."""
    return N_EPOCHS if number % 3 else N_EPOCHS - 1 - number % 4


class Run:
    """One run of a cohort with everything that can be seen of it."""

    def __init__(
        self,
        members: Sequence[Member],
        order: int,
        pruner: Pruner,
        population: int = 3,
        trouble: Callable[[tuple[int, ...], int, int], str | None] = lambda *_: None,
    ) -> None:
        self.backend = FakeBackend(order, epochs_of, trouble)
        self.observed: list[tuple[int, int]] = []
        cohort = CohortRun(
            self.backend, members, population, pruner, TOLD, self._observe, lambda: False
        )
        self.trained: list[Trained] = cohort.run()
        self.curves = cohort.curves

    def _observe(self, results: Sequence[EpochResult]) -> None:
        self.observed += [(result.number, result.epoch) for result in results]


@quick
@given(orders, orders, st.sampled_from(PRUNERS), st.integers(1, 10))
def test_the_order_in_which_arrays_end_their_epochs_decides_nothing(
    members, one, other, pruner, population
) -> None:
    first, second = Run(members, one, pruner, population), Run(members, other, pruner, population)
    assert first.trained == second.trained
    assert first.curves == second.curves


def test_the_cases_contain_every_end(members) -> None:
    for pruner in PRUNERS[:2]:
        ends = Counter(trained.state for trained in Run(members, 0, pruner).trained)
        assert ends["pruned"] >= 2
        assert ends["complete"] >= 2


@quick
@given(orders, st.sampled_from(PRUNERS))
def test_results_come_in_the_order_of_the_cohort_with_their_curves(members, order, pruner) -> None:
    run = Run(members, order, pruner)
    assert [trained.number for trained in run.trained] == [m.number for m in members]
    for trained in run.trained:
        curve = [fake_score(trained.number, epoch) for epoch in range(1, trained.epochs + 1)]
        assert run.curves[trained.number] == curve
        if trained.state == "complete":
            assert trained.epochs == epochs_of(trained.number)
        else:
            assert trained.epochs in pruner.rungs()


@quick
@given(orders, st.sampled_from(PRUNERS), st.data())
def test_lost_workers_and_broken_arrays_change_nothing(members, order, pruner, data) -> None:
    blows = data.draw(
        st.dictionaries(
            st.sampled_from([tuple(m.number for m in array) for array in arrays_of(members, 3)]),
            st.one_of(
                st.lists(
                    st.tuples(st.sampled_from(["lose", "lose after"]), st.integers(1, 7)),
                    max_size=5,
                ),
                st.lists(st.tuples(st.just("fail"), st.integers(1, 7)), max_size=1),
            ),
        )
    )

    def trouble(numbers: tuple[int, ...], epoch: int, attempt: int) -> str | None:
        for verb, when in blows.get(numbers, [])[attempt : attempt + 1]:
            if when == epoch:
                return verb
        return None

    smooth, rough = Run(members, order, pruner), Run(members, order, pruner, trouble=trouble)
    assert rough.trained == smooth.trained
    assert sorted(rough.observed) == sorted(smooth.observed)
    assert set(rough.backend.submitted) == set(smooth.backend.submitted)  # each array stays whole


@quick
@given(orders, st.sampled_from(PRUNERS))
def test_every_epoch_of_a_member_is_seen_once_and_in_order(members, order, pruner) -> None:
    def trouble(numbers: tuple[int, ...], epoch: int, attempt: int) -> str | None:
        return "lose" if attempt < 2 and epoch == 4 + attempt else None

    run = Run(members, order, pruner, trouble=trouble)
    for trained in run.trained:
        seen = [epoch for number, epoch in run.observed if number == trained.number]
        assert seen == list(range(1, trained.epochs + 1))


class Recorder(Median):
    """Remembers what it was asked."""

    def __init__(self) -> None:
        super().__init__(N_EPOCHS, 0)
        self.asked: list[Rung] = []

    def decide(self, rung: Rung) -> dict[int, Stop]:
        self.asked.append(Rung(rung.epoch, rung.told, dict(rung.own), rung.training))
        return super().decide(rung)


@quick
@given(orders)
def test_each_rung_is_decided_once_and_with_the_whole_cohort_there(members, order) -> None:
    def trouble(numbers: tuple[int, ...], epoch: int, attempt: int) -> str | None:
        return "lose after" if attempt == 0 and epoch == 3 else None

    pruner = Recorder()
    run = Run(members, order, pruner, trouble=trouble)
    epochs = [rung.epoch for rung in pruner.asked]
    assert epochs == sorted(set(epochs))
    for rung in pruner.asked:
        assert rung.told is TOLD
        assert rung.own.keys() == run.curves.keys()
        for trained in run.trained:
            reached = [fake_score(trained.number, e) for e in range(1, rung.epoch + 1)]
            assert rung.own[trained.number][: rung.epoch] == reached[: trained.epochs]
            ended = trained.epochs < rung.epoch or epochs_of(trained.number) == rung.epoch
            assert (trained.number in rung.training) == (not ended)


@quick
@given(orders, st.sampled_from(PRUNERS), st.sampled_from(["fail", "lose"]), st.integers(0, 9))
def test_the_member_at_fault_fails_and_the_others_end_as_without_it(
    members, order, pruner, verb, culprit
) -> None:
    def trouble(numbers: tuple[int, ...], epoch: int, attempt: int) -> str | None:
        return verb if culprit in numbers else None

    run = Run(members, order, pruner, trouble=trouble)
    others = [member for member in members if member.number != culprit]
    expected = Run(others, order, pruner).trained
    assert [trained for trained in run.trained if trained.number != culprit] == expected
    failed = run.trained[culprit]
    assert (failed.state, failed.epochs, failed.score) == ("failed", 0, None)
    reason = f"Traceback: ({culprit},) broke" if verb == "fail" else "exit code -9"
    assert reason in failed.reason
    assert (culprit,) in run.backend.submitted  # it was tried alone before it was blamed


@quick
@given(orders, orders, st.integers(2, 6))
def test_a_member_that_breaks_late_does_not_make_the_order_matter(
    members, one, other, when
) -> None:
    def trouble(numbers: tuple[int, ...], epoch: int, attempt: int) -> str | None:
        return "fail" if 4 in numbers and epoch == when else None

    pruner = PRUNERS[0]
    first, second = (Run(members, order, pruner, trouble=trouble) for order in (one, other))
    assert first.trained == second.trained
    assert [trained.number for trained in first.trained if trained.state == "failed"] == [4]


def test_a_cohort_that_breaks_throughout_fails_throughout(members) -> None:
    run = Run(members, 0, PRUNERS[0], trouble=lambda *_: "fail")
    assert {trained.state for trained in run.trained} == {"failed"}
    assert run.observed == []


def test_a_stop_is_obeyed_between_epochs(members) -> None:
    observed: list[int] = []

    def observe(results: Sequence[EpochResult]) -> None:
        observed.extend(result.epoch for result in results)

    cohort = CohortRun(
        FakeBackend(0, epochs_of), members, 3, PRUNERS[2], {}, observe,
        lambda: len(observed) >= 12,
    )  # fmt: skip
    with pytest.raises(Interrupted, match="runs again when resumed"):
        cohort.run()
    assert 12 <= len(observed) < 12 + 3
