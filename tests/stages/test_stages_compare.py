"""The comparison of the best trial with its baselines, from Python."""

import shutil
from pathlib import Path

import pytest
from stage_cases import Chain, chain_study

from pipeline import compare, evaluate, search, stages
from pipeline.comparison.readings import Readings
from pipeline.driver.records import best_trials
from pipeline.driver.study_folder import StudyFolder
from pipeline.errors import InputError
from pipeline.stages import comparing

TASKS = ["bought", "colour", "size"]
SEARCHED = [[None], ["equal_weights"], [f"alone-{task}" for task in TASKS]]
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
        assert row["valid_minus_test"] == pytest.approx(row["valid"] - row["mean"])
        assert list(row["tasks"]) == TASKS
        assert "r2" in row["tasks"]["size"]
    assert {*found["gains"]} == {*TASKS}
    for gain in found["gains"].values():
        assert gain["low"] <= gain["gain"] <= gain["high"]
    assert {*found["verdicts"]} == {*TASKS}


def test_each_row_says_what_it_cost(compared: Chain) -> None:
    rows = compared.found["compare"]["rows"]
    assert [row["budget"]["trials"] for row in rows] == [8, 8, 24, 15, 18, 3]
    for row, names in zip(rows, SEARCHED, strict=False):
        folders = [compared.folder.row(name) if name else compared.folder for name in names]
        trials = [trial for folder in folders for trial in folder.trials()]
        assert len(trials) == row["budget"]["trials"]
        assert row["budget"]["member_epochs"] == sum(trial.epochs for trial in trials)
        finalists = [one for folder in folders for one in folder.all_finalists()]
        assert row["budget"]["finalist_epochs"] == sum(one.epochs for one in finalists)
        assert row["seeds"] == 3
    assert all(row["budget"]["member_epochs"] == 0 for row in rows[3:])


def test_the_tuned_row_ships_what_evaluate_shows(compared: Chain) -> None:
    tuned = compared.found["compare"]["rows"][0]
    assert tuned["model"] == compared.shipped.key
    found = evaluate(compared.study, "best", "test", **compared.where)
    assert found["mean"] == pytest.approx(tuned["shipped"]["mean"])
    assert found["tasks"]["bought"] == pytest.approx(tuned["shipped"]["tasks"]["bought"])
    seeds = [record.score for record in compared.choice.seeds]
    assert tuned["valid"] == pytest.approx(sum(seeds) / 3, abs=1e-5)


def test_every_reading_of_test_is_counted_once(compared: Chain) -> None:
    readings = Readings(compared.folder).all()
    digest = compared.prepared.data_digest
    keys = {f"{key}@{digest}" for row in compared.found["compare"]["rows"] for key in row["models"]}
    assert len(keys) == 3 + 3 + 9 + 3
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
    for kind in KINDS[3:]:
        [run] = client.search_runs([experiment], f"tags.row = '{kind}'")
        assert (run.info.status, run.data.tags["state"]) == ("FINISHED", "complete")
        assert run.info.run_name == rows[kind]["name"]
        assert run.data.metrics["test/score"] == pytest.approx(rows[kind]["mean"])
        assert run.data.metrics["test/size/r2"] == pytest.approx(rows[kind]["tasks"]["size"]["r2"])
        assert run.data.tags["mlflow.parentRunId"] == compared.found["search"]["run_id"]
    for name in ("equal_weights", "alone-size"):
        runs = client.search_runs([experiment], f"tags.row = '{name}'")
        assert sorted(int(run.data.tags["trial"]) for run in runs) == list(range(8))
        finalists = client.search_runs([experiment], f"tags.row = '{name}-finalist'")
        read = [run for run in finalists if "test/score" in run.data.metrics]
        assert len(finalists) == 6
        assert len(read) == 3, "test is read for the chosen configuration alone"
        assert {run.data.tags["replicate"] for run in read} == {"1", "2", "3"}
    page = client.get_run(compared.found["search"]["run_id"]).data.tags["mlflow.note.content"]
    assert "| each task alone" in page
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
    assert len(shown) >= 18
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
    assert found["rows"][0]["shipped"]["mean"] == pytest.approx(best.score, abs=1e-5)
    assert found["rows"][0]["valid_minus_test"] is None
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


def test_baselines_may_be_searched_with_the_study(
    chain: Chain, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = chain_study("beside", search__trials=2, search__cohort=2, train__epochs=1)
    search(study, n_workers=1, baselines=True, **chain.where)
    folder = StudyFolder(chain.store.studies, "beside")
    assert [len(folder.row(name).trials()) for [name] in SEARCHED[1:2]] == [2]
    assert all(len(folder.row(name).trials()) == 2 for name in SEARCHED[2])
    chain.said.clear()
    found = compare(study, "valid", n_workers=1, **chain.where)
    assert [row["kind"] for row in found["rows"]] == KINDS
    assert not any("Searching" in said for said in chain.said), "nothing was left to search"


def test_a_study_of_one_task_is_its_own_baseline(chain: Chain) -> None:
    tasks = {"size": {"kind": "regression", "target": "size"}}
    study = chain_study(
        "lone", tasks=tasks, search__trials=2, search__cohort=2, train__epochs=2,
        train__lr=0.01, weights={},
    )  # fmt: skip
    search(study, n_workers=1, **chain.where)
    found = compare(study, n_workers=1, **chain.where)
    rows = {row["kind"]: row for row in found["rows"]}
    assert [*rows] == KINDS
    for kind in ("equal_weights", "single_task"):
        assert rows[kind]["models"] == rows["tuned"]["models"]
    assert found["gains"]["size"]["gain"] == 0
    assert found["verdicts"]["size"] in ("unclear", "neither")


def test_the_shipped_model_is_listed_with_what_was_read_of_test(compared: Chain) -> None:
    model_id = compared.folder.record()["models"][compared.shipped.key]
    listed = compared.store.client().get_logged_model(model_id).metrics
    shipped = Readings(compared.folder).get(compared.shipped.key, compared.prepared.data_digest)
    assert shipped is not None
    found = {one.key: one for one in listed}
    assert found["test/size/r2"].value == pytest.approx(shipped.tasks["size"]["r2"])
    assert found["test/size/r2"].dataset_digest != found["valid/size/r2"].dataset_digest


def test_the_report_is_kept_with_the_comparison(compared: Chain, tmp_path: Path) -> None:
    client = compared.store.client()
    run_id = compared.folder.record()["run_id"]
    page = Path(client.download_artifacts(run_id, "report.html", str(tmp_path))).read_text()
    assert "Comparison on test" in page
    assert "report-error.txt" not in {file.path for file in client.list_artifacts(run_id)}
    note = client.get_run(run_id).data.tags["mlflow.note.content"]
    assert "**Comparison on test**" in note
    assert "mtl promote STUDY" in note


def test_studies_of_the_same_data_are_reported_together(compared: Chain) -> None:
    where = {key: value for key, value in compared.where.items() if key != "say"}
    page = stages.report_studies([compared.study] * 2, **where)
    assert "Studies compared" in page
