"""The comparison of the best trial with its baselines, from Python."""

import shutil
from pathlib import Path

import pytest
from stage_cases import Chain, chain_study

from pipeline import compare, evaluate, search
from pipeline.comparison.readings import Readings
from pipeline.driver.records import StudyFolder, best_trials
from pipeline.errors import InputError
from pipeline.stages import comparing

TASKS = ["bought", "colour", "size"]
KINDS = ["tuned", "equal_weights", "single_task", "linear", "boosting", "constant"]


def test_compare_returns_its_contract(compared: Chain) -> None:
    found = compared.found["compare"]
    keys = {"study", "split", "data", "rows", "gains", "delta_m", "verdicts", "test_reads"}
    assert keys <= {*found}
    assert (found["study"], found["split"]) == ("chain", "test")
    assert found["data"] == compared.prepared.data_digest
    assert [row["kind"] for row in found["rows"]] == KINDS
    for row in found["rows"]:
        assert {"name", "kind", "mean", "interval", "tasks", "budget"} <= {*row}
        low, high = row["interval"]
        assert low <= row["mean"] <= high
        assert list(row["tasks"]) == TASKS
        assert "r2" in row["tasks"]["size"]
    assert {*found["gains"]} == {*TASKS}
    for gain in found["gains"].values():
        assert gain["low"] <= gain["gain"] <= gain["high"]
    assert {*found["verdicts"]} == {*TASKS}


def test_each_row_says_what_it_cost(compared: Chain) -> None:
    rows = compared.found["compare"]["rows"]
    budgets = {row["kind"]: tuple(row["budget"].values()) for row in rows}
    epochs = sum(trial.epochs for trial in compared.trials)
    assert budgets == {
        "tuned": (8, epochs), "equal_weights": (1, 4), "single_task": (3, 12),
        "linear": (15, 0), "boosting": (18, 0), "constant": (3, 0),
    }  # fmt: skip


def test_the_tuned_row_is_the_best_trial_as_evaluate_shows_it(compared: Chain) -> None:
    tuned = compared.found["compare"]["rows"][0]
    assert tuned["model"] == compared.shipped.key
    found = evaluate(compared.study, "best", "test", **compared.where)
    assert found["mean"] == pytest.approx(tuned["mean"])
    assert found["tasks"]["bought"] == pytest.approx(tuned["tasks"]["bought"])


def test_every_reading_of_test_is_counted_once(compared: Chain) -> None:
    readings = Readings(compared.folder).all()
    digest = compared.prepared.data_digest
    keys = {f"{row['model']}@{digest}" for row in compared.found["compare"]["rows"]}
    assert keys <= {*readings}
    compare(compared.study, **compared.where)
    assert Readings(compared.folder).all() == readings
    # A reading made since is counted, also where the comparison itself is known.
    other = best_trials(compared.trials, 99)[1]
    evaluate(compared.study, other.number, "test", **compared.where)
    assert {*Readings(compared.folder).all()} == {*readings, f"trial-{other.number}@{digest}"}
    again = compare(compared.study, **compared.where)
    assert again["test_reads"] == compared.n_readings


def test_a_comparison_that_is_known_trains_and_scores_nothing(
    compared: Chain, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(comparing, "_score", None)
    again = compare(compared.study, **compared.where)
    assert {**again, "test_reads": 0} == {**compared.found["compare"], "test_reads": 0}


def test_reading_only_leaves_out_what_is_not_there_and_writes_nothing(
    chain: Chain, tmp_path: Path
) -> None:
    # A study of its own, so that it does not matter what other tests have compared.
    study = chain_study("looked_at", search__trials=2, search__cohort=2, train__epochs=2)
    search(study, n_workers=1, **chain.where)
    before = chain.files()
    found = compare(study, "valid", read_only=True, **chain.where)
    assert [row["kind"] for row in found["rows"]] == ["tuned"]
    assert (found["gains"], found["delta_m"]) == ({}, None)
    # Looking at test would be a reading, and a reading is recorded.
    found = compare(study, "test", read_only=True, **chain.where)
    assert (found["rows"], found["test_reads"]) == ([], 0)
    assert chain.files() == before


def test_reading_only_shows_the_rows_that_were_compared(compared: Chain) -> None:
    files = list((compared.folder.path / "comparisons").iterdir())
    for file in files:
        shutil.move(file, file.with_suffix(".aside"))
    try:
        before = compared.files()
        found = compare(compared.study, read_only=True, **compared.where)
        assert compared.files() == before
    finally:
        for file in files:
            shutil.move(file.with_suffix(".aside"), file)
    rows = compared.found["compare"]["rows"]
    assert [row["mean"] for row in found["rows"]] == pytest.approx([row["mean"] for row in rows])


def test_rows_are_runs_of_their_own(compared: Chain) -> None:
    client = compared.store.client()
    experiment = compared.found["search"]["experiment_id"]
    rows = {row["kind"]: row for row in compared.found["compare"]["rows"]}
    for kind in KINDS[1:]:
        [run] = client.search_runs([experiment], f"tags.row = '{kind}'")
        assert (run.info.status, run.data.tags["state"]) == ("FINISHED", "complete")
        assert run.info.run_name == rows[kind]["name"]
        assert run.data.metrics["test/score"] == pytest.approx(rows[kind]["mean"])
        assert run.data.metrics["test/size/r2"] == pytest.approx(rows[kind]["tasks"]["size"]["r2"])
        assert run.data.tags["mlflow.parentRunId"] == compared.found["search"]["run_id"]
    assert "size.alpha" in client.search_runs([experiment], "tags.row = 'linear'")[0].data.params


def test_a_run_shows_a_reading_of_test_once(compared: Chain) -> None:
    # The fixture compared; reading and comparing again must add no second point.
    evaluate(compared.study, "best", "test", **compared.where)
    compare(compared.study, **compared.where)
    client = compared.store.client()
    best = compared.shipped
    rows = client.search_runs(
        [client.get_experiment_by_name("chain").experiment_id], "tags.kind = 'row'"
    )
    shown = [run for run in rows if "test/score" in run.data.metrics]
    assert len(shown) >= 5
    for run_id in (best.run_id, *(run.info.run_id for run in shown)):
        assert len(client.get_metric_history(run_id, "test/score")) == 1


def test_comparing_on_valid_uses_the_same_rows(compared: Chain) -> None:
    compared.said.clear()
    reads = compared.n_readings
    found = compare(compared.study, "valid", **compared.where)
    assert [row["kind"] for row in found["rows"]] == KINDS
    assert not compared.said, "nothing had to be trained"
    assert compared.n_readings == reads
    best = compared.shipped
    assert found["rows"][0]["mean"] == pytest.approx(best.score, abs=1e-6)
    experiment = compared.found["search"]["experiment_id"]
    [run] = compared.store.client().search_runs([experiment], "tags.row = 'constant'")
    assert run.data.metrics["score"] == pytest.approx(found["rows"][-1]["mean"])


def test_a_study_that_was_not_searched_leaves_no_store(chain: Chain, tmp_path: Path) -> None:
    where = {"store": tmp_path / "new", "tables": {"people": chain.frame}}
    for stage in (compare, evaluate):
        with pytest.raises(InputError, match=r"no finished trial in .*Run `mtl search` first"):
            stage(chain.study, **where)
    assert not (tmp_path / "new").exists()


def test_a_killed_search_is_not_called_complete(chain: Chain) -> None:
    study = chain_study("killed", search__trials=2, search__cohort=2, train__epochs=1)
    search(study, n_workers=1, **chain.where)
    folder = StudyFolder(chain.store.studies, "killed")
    record = folder.record()
    del record["state"]  # a kill leaves none
    folder.save_record(record)
    evaluate(study, "best", "test", **chain.where)
    run = chain.store.client().get_run(record["run_id"])
    assert (run.data.tags["state"], run.info.status) == ("interrupted", "KILLED")
