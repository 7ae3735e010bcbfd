import os
from collections.abc import Callable
from pathlib import Path

import mlflow
import pandas as pd
import pytest

from pipeline.errors import DataError, InputError
from pipeline.promotion.registry import move_alias, register
from pipeline.serving.connection import as_process_default
from pipeline.serving.loading import load_model, load_predictor
from pipeline.tracking.models import drop_model, log_model
from pipeline.tracking.store import Store


@pytest.fixture(scope="module")
def experiment(store: Store) -> str:
    return store.client().create_experiment("loading", store.artifact_location("loading"))


def new_run(store: Store, experiment: str) -> str:
    return store.client().create_run(experiment).info.run_id


def test_a_model_by_alias_version_and_run(
    store: Store,
    experiment: str,
    make_predictor: Callable,
    raw_rows: pd.DataFrame,
    outside: Path,
) -> None:
    client, run_id, predictor = store.client(), new_run(store, experiment), make_predictor()
    model_id = log_model(client, run_id, predictor, None, None)
    version = register(client, "by-all-names", model_id, run_id, {}, "")
    move_alias(store, client, "by-all-names", "champion", version, expected=None)
    expected = predictor.predict(raw_rows)
    for uri in ("by-all-names@champion", "models:/by-all-names@champion", "by-all-names/1", run_id):
        loaded = load_model(uri, store.tracking_uri)
        assert (loaded.model_id, loaded.run_id) == (model_id, run_id)
        pd.testing.assert_frame_equal(loaded.predict(raw_rows), expected)
    assert loaded.version == ""
    again = load_predictor(model_id, store.tracking_uri)
    pd.testing.assert_frame_equal(again.predict(raw_rows), expected)
    with pytest.raises(DataError, match="weight"):
        loaded.predict(raw_rows.drop(columns="weight"))


def test_a_dropped_model_is_not_found_by_its_run(
    store: Store, experiment: str, make_predictor: Callable
) -> None:
    client, run_id = store.client(), new_run(store, experiment)
    old = log_model(client, run_id, make_predictor(0), None, None)
    new = log_model(client, run_id, make_predictor(1), None, None)
    drop_model(client, new)
    assert load_model(run_id, store.tracking_uri).model_id == old
    drop_model(client, old)
    with pytest.raises(InputError, match="has no model"):
        load_model(run_id, store.tracking_uri)


@pytest.mark.parametrize("uri", ["absent@champion", "absent/1", "absent/x", "no run", "a" * 32])
def test_what_is_not_there_is_an_error_of_the_input(store: Store, uri: str) -> None:
    with pytest.raises(InputError):
        load_model(uri, store.tracking_uri)


@pytest.mark.parametrize("variable", [None, "sqlite:////tmp/other.db"])
@pytest.mark.parametrize("in_process", [None, "http://127.0.0.1:9"])
def test_the_process_uri_is_restored(
    monkeypatch: pytest.MonkeyPatch, variable: str | None, in_process: str | None
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    mlflow.set_tracking_uri(in_process)
    if variable is None:
        monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    else:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", variable)
    before = mlflow.get_tracking_uri()
    try:
        with as_process_default("http://127.0.0.1:7"):
            assert mlflow.get_tracking_uri() == "http://127.0.0.1:7"
        assert mlflow.get_tracking_uri() == before
        assert os.environ.get("MLFLOW_TRACKING_URI") == variable
    finally:
        mlflow.set_tracking_uri(None)
