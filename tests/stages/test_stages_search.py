"""The search and the evaluation of its trials, from Python."""

from numbers import Real

import numpy as np
import pytest
from stage_cases import Chain, chain_study

from pipeline import evaluate, prepare, search, train
from pipeline.driver.records import best_trials
from pipeline.driver.study_folder import StudyFolder
from pipeline.errors import InputError, ResumeError, StudyError
from pipeline.stages import evaluating
from pipeline.stages.session import open_searched
from pipeline.stages.trials import find_trial

TASKS = ["bought", "colour", "size"]


def test_search_returns_its_contract(chain: Chain) -> None:
    found = chain.found["search"]
    assert {"study", "trials", "best", "experiment_id", "tracking_uri", "seconds", "phases"} <= {
        *found
    }
    assert found["study"] == "chain"
    counts = found["trials"]
    assert (counts["complete"], counts["failed"]) == (len(chain.ended_as("complete")), 0)
    assert counts["pruned"] == len(chain.ended_as("pruned")) + len(chain.ended_as("diverged"))
    assert counts["complete"] + counts["pruned"] == 8
    assert found["tracking_uri"] == chain.store.tracking_uri
    assert isinstance(found["experiment_id"], str)
    assert found["seconds"] > 0
    assert all(isinstance(seconds, Real) for seconds in found["phases"].values())
    assert {"prepare", "store", "train"} <= found["phases"].keys()


def test_the_best_trial_is_told_with_its_scores(chain: Chain) -> None:
    best = chain.found["search"]["best"]
    record = best_trials(chain.trials, 1)[0]
    assert best["trial"] == record.number
    assert list(best["scores"]) == TASKS
    assert best["score"] == pytest.approx(np.mean(list(best["scores"].values())))
    assert best["score"] == max(t.score for t in chain.ended_as("complete") if t.score is not None)
    assert best["params"] == record.params
    assert best["run_id"] == record.run_id


def test_more_trials_go_on_where_the_search_ended(chain: Chain) -> None:
    first = chain.found["first"]["trials"]
    assert first["complete"] + first["pruned"] + first["failed"] == 4
    assert [trial.number for trial in chain.trials] == list(range(8))
    assert chain.folder.cohorts()[0].numbers == range(4)


def test_a_search_that_is_done_does_nothing_twice(chain: Chain) -> None:
    before = chain.trials
    client, experiments = chain.store.client(), [chain.found["search"]["experiment_id"]]
    runs = {run.info.run_id for run in client.search_runs(experiments)}
    again = search(chain.study, n_workers=1, **chain.where)
    assert chain.trials == before
    assert {run.info.run_id for run in client.search_runs(experiments)} == runs
    assert again["best"] == chain.found["search"]["best"]
    assert again["trials"] == chain.found["search"]["trials"]
    fewer = search(chain.study, 4, n_workers=1, **chain.where)
    assert fewer["trials"] == again["trials"]


def test_a_trial_that_diverges_ends_and_the_search_goes_on(chain: Chain) -> None:
    for trial in chain.ended_as("diverged"):
        assert trial.score is None
        assert trial.evaluation is None
        assert "epoch" in trial.reason
    assert max(trial.number for trial in chain.ended_as("complete")) > min(
        trial.number for trial in chain.ended_as("diverged")
    )


def test_changed_ranges_are_refused_by_name_and_change_nothing(chain: Chain) -> None:
    before = chain.files()
    changed = chain_study(model__dropout={"low": 0.0, "high": 0.4}, train__epochs=5)
    with pytest.raises(ResumeError) as caught:
        search(changed, n_workers=1, **chain.where)
    message = str(caught.value)
    assert "model.dropout: was range" in message
    assert "train.epochs: was 4, now 5" in message
    assert "--fresh" in message
    assert "train.lr" not in message
    assert chain.files() == before


@pytest.mark.parametrize("stage", [search, evaluate])
def test_changed_data_is_refused_by_every_stage_that_builds_on_it(chain: Chain, stage) -> None:
    changed = chain.frame.copy()
    changed.loc[0, "bought"] = "no" if changed.loc[0, "bought"] == "yes" else "yes"
    with pytest.raises(ResumeError, match="the content of the data: was"):
        stage(chain.study, store=chain.store, tables={"people": changed})


def test_what_may_change_changes_nothing_else(chain: Chain) -> None:
    free = chain_study(search__keep=2, promote__model="elsewhere", search__trials=7)
    assert open_searched(free, chain.store, {"people": chain.frame}).name == "chain"


def test_a_fresh_start_keeps_the_old_study_under_another_name(chain: Chain) -> None:
    study = chain_study("renewed", search__trials=2, search__cohort=2, train__epochs=1)
    search(study, n_workers=1, **chain.where)
    old = StudyFolder(chain.store.studies, "renewed")
    trials, journal = old.trials(), old.journal.read_bytes()
    changed = chain_study("renewed", search__trials=2, search__cohort=2, train__epochs=2)
    found = search(changed, n_workers=1, fresh=True, **chain.where)

    [kept] = chain.store.studies.glob("renewed.archived-*.journal")
    archived = kept.name.removesuffix(".journal")
    assert kept.read_bytes() == journal
    assert StudyFolder(chain.store.studies, archived).trials() == trials
    client = chain.store.client()
    experiment = client.get_experiment_by_name(archived)
    runs = {run.info.run_id for run in client.search_runs([experiment.experiment_id])}
    assert {trial.run_id for trial in trials} < runs
    assert found["experiment_id"] != experiment.experiment_id
    fresh = StudyFolder(chain.store.studies, "renewed").trials()
    assert [trial.epochs for trial in fresh] == [2, 2]
    assert f"The old study is kept as {archived}." in chain.said


def test_an_unknown_sampler_leaves_nothing_behind(chain: Chain) -> None:
    study = chain_study("unsampled", search__sampler="tpee")
    with pytest.raises(StudyError, match=r"`search\.sampler`.*`tpe`"):
        search(study, n_workers=1, **chain.where)
    assert not list(chain.store.studies.glob("unsampled*"))
    assert chain.store.client().get_experiment_by_name("unsampled") is None


def test_evaluate_gives_the_record_of_the_best_trial(chain: Chain) -> None:
    found = evaluate(chain.study, **chain.where)
    record = find_trial(open_searched(chain.study, chain.store, {"people": chain.frame}), "best")
    assert {*found} >= {"trial", "split", "n_rows", "mean", "tasks", "data", "prepared"}
    assert (record, found["replicate"]) == (chain.shipped, record.replicate)
    assert f"#{record.number} is chosen; its median seed {record.replicate} of 3" in chain.said[-1]
    assert (found["trial"], found["split"]) == (record.number, "valid")
    assert record.evaluation is not None
    assert found["mean"] == pytest.approx(record.evaluation.mean, abs=1e-6)
    assert found["tasks"]["size"] == pytest.approx(record.evaluation.tasks["size"], abs=1e-6)
    assert found["n_rows"] == {"bought": 60, "colour": 55, "size": 60}
    assert next(iter(found["tasks"]["bought"])) == "roc_auc"
    assert found["data"] == chain.prepared.data_digest
    assert found["prepared"] == chain.prepared.prepared_digest


def test_a_reading_of_test_is_kept_and_not_made_again(
    chain: Chain, monkeypatch: pytest.MonkeyPatch
) -> None:
    n_before = chain.n_readings
    [worst] = best_trials(chain.trials, 99)[-1:]
    first = evaluate(chain.study, worst.number, "test", **chain.where)
    assert chain.n_readings <= n_before + 1
    monkeypatch.setattr(evaluating, "evaluate_predictor", None)
    monkeypatch.setattr(evaluating, "recording", None)  # nor is a run opened for it
    assert evaluate(chain.study, worst.number, "test", **chain.where) == first
    run = chain.store.client().get_run(worst.run_id)
    assert run.data.metrics["test/size/r2"] == pytest.approx(first["tasks"]["size"]["r2"])


@pytest.mark.parametrize("state", ["complete", "pruned"])
def test_a_model_that_was_not_kept_is_trained_again_and_said_so(chain: Chain, state: str) -> None:
    trial = next(t for t in chain.ended_as(state) if t.key not in chain.folder.models())
    chain.said.clear()
    found = evaluate(chain.study, trial.number, **chain.where)
    [said] = chain.said
    assert f"trial {trial.number} was not kept" in said
    assert found["mean"] == pytest.approx(trial.score, abs=1e-5)
    if trial.evaluation is not None:
        for task in TASKS:
            assert found["tasks"][task] == pytest.approx(trial.evaluation.tasks[task], abs=1e-5)


def test_a_trial_that_diverged_has_no_model_to_evaluate(chain: Chain) -> None:
    number = chain.ended_as("diverged")[0].number
    with pytest.raises(InputError, match=rf"Trial {number} of chain diverged and has no model"):
        evaluate(chain.study, number, **chain.where)


@pytest.mark.parametrize("trial", [8, -1, "last"])
def test_a_trial_that_does_not_exist_is_refused(chain: Chain, trial: int | str) -> None:
    with pytest.raises(InputError, match=f"no finished trial {trial}: its trials are 0 to 7"):
        evaluate(chain.study, trial, **chain.where)


def test_a_trial_trained_by_hand_equals_the_searched_one(chain: Chain) -> None:
    best = best_trials(chain.trials, 1)[0]
    where = {"store": chain.store, "tables": {"people": chain.frame}}
    again = train(chain.study, best.number, **where)
    assert again.record.score == pytest.approx(best.score, abs=1e-5)
    assert again.predictor is not None
    run = chain.store.client().get_run(again.record.run_id)
    assert run.data.tags["row"] == "manual"
    assert run.info.status == "FINISHED"
    assert run.info.run_name == f"#{best.number} again"
    assert [trial.number for trial in chain.trials] == list(range(8))


def test_in_the_free_order_a_trial_that_joined_late_trains_again_to_the_same(
    chain: Chain,
) -> None:
    study = chain_study(
        "loose", search__order="free", search__pruner="none", search__finalists=None
    )
    loose = Chain(study, chain.frame, chain.store)
    found = search(study, n_workers=1, **loose.where)
    assert len(loose.trials) == 8
    assert 0 <= found["phases"]["wait"] < found["seconds"]
    late = [trial for trial in loose.ended_as("complete") if trial.first_epoch > 1]
    assert late
    for trial in late:
        where = {"store": chain.store, "tables": {"people": chain.frame}}
        again = train(study, trial.number, **where).record
        assert again.score == pytest.approx(trial.score, abs=1e-5)
        assert again.curve == pytest.approx(trial.curve, abs=1e-5)
        loose.folder.drop_model(trial.key)
        found = evaluate(study, trial.number, **loose.where)
        assert found["mean"] == pytest.approx(trial.score, abs=1e-5)


def test_training_that_breaks_leaves_no_run_open(
    chain: Chain, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("pipeline.stages.trials.train", broken)
    with pytest.raises(KeyboardInterrupt):
        train(chain.study, store=chain.store, tables={"people": chain.frame})
    client = chain.store.client()
    experiment = client.get_experiment_by_name("chain").experiment_id
    assert not client.search_runs([experiment], "attributes.status = 'RUNNING'")
    [run] = client.search_runs([experiment], "tags.state = 'interrupted'")
    assert (run.info.status, run.data.tags["row"]) == ("KILLED", "manual")


def test_a_second_prepare_reads_the_cache(chain: Chain) -> None:
    again = prepare(chain.study, chain.store, {"people": chain.frame})
    assert again.folder == chain.store.cache / again.prepared_digest
    assert again.report.n_rows == {"train": 180, "valid": 60, "test": 60}
