"""Several objectives: the front, its pruner, resuming, kills of cohorts, any number of workers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from driver_cases import small_frame, small_study

from pipeline import compare, search
from pipeline.driver.journal import TrialJournal, sampler_faults
from pipeline.driver.launch import make_pruner
from pipeline.driver.pareto import constant_scores, front_trials, front_volume
from pipeline.driver.pruners import Dominated, Rung
from pipeline.driver.records import TrialRecord, best_trials
from pipeline.driver.study_folder import StudyFolder
from pipeline.errors import StudyError
from pipeline.evaluation.pareto import order
from pipeline.stages import prepare
from pipeline.study.loading import Study
from pipeline.study.ranges import Range
from pipeline.tracking.store import Store
from pipeline.training.members import Stop

BOTH = ["colour", "size"]
TABLES = {"rows": small_frame()}
RANGES = {"lr": Range(0.001, 0.1, log=True), "drop": Range(0.0, 0.5)}


def study_of(name: str, **more: Any) -> Study:
    values = {"search__objective": BOTH, "search__trials": 12, "search__finalists": None, **more}
    values = {"train__epochs": 6, "search__pruner": "dominated", **values}
    return small_study(name=name, **values)


def launched(study: Study, store: Store, **how: Any) -> dict[str, Any]:
    return search(study, store=store, tables=TABLES, say=lambda said: None, **how)


def records(study: Study, store: Store) -> list[TrialRecord]:
    return StudyFolder(store.studies, study.spec.name).trials()


def ends(study: Study, store: Store) -> list[tuple[Any, ...]]:
    return [(t.number, t.params, t.state, t.values, t.curve) for t in records(study, store)]


@pytest.fixture(scope="module")
def found(store: Store) -> tuple[Study, dict[str, Any]]:
    study = study_of("pareto")
    return study, launched(study, store, n_workers=1)


def test_the_front_is_told_with_its_volume(
    found: tuple[Study, dict[str, Any]], store: Store
) -> None:
    study, document = found
    assert document["objective"] == BOTH
    complete = [t for t in records(study, store) if t.state == "complete"]
    for trial in complete:
        assert trial.evaluation is not None
        assert trial.values == tuple(trial.evaluation.scores[task] for task in BOTH)
        beaten = any(
            all(a >= b for a, b in zip(other.values, trial.values, strict=True))
            and other.values != trial.values
            for other in complete
        )
        assert beaten != (trial.number in {one["trial"] for one in document["front"]})
    assert document["hypervolume"] == pytest.approx(
        front_volume(prepare(study, store, TABLES), complete)
    )
    knee = complete[order(np.array([trial.values for trial in complete]))[0]]
    assert document["best"]["trial"] == knee.number
    assert document["shipped"]["trial"] == knee.number


def test_the_volume_grows_with_trials_and_the_figure_is_kept(
    found: tuple[Study, dict[str, Any]], store: Store
) -> None:
    study, document = found
    client = store.client()
    history = client.get_metric_history(document["run_id"], "best/hypervolume")
    values = [metric.value for metric in sorted(history, key=lambda metric: metric.step)]
    assert values == sorted(values)
    assert values[-1] == pytest.approx(document["hypervolume"])
    files = {file.path for file in client.list_artifacts(document["run_id"])}
    assert "front.svg" in files
    reference = constant_scores(prepare(study, store, TABLES))
    assert reference["size"] == pytest.approx(0.0, abs=0.2)


def test_stopping_and_workers_change_nothing(
    found: tuple[Study, dict[str, Any]], store: Store
) -> None:
    straight = ends(found[0], store)
    halves = study_of("pareto_halves")
    launched(halves, store, n_trials=8, n_workers=1)
    launched(halves, store, n_workers=2)
    assert ends(halves, store) == straight


def test_a_kill_before_the_journal_was_told_loses_and_doubles_nothing(
    found: tuple[Study, dict[str, Any]], store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed = study_of("pareto_killed")
    told = TrialJournal.tell

    def tell(self: TrialJournal, number: int, *how: Any) -> None:
        if number == 6:
            raise KeyboardInterrupt
        told(self, number, *how)

    monkeypatch.setattr(TrialJournal, "tell", tell)
    with pytest.raises(KeyboardInterrupt):
        launched(killed, store, n_workers=1)
    monkeypatch.undo()
    launched(killed, store, n_workers=1)
    assert ends(killed, store) == ends(found[0], store)


def test_optuna_is_told_every_objective(found: tuple[Study, dict[str, Any]], store: Store) -> None:
    study, _ = found
    folder = StudyFolder(store.studies, study.spec.name)
    backend = optuna.storages.journal.JournalFileBackend(str(folder.journal))
    kept = optuna.load_study(study_name="pareto", storage=optuna.storages.JournalStorage(backend))
    assert [direction.name for direction in kept.directions] == ["MAXIMIZE", "MAXIMIZE"]
    ours = {t.number: list(t.values) for t in folder.trials() if t.state == "complete"}
    assert {t.number: t.values for t in kept.trials if t.values} == ours
    best = {trial.number for trial in kept.best_trials}
    assert best == {trial.number for trial in front_trials(folder.trials())}


def test_the_free_order_has_a_front_too(store: Store) -> None:
    study = study_of("pareto_free", search__order="free")
    document = launched(study, store, n_workers=1)
    assert document["front"]
    assert len(records(study, store)) == 12


def test_finalists_and_promotion_take_the_knee_of_means(store: Store) -> None:
    study = study_of("pareto_final", search__finalists={"k": 2, "seeds": 2}, search__trials=4)
    document = launched(study, store, n_workers=1)
    candidates = {one.number for one in best_trials(records(study, store), 2)}
    assert document["shipped"]["trial"] in candidates


@pytest.mark.parametrize("sampler", ["tpe", "random", "nsgaii", "nsgaiii", "qmc", "cmaes"])
def test_samplers_search_several_objectives_or_are_refused(sampler: str, tmp_path: Path) -> None:
    faults = sampler_faults(sampler, RANGES, 2)
    assert bool(faults) == (sampler == "cmaes")
    if faults:
        assert "cannot search several objectives" in str(faults[0])
        return
    journal = TrialJournal(tmp_path / "j.journal", "j", 0, sampler, RANGES, n_objectives=2)
    for number in range(14):
        params = journal.ask(number).params
        state = ("complete", "complete", "pruned", "failed")[number % 4]
        scores = [params["lr"], -params["drop"]] if state == "complete" else []
        journal.tell(number, state, scores, 3)
    assert all(trial.finished for trial in journal.asked())


def test_a_sampler_of_one_objective_is_refused_before_anything_is_written(
    tmp_path: Path,
) -> None:
    with pytest.raises(StudyError, match=r"cannot search several objectives. Found cmaes"):
        launched(study_of("refused", search__sampler="cmaes"), tmp_path / "s")  # type: ignore[arg-type]
    assert not (tmp_path / "s").exists()


def rung(values: dict[int, tuple[float, float]], n_told: int, epoch: int = 3) -> Rung:
    curves = {n: {"a": [a] * epoch, "b": [b] * epoch} for n, (a, b) in values.items()}
    means = {n: [(a + b) / 2] * epoch for n, (a, b) in values.items()}
    told = {n: means[n] for n in list(values)[:n_told]}
    own = {n: means[n] for n in list(values)[n_told:]}
    return Rung(epoch, told, own, frozenset(own), curves)


SPREAD = {n: (n / 10, n / 10) for n in range(10)}


def test_what_the_median_beats_on_every_task_is_pruned() -> None:
    rule = Dominated(30, 0, ["a", "b"])
    case = {**SPREAD, 10: (0.1, 0.2), 11: (0.1, 0.9), 12: (0.8, 0.8)}
    stops = rule.decide(rung(case, 10))
    assert stops.keys() == {10}
    assert "below the median of 13 trials on a, b at epoch 3" in stops[10].reason


def test_below_a_floor_a_member_is_pruned_however_good_the_rest() -> None:
    rule = Dominated(30, 0, ["a", "b"], {"a": 0.2})
    stops = rule.decide(rung({**SPREAD, 10: (0.1, 0.99), 11: (0.21, 0.99)}, 10))
    assert stops.keys() == {10}
    assert "0.1000 on a is below its floor 0.2" in stops[10].reason


def test_before_ten_told_trials_and_three_epochs_nobody_is_pruned() -> None:
    rule = Dominated(30, 0, ["a", "b"], {"a": 5.0})
    case = {**SPREAD, 10: (0.0, 0.0)}
    assert rule.decide(rung(case, 9)) == {}
    assert min(rule.rungs()) == 3
    assert Dominated(3, 0, ["a", "b"]).rungs() == frozenset()


def test_members_are_pruned_in_a_search(store: Store) -> None:
    study = study_of("pareto_pruned", search__floors={"size": 0.9}, search__trials=16)
    assert isinstance(make_pruner(study), Dominated)
    launched(study, store, n_workers=1)
    trials = records(study, store)
    pruned = [trial for trial in trials if trial.state == "pruned"]
    assert pruned
    assert all(trial.number >= 10 and trial.epochs >= 3 for trial in pruned)
    assert any("below its floor" in t.reason or "below the median" in t.reason for t in pruned)


def test_a_row_is_pruned_by_what_it_is_judged_by(store: Store, monkeypatch) -> None:
    study = study_of("pareto_rows", search__floors={"size": -9.0}, search__trials=16)
    launched(study, store, n_workers=1)
    seen: dict[tuple[str, ...], set[int]] = {}
    decide = Dominated.decide

    def noted(rule: Dominated, rung: Rung) -> dict[int, Stop]:
        assert rule.floors.keys() <= {*rule.tasks}, "a task that is not learned has no floor"
        for number in (*rung.told, *rung.own):
            assert all(rung.tasks[number].get(task) for task in rule.tasks)
        seen.setdefault(tuple(rule.tasks), set()).add(len(rung.told))
        return decide(rule, rung)

    monkeypatch.setattr(Dominated, "decide", noted)
    document = compare(study, store=store, tables=TABLES, n_workers=1, say=lambda said: None)
    assert seen.keys() == {("colour", "size"), ("colour",), ("size",)}
    assert all(max(told) > 0 for told in seen.values()), "later cohorts know earlier ones"
    assert {row["kind"] for row in document["rows"]} >= {"equal_weights", "single_task"}
