"""Whatever happens in the registry: what a version needs is never deleted, what none needs is."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from pipeline.promotion.registry import register
from pipeline.serving.connection import as_process_default, local_path
from pipeline.serving.loading import load_model
from pipeline.tracking.models import drop_model, log_model, read_model
from pipeline.tracking.store import Store


def by_this_package(store: Store, name: str, model_id: str, run_id: str) -> str:
    return register(store.client(), name, model_id, run_id, {}, "")


def by_the_models_name(store: Store, name: str, model_id: str, run_id: str) -> str:
    with as_process_default(store.tracking_uri):
        return str(store.client().create_model_version(name, f"models:/{model_id}").version)


def by_the_path(store: Store, name: str, model_id: str, run_id: str) -> str:
    location = store.client().get_logged_model(model_id).artifact_location
    return str(store.client().create_model_version(name, location).version)


def by_the_path_and_run(store: Store, name: str, model_id: str, run_id: str) -> str:
    location = store.client().get_logged_model(model_id).artifact_location
    return str(store.client().create_model_version(name, location, run_id=run_id).version)


WAYS = [by_this_package, by_the_models_name, by_the_path, by_the_path_and_run]


@dataclass
class Registry:
    """The registry beside what must hold: which model each live version needs.

    Attributes:
        store: The store.
        name: Of the registered model.
        models: Model to its run; those that must be there still.
        needs: Version to model.
        aliases: Alias to version.
    """

    store: Store
    name: str
    models: dict[str, str] = field(default_factory=dict)
    needs: dict[str, str] = field(default_factory=dict)
    aliases: dict[str, str] = field(default_factory=dict)

    @property
    def client(self) -> MlflowClient:
        return self.store.client()

    def step(self, draw: random.Random) -> None:
        """Does one thing that people do; dropping is tried as often as all others."""
        action = draw.choice(["register", "alias", "forget alias", "delete version", *["drop"] * 4])
        model = draw.choice(sorted(self.models)) if self.models else None
        version = draw.choice(sorted(self.needs)) if self.needs else None
        if action == "register" and model:
            made = draw.choice(WAYS)(self.store, self.name, model, self.models[model])
            self.needs[made] = model
        elif action == "alias" and version:
            alias = draw.choice(["champion", "previous", "best"])
            self.client.set_registered_model_alias(self.name, alias, version)
            self.aliases[alias] = version
        elif action == "forget alias" and self.aliases:
            alias = draw.choice(sorted(self.aliases))
            self.client.delete_registered_model_alias(self.name, alias)
            del self.aliases[alias]
        elif action == "delete version" and version:
            self.client.delete_model_version(self.name, version)
            del self.needs[version]
            self.aliases = {alias: at for alias, at in self.aliases.items() if at != version}
        elif action == "drop" and model:
            dropped = drop_model(self.client, model, self.store.artifacts)
            assert dropped == (model not in self.needs.values())
            if dropped:
                del self.models[model]

    def check(self) -> None:
        """Every model that was not dropped is whole, and every version has its own."""
        for model in self.models:
            location = local_path(self.client.get_logged_model(model).artifact_location)
            assert location is not None
            assert (location / "artifacts" / "predictor" / "weights.npz").is_file()
        assert set(self.needs.values()) <= set(self.models)


@pytest.mark.parametrize("seed", range(4))
def test_nothing_registered_is_ever_deleted_and_all_else_can_be(
    store: Store, make_predictor: Callable, seed: int
) -> None:
    name, draw = f"retained-{seed}", random.Random(seed)
    client = store.client()
    client.create_registered_model(name)
    experiment = client.create_experiment(name, store.artifact_location(name))
    registry = Registry(store, name)
    for _ in range(2):
        run_id = client.create_run(experiment).info.run_id
        for _ in range(2):
            registry.models[log_model(client, run_id, make_predictor(), None, None)] = run_id
    everything = dict(registry.models)
    for _ in range(40):
        registry.step(draw)
        registry.check()
    for version in sorted(registry.needs):
        client.delete_model_version(name, version)
    assert all(drop_model(client, model, store.artifacts) for model in registry.models)
    left = [path for path in (store.artifacts / name).rglob("weights.npz")]
    assert (len(everything), left) == (4, [])


def test_a_version_that_names_the_run_alone_keeps_the_runs_models(
    store: Store, make_predictor: Callable
) -> None:
    client = store.client()
    client.create_registered_model("retained-by-run")
    experiment = client.create_experiment("retained", store.artifact_location("retained"))
    run_id = client.create_run(experiment).info.run_id
    model_id = log_model(client, run_id, make_predictor(), None, None)
    with as_process_default(store.tracking_uri):
        client.create_model_version("retained-by-run", f"runs:/{run_id}/model")
    assert not drop_model(client, model_id, store.artifacts)


def test_a_model_of_an_old_version_answers_after_its_alias_is_gone(
    store: Store, make_predictor: Callable, raw_rows: pd.DataFrame
) -> None:
    client = store.client()
    experiment = client.create_experiment("retained-old", store.artifact_location("retained-old"))
    run_id = client.create_run(experiment).info.run_id
    old, new = (log_model(client, run_id, make_predictor(seed), None, None) for seed in (0, 1))
    for model_id in (old, new):
        register(client, "retained-old", model_id, run_id, {}, "")
    client.set_registered_model_alias("retained-old", "champion", "1")
    client.delete_registered_model_alias("retained-old", "champion")
    assert not drop_model(client, old, store.artifacts)
    answer = load_model("retained-old/1", store.tracking_uri).predict(raw_rows)
    pd.testing.assert_frame_equal(answer, make_predictor(0).predict(raw_rows))


def test_what_is_gone_already_is_no_error(
    store: Store, make_predictor: Callable, tmp_path: Path
) -> None:
    client = store.client()
    experiment = client.create_experiment("retained-gone", store.artifact_location("gone"))
    run_id = client.create_run(experiment).info.run_id
    model_id = log_model(client, run_id, make_predictor(), None, None)
    client.delete_logged_model(model_id)
    assert read_model(client, model_id) is None
    assert drop_model(client, model_id, store.artifacts)
    with pytest.raises(MlflowException):
        client.get_logged_model(model_id)
