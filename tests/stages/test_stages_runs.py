"""What MLflow holds of a study that was searched."""

import json
from pathlib import Path

import pandas as pd
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from stage_cases import STUDY, Chain

from pipeline.driver.records import best_trials

STATUS = {"complete": "FINISHED", "pruned": "KILLED", "diverged": "KILLED"}


@pytest.fixture
def client(chain: Chain) -> MlflowClient:
    return chain.store.client()


@pytest.fixture
def parent(chain: Chain, client: MlflowClient) -> Run:
    return client.get_run(chain.found["search"]["run_id"])


@pytest.fixture
def children(chain: Chain, client: MlflowClient) -> dict[int, Run]:
    found = client.search_runs([chain.found["search"]["experiment_id"]], "tags.kind = 'trial'")
    return {int(run.data.tags["trial"]): run for run in found}


def text_of(client: MlflowClient, run: Run, file: str) -> str:
    return Path(client.download_artifacts(run.info.run_id, file)).read_text("utf-8")


def test_each_trial_is_one_child_with_its_state(
    chain: Chain, children: dict[int, Run], parent: Run
) -> None:
    assert sorted(children) == list(range(8))
    for trial in chain.trials:
        run = children[trial.number]
        assert run.info.run_id == trial.run_id
        assert run.info.run_name == f"#{trial.number}"
        assert run.info.status == STATUS[trial.state]
        tags = run.data.tags
        assert tags["mlflow.parentRunId"] == parent.info.run_id
        assert (tags["study"], tags["state"]) == ("chain", trial.state)
        assert tags["reason"] == trial.reason
        assert tags["seed"] == str(trial.seed)
        assert tags["data"] == chain.prepared.data_digest
        assert tags["prepared"] == chain.prepared.prepared_digest
        assert tags["n_parameters"] == str(trial.n_parameters)
        assert run.info.end_time == trial.ended_ms


def test_a_child_has_every_resolved_value_and_its_weights(
    chain: Chain, children: dict[int, Run]
) -> None:
    for trial in chain.trials:
        params = children[trial.number].data.params
        assert params["train.batch_size"] == "32"
        assert params["model.layers"] == "[8]"
        for path, value in trial.params.items():
            assert float(params[path]) == value
        weights = [float(params[f"lambda.{task}"]) for task in ("bought", "colour", "size")]
        assert weights == list(trial.weights.values())
        assert sum(weights) == pytest.approx(3)
    assert children[0].data.params["lambda.size"] == "1.0"


def test_a_child_has_its_curves_and_its_last_metrics(
    chain: Chain, client: MlflowClient, children: dict[int, Run]
) -> None:
    for trial in chain.trials:
        history = client.get_metric_history(trial.run_id, "score")
        curve = {point.step: point.value for point in history if point.step <= len(trial.curve)}
        for epoch, score in enumerate(trial.curve, start=1):
            if epoch < trial.epochs:  # the last epoch also has the kept parameters' score
                assert curve[epoch] == pytest.approx(score)
        losses = client.get_metric_history(trial.run_id, "train/size/loss")
        assert [point.step for point in losses] == list(range(1, trial.epochs + 1))
    for trial in chain.ended_as("complete"):
        metrics = children[trial.number].data.metrics
        assert metrics["score"] == trial.score
        assert trial.evaluation is not None
        assert metrics["valid/size/rmse"] == trial.evaluation.tasks["size"]["rmse"]
        assert metrics["seconds/train"] == trial.seconds
    for trial in chain.ended_as("diverged"):
        assert "score" not in children[trial.number].data.metrics


def test_the_parent_shows_the_best_so_far_at_each_trial(
    chain: Chain, client: MlflowClient, parent: Run
) -> None:
    points = client.get_metric_history(parent.info.run_id, "best/score")
    expected = {}
    for trial in chain.trials:
        known = best_trials(chain.trials[: trial.number + 1], 1)
        expected[trial.number] = known[0].score
    assert {point.step: point.value for point in points} == expected
    assert len(points) == len(expected)
    best = best_trials(chain.trials, 1)[0]
    assert best.evaluation is not None
    assert parent.data.metrics["best/size"] == best.evaluation.scores["size"]


def test_the_parent_holds_the_study_the_environment_and_the_table(
    chain: Chain, client: MlflowClient, parent: Run
) -> None:
    assert text_of(client, parent, "study.yaml") == STUDY
    environment = json.loads(text_of(client, parent, "environment.json"))
    assert {"python", "packages", "n_cpus"} <= environment.keys()
    assert "torch" in environment["packages"]
    table = pd.read_csv(client.download_artifacts(parent.info.run_id, "trials.csv"))
    assert table["trial"].tolist() == list(range(8))
    assert table["state"].tolist() == [trial.state for trial in chain.trials]
    assert table["train.lr"].tolist() == pytest.approx([t.params["train.lr"] for t in chain.trials])
    assert parent.info.status == "FINISHED"
    assert parent.data.tags["kind"] == "study"
    assert parent.data.params["search.sampler"] == "tpe"
    assert parent.data.params["model.dropout"] == "0.0 to 0.3"


def test_the_parents_page_begins_with_the_result(chain: Chain, parent: Run) -> None:
    best = best_trials(chain.trials, 1)[0]
    first = parent.data.tags["mlflow.note.content"].splitlines()[0]
    assert first.startswith(f"**chain** (complete): best trial **#{best.number}**")
    assert f"**{best.score:.4f}**" in first


def test_the_parent_names_its_data_with_the_split_as_context(chain: Chain, parent: Run) -> None:
    inputs = parent.inputs.dataset_inputs
    contexts = {tag.value: one.dataset for one in inputs for tag in one.tags}
    assert {*contexts} == {"train", "valid", "test"}
    assert all(dataset.name == "chain" for dataset in contexts.values())
    assert len({dataset.digest for dataset in contexts.values()}) == 3
    profile = json.loads(contexts["test"].profile)
    assert profile == {"num_rows": 60, "labelled": {"bought": 60, "colour": 54, "size": 60}}


def test_only_the_best_trials_have_models(chain: Chain, client: MlflowClient) -> None:
    best = best_trials(chain.trials, chain.study.spec.search.keep)
    shown = [*best, chain.shipped]
    kept = {record.run_id for record in shown}
    models = client.search_logged_models([chain.found["search"]["experiment_id"]])
    searched = {trial.run_id for trial in chain.trials}
    # A promotion may have logged that of another trial, and training by hand its own.
    assert kept <= {model.source_run_id for model in models}
    seeds = [f"trial-{chain.shipped.number}-seed-{replicate}" for replicate in (1, 2, 3)]
    assert {*chain.folder.models()} == {*(trial.key for trial in best), *seeds}
    assert len([m for m in models if m.source_run_id in searched]) <= len(kept) + 1
    assert all(str(model.status) == "READY" for model in models)
