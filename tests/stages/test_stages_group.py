"""`group`: pairs measured, groups recommended, their gain on test, from Python."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from synthetic import GROUPS, STRONG, TASKS, synthetic_study, synthetic_tables

from pipeline import group, search
from pipeline.comparison.readings import Readings
from pipeline.driver.study_folder import StudyFolder
from pipeline.errors import InputError, ResumeError
from pipeline.stages import grouping
from pipeline.study.loading import parse_study
from pipeline.tracking.store import Store, open_store

SMALL = {"name": "grouped", "train__epochs": 20}


def quiet(said: str) -> None:
    pass


@pytest.fixture(scope="module")
def found(store: Store) -> dict[str, Any]:
    study, tables = synthetic_study(-1.0, 3, **SMALL), synthetic_tables(-1.0, 3)
    return group(study, store=store, tables=tables, n_workers=1, say=quiet)


def test_group_returns_its_contract(found: dict[str, Any]) -> None:
    keys = {"study", "data", "setting", "seeds", "tasks", "alone", "transfer", "believed",
            "cosine", "cosine_rank_correlation", "groups", "predicted_gain", "valid",
            "recommended", "test", "budget", "seconds", "test_reads"}  # fmt: skip
    assert keys <= {*found}
    assert json.loads(json.dumps(found)) == found
    assert found["tasks"] == [*TASKS]
    assert found["seeds"] == 3
    for task in TASKS:
        others = {*TASKS} - {task}
        assert {*found["transfer"]["mean"][task]} == others
        assert {*found["transfer"]["spread"][task]} == others
    assert sorted(task for names in found["groups"] for task in names) == [*TASKS]
    assert [row["kind"] for row in found["test"]["rows"]] == ["grouped", "all_in_one", "each_alone"]
    for gain in found["test"]["gains"].values():
        assert gain["low"] <= gain["gain"] <= gain["high"]
        per_task = [gain["tasks"][task]["gain"] for task in TASKS]
        assert gain["gain"] == pytest.approx(np.mean(per_task))
    assert found["budget"]["trials"] == 3 * (1 + 4 + 6)


def test_the_groups_that_are_there_are_found_and_win_on_test(found: dict[str, Any]) -> None:
    assert found["groups"] == [list(names) for names in GROUPS]
    assert found["recommended"] == "grouped"
    assert found["test"]["gains"]["over_one_model"]["low"] > 0
    assert found["test"]["gains"]["over_each_alone"]["low"] > 0


def test_every_reading_of_test_is_counted_and_shown_again(
    found: dict[str, Any], store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    readings = Readings(StudyFolder(store.studies, "grouped")).all()
    models = [f"{key}@{found['data']}" for row in found["test"]["rows"] for key in row["models"]]
    assert sorted(models) == sorted(readings)
    assert found["test_reads"] == 9
    monkeypatch.setattr(grouping, "_group", None)
    study, tables = synthetic_study(-1.0, 3, **SMALL), synthetic_tables(-1.0, 3)
    assert group(study, store=store, tables=tables, say=quiet) == found


def test_every_model_has_a_run_with_its_row_and_the_result_one_with_its_files(
    found: dict[str, Any], store: Store
) -> None:
    client = store.client()
    experiment = client.get_experiment_by_name("grouped")
    runs = client.search_runs([experiment.experiment_id], "tags.kind = 'row'", max_results=100)
    rows = [run.data.tags["row"] for run in runs]
    assert {row: rows.count(row) for row in rows} == {
        "pair": 18, "group-alone": 12, "group-all": 3, "grouping": 1,
    }  # fmt: skip
    assert {run.info.status for run in runs} == {"FINISHED"}
    pair = next(run for run in runs if run.data.tags["row"] == "pair")
    first, second = pair.data.tags["tasks"].split(",")
    assert f"valid/{first}/r2" in pair.data.metrics
    assert float(pair.data.params[f"lambda.{second}"]) == 1.0
    result = next(run for run in runs if run.data.tags["row"] == "grouping")
    files = {file.path for file in client.list_artifacts(result.info.run_id)}
    assert files == {"transfer.csv", "transfer.svg", "grouping.json"}
    gain = found["test"]["gains"]["over_one_model"]["gain"]
    assert result.data.metrics["test/gain_over_one_model/gain"] == pytest.approx(gain)


def test_what_a_kill_left_is_mended(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The runs of arrays that had ended are ended, the others' made again."""
    study = synthetic_study(1.0, 4, **{**SMALL, "name": "mended"})
    where = {"store": store, "tables": synthetic_tables(1.0, 4), "n_workers": 1, "say": quiet}
    monkeypatch.setattr(grouping, "_track", None)  # dies there: no document, all arrays kept
    with pytest.raises(TypeError):
        group(study, **where)
    monkeypatch.undo()
    (key,) = (StudyFolder(store.studies, "mended").path / "grouping").iterdir()
    ended, lost = (json.loads(path.read_text()) for path in sorted(key.glob("*.json"))[:2])
    sorted(key.glob("*.json"))[1].unlink()
    client = store.client()
    client.update_run(ended[0]["run_id"], status="RUNNING")
    group(study, **where)
    assert client.get_run(ended[0]["run_id"]).info.status == "FINISHED"
    assert client.get_run(lost[0]["run_id"]).info.lifecycle_stage == "deleted"
    experiment = client.get_experiment_by_name("mended")
    runs = client.search_runs([experiment.experiment_id], "tags.kind = 'row'", max_results=200)
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert len(runs) == 33 + 1


def test_the_setting_is_that_of_the_best_trial(store: Store) -> None:
    study = synthetic_study(1.0, 6, name="tuned_first", train__epochs=3, search__finalists=None)
    tables = synthetic_tables(1.0, 6, 60, 60)
    best = search(study, store=store, tables=tables, n_workers=1, say=quiet)["best"]
    found = group(study, store=store, tables=tables, n_workers=1, say=quiet)
    assert found["setting"] == {"trial": best["trial"]}
    other = synthetic_study(1.0, 6, name="tuned_first", train__epochs=4, search__finalists=None)
    with pytest.raises(ResumeError):
        group(other, store=store, tables=tables, say=quiet)


def test_one_task_cannot_be_grouped(tmp_path: Path) -> None:
    text = "name: one\nsources: {rows: {}}\ntasks: {a0: {kind: regression, target: a0}}\n"
    study = parse_study(text + "split: {column: part}\n")
    with pytest.raises(InputError, match=r"at least 2 tasks\. Found 1: a0"):
        group(study, store=tmp_path / "s", tables=synthetic_tables(1.0, 0, 60, 60), say=quiet)


def test_many_tasks_need_a_stated_budget(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    study, tables = synthetic_study(1.0, 0, name="many"), synthetic_tables(1.0, 0, 60, 60)
    with pytest.raises(InputError, match=r"`--budget` must be at least 33 models.* Found 32"):
        group(study, 32, store=store, tables=tables, say=quiet)
    monkeypatch.setattr(grouping, "MOST_TASKS", 3)
    with pytest.raises(InputError, match=r"Found 4 tasks, hence 33 models.*`--budget 33`"):
        group(study, store=store, tables=tables, say=quiet)


@pytest.mark.slow
@pytest.mark.parametrize("dial", STRONG)
def test_grouping_recovers_the_groups_in_16_of_20_draws(dial: float, tmp_path: Path) -> None:
    opened = open_store(tmp_path)
    groups = []
    for seed in range(20):
        study = synthetic_study(dial, seed, name=f"draw{seed}")
        tables = synthetic_tables(dial, seed)
        groups.append(group(study, store=opened, tables=tables, n_workers=1, say=quiet)["groups"])
    recovered = sum(found == [list(names) for names in GROUPS] for found in groups)
    assert recovered >= 16, groups


@pytest.mark.slow
def test_where_nothing_is_shared_few_draws_recommend_a_group(tmp_path: Path) -> None:
    opened = open_store(tmp_path)
    grouped = 0
    for seed in range(20):
        study, tables = synthetic_study(0.0, seed, name=f"d{seed}"), synthetic_tables(0.0, seed)
        found = group(study, store=opened, tables=tables, n_workers=1, say=quiet)
        grouped += len(found["groups"]) < len(TASKS)
    assert grouped <= 4
