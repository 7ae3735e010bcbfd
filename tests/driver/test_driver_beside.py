"""The searches of the baselines: equal budget, common arrays, nothing lost or doubled by a kill."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import optuna
import pandas as pd
import pytest
from driver_cases import prepare_small, small_study
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from search_cases import Crash, Memory, RecordingTracker, plain

from pipeline.data.prepared import Prepared
from pipeline.driver.beside import RowsBeside
from pipeline.driver.choice import choose
from pipeline.driver.launch import SearchOptions
from pipeline.driver.records import TrialRecord
from pipeline.driver.rows import EQUAL, baseline_rows, tuned_row
from pipeline.driver.search import Search
from pipeline.driver.searched import SearchedRow
from pipeline.driver.study_folder import StudyFolder
from pipeline.study.loading import Study
from pipeline.training.loop import train

ROWS = ["equal_weights", "alone-colour", "alone-size"]
N_TRIALS = 6

Outcome = dict[str, tuple[list[TrialRecord], list[TrialRecord]]]


@dataclass
class Launcher:
    """A study that was searched, whose baselines are launched again and again."""

    study: Study
    prepared: Prepared
    folder: Path
    memory: Memory = field(default_factory=Memory)

    @property
    def files(self) -> StudyFolder:
        return StudyFolder(self.folder, self.study.spec.name)

    def search(self, n_trials: int = N_TRIALS) -> None:
        tracker = RecordingTracker(self.memory)
        options = SearchOptions(n_trials)
        describe = lambda trials, state: (pd.DataFrame(), "", {})  # noqa: E731
        Search(self.study, self.prepared, self.files, tracker, options, [], describe).run()

    def launch(self, crash_at: int | None = None, n_workers: int = 1) -> Outcome:
        self.tracker = RecordingTracker(self.memory, crash_at)
        self.said: list[str] = []
        self.told: list[tuple[str, int, int]] = []
        RowsBeside(
            self.study, self.prepared, self.files, self.tracker, self.said.append, n_workers,
            progress=lambda *far: self.told.append(far),
        ).run()  # fmt: skip
        rows = {name: self.files.row(name) for name in ROWS}
        return {
            name: (plain(row.trials()), plain(row.all_finalists())) for name, row in rows.items()
        }

    def check(self) -> None:
        """Every trial and finalist of every row has one ended run, with each epoch once."""
        files = {None: self.files, **{name: self.files.row(name) for name in ROWS}}
        expected = Counter()
        for name, folder in files.items():
            for record in (*folder.trials(), *folder.all_finalists()):
                tag = name if not record.replicate else f"{name}-finalist" if name else "finalist"
                run = self.memory.runs[record.run_id]
                assert (run.row, run.status, run.state) == (tag, "ENDED", record.state)
                steps = sorted(epoch[0] for epoch in self.memory.epochs[record.run_id])
                assert steps == list(range(1, record.epochs + 1))
                expected[record.run_id] += 1
        assert expected == Counter(self.memory.runs.keys())


@pytest.fixture(scope="module")
def straight(
    study: Study, prepared: Prepared, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Launcher, Outcome]:
    launcher = Launcher(study, prepared, tmp_path_factory.mktemp("straight"))
    launcher.search()
    return launcher, launcher.launch()


def test_each_row_has_as_many_trials_as_the_study_and_its_finalists(straight, study) -> None:
    launcher, outcome = straight
    for trials, finalists in outcome.values():
        assert [trial.number for trial in trials] == list(range(N_TRIALS))
        assert len(finalists) == 6  # two configurations under three seeds
    launcher.check()
    assert len(launcher.files.trials()) == N_TRIALS, "baselines are not counted as trials"


def test_who_trains_is_told_with_each_epoch(straight, study) -> None:
    told = straight[0].told
    n_epochs = study.spec.train.epochs
    rows = ", ".join(ROWS)
    finalists = next(what for what, _, _ in told if what.startswith("Finalists of equal_weights #"))
    assert finalists.endswith(" and 3 more, 18 models, epoch")
    whats = [f"Trials #0 to #3 of {rows}, 12 trials, epoch",
             f"Trials #4 to #5 of {rows}, 6 trials, epoch", finalists]  # fmt: skip
    assert list(dict.fromkeys(what for what, _, _ in told)) == whats
    for what in whats:
        epochs = [epoch for one, epoch, _ in told if one == what]
        assert sorted(epochs) == epochs
        assert {*epochs} == {*range(n_epochs + 1)}
    assert {total for _, _, total in told} == {n_epochs}


def test_rows_search_all_ranges_but_the_weights(straight, study, prepared) -> None:
    rest = {path for path in study.ranges if not path.startswith("weights.")}
    assert rest < {*study.ranges}
    weights = {name: Counter() for name in ROWS}
    for name, (trials, _) in straight[1].items():
        for trial in trials:
            assert {*trial.params} == rest
            weights[name][tuple(trial.weights.values())] += 1
        assert trials[0].params == {path: study.centre()[path] for path in rest}
    assert weights == {
        "equal_weights": {(1.0, 1.0): N_TRIALS},
        "alone-colour": {(1.0, 0.0): N_TRIALS},
        "alone-size": {(0.0, 1.0): N_TRIALS},
    }


def test_a_task_alone_is_scored_by_itself(straight, prepared) -> None:
    for name in ("colour", "size"):
        trials, finalists = straight[1][f"alone-{name}"]
        for record in (*trials, *finalists):
            assert record.evaluation is not None
            assert {*record.evaluation.scores} == {name}
            assert record.score == pytest.approx(record.evaluation.scores[name])
            assert record.evaluation.mean == pytest.approx(record.score)
            metrics = {key for epoch in record.history for key in epoch.metrics}
            assert {key.split("/")[1] for key in metrics if "/" in key} == {name}


def test_each_row_is_an_optuna_study_of_its_own(straight, study) -> None:
    launcher, outcome = straight
    for name, (trials, _) in outcome.items():
        path = launcher.files.row(name).journal
        storage = JournalStorage(JournalFileBackend(str(path)))
        found = optuna.load_study(study_name=f"small/{name}", storage=storage).get_trials()
        assert [trial.params for trial in found] == [dict(trial.params) for trial in trials]
        assert [trial.value for trial in found] == [trial.score for trial in trials]


def test_a_row_asks_beside_others_as_it_asks_alone(straight, study, prepared, tmp_path) -> None:
    for plan in baseline_rows(study, prepared):
        folder, tracker = StudyFolder(tmp_path, plan.name), RecordingTracker(Memory())
        row = SearchedRow(study, prepared, folder, tracker, plan, keep=1)
        while (cohort := row.next_cohort(N_TRIALS)) is not None:
            asked = row.ask(cohort)
            row.start_runs(asked)
            trained = []
            for member in asked.members:  # one by one: no array at all
                seen = []
                trained += train(
                    [member], prepared, lambda epoch, seen=seen: seen.append(epoch) or {}
                )
                for epoch in seen:
                    row.runs.epochs(epoch)
            records = row.records(asked, trained)
            row.keep(asked, trained, records)
            row.tell(records)
        for one, other in zip(folder.trials(), straight[1][plan.name][0], strict=True):
            assert one.params == pytest.approx(other.params, rel=1e-3)
            assert one.score == pytest.approx(other.score, abs=1e-4)


def test_finalists_have_fresh_luck_the_same_for_every_row(straight, study, prepared) -> None:
    launcher, outcome = straight
    luck = {}
    for name, (trials, finalists) in outcome.items():
        searched = {trial.seed for trial in trials}
        for record in finalists:
            assert record.seed not in searched
            luck.setdefault(record.replicate, set()).add(record.seed)
        assert {record.replicate for record in finalists} == {1, 2, 3}
        assert choose(launcher.files.row(name), study.spec.search.finalists).retrained
    assert all(len(seeds) == 1 for seeds in luck.values())
    assert len(set.union(*luck.values())) == 3
    plan = tuned_row(study, prepared)
    streams = {plan.member(study, prepared, 0, {}, replicate).stream for replicate in range(4)}
    assert len(streams) == 4


def test_a_finalist_is_its_trial_under_another_seed(straight, study, prepared) -> None:
    launcher, _ = straight
    plan = next(plan for plan in baseline_rows(study, prepared) if plan.name == EQUAL)
    record = launcher.files.row(EQUAL).all_finalists()[0]
    member = plan.member(study, prepared, record.number, record.params, record.replicate)
    [trained] = train([member], prepared)
    assert trained.score == pytest.approx(record.score, abs=1e-5)
    trial = launcher.files.row(EQUAL).trials()[record.number]
    assert record.params == trial.params
    assert record.score != pytest.approx(trial.score, abs=1e-7)


def test_two_workers_give_the_same_rows(straight, study, prepared, tmp_path) -> None:
    launcher = Launcher(study, prepared, tmp_path)
    launcher.search()
    assert launcher.launch(n_workers=2) == straight[1]


def test_a_crash_anywhere_loses_and_doubles_nothing(straight, study, prepared, tmp_path) -> None:
    launcher = Launcher(study, prepared, tmp_path)
    launcher.search()
    expected = straight[1]
    n_crashes, crash_at = 0, 1
    while True:  # each launch goes a little further than the one before
        try:
            outcome = launcher.launch(crash_at)
        except Crash:
            n_crashes += 1
            crash_at += 3
        else:
            break
    assert outcome == expected
    assert n_crashes > 10
    launcher.launch()  # what the last one could not write, this one mends
    launcher.check()


def test_what_is_done_is_not_done_again(straight, monkeypatch) -> None:
    launcher, outcome = straight
    n_runs = launcher.memory.n_runs
    assert launcher.launch() == outcome
    assert (launcher.said, launcher.tracker.n_calls) == ([], 0)
    assert launcher.memory.n_runs == n_runs


def test_more_trials_of_the_study_are_more_of_every_row(study, prepared, tmp_path) -> None:
    launcher = Launcher(study, prepared, tmp_path)
    launcher.search(4)
    assert {len(trials) for trials, _ in launcher.launch().values()} == {4}
    launcher.search(6)
    assert {len(trials) for trials, _ in launcher.launch().values()} == {6}
    launcher.check()


def test_a_study_of_one_task_has_no_rows_beside_it(tmp_path) -> None:
    study = small_study(tasks={"size": {"kind": "regression", "target": "size"}})
    prepared = prepare_small(study, tmp_path)
    assert baseline_rows(study, prepared) == []


def test_a_task_alone_searches_no_range_of_another_task(prepared) -> None:
    study = small_study(tasks__size__loss={"choices": ["squared", "huber"]})
    searched = {row.name: {*row.ranges} for row in baseline_rows(study, prepared)}
    assert "tasks.size.loss" in searched["equal_weights"] & searched["alone-size"]
    assert "tasks.size.loss" not in searched["alone-colour"]
