"""What a study keeps: the models of its best trials, the shipped one, and what is registered."""

from pathlib import Path

import pandas as pd
import pytest
from stage_cases import Chain, chain_study, people

from pipeline import load_model, promote, search
from pipeline.driver.records import best_trials
from pipeline.errors import InputError
from pipeline.serving.connection import local_path
from pipeline.tracking.store import Store

ROWS = people().tail(5)
QUICK = {
    "search__finalists": None, "search__keep": 1, "train__epochs": 12,
    "train__lr": {"low": 1e-2, "high": 1e-1, "log": True},
}  # fmt: skip


@pytest.fixture(scope="module")
def chain(store: Store) -> Chain:
    """A study that keeps one model; its second best trial is registered under an alias."""
    made = Chain(chain_study("retained_chain", **QUICK), people(), store)
    search(made.study, 4, n_workers=1, **made.where)
    second = best_trials(made.trials, 2)[1]
    found = promote(made.study, second.number, **made.where)
    assert found.version == "1"
    return made


def logged(chain: Chain) -> set[str]:
    """Runs of the study's trials that have a model, as MLflow lists them."""
    client = chain.store.client()
    experiment = client.get_experiment_by_name(chain.study.spec.name)
    models = client.search_logged_models([experiment.experiment_id])
    for model in models:
        location = local_path(model.artifact_location)
        assert location is not None
        assert (location / "MLmodel").is_file()
    folder = chain.store.artifacts / chain.study.spec.name / "models"
    assert {path.name for path in folder.iterdir()} == {model.model_id for model in models}
    return {str(model.source_run_id) for model in models}


def test_a_registered_trial_that_falls_out_of_the_best_stays(chain: Chain) -> None:
    before = load_model("retained_chain@champion", chain.store).predict(ROWS)
    best, second = (trial.run_id for trial in best_trials(chain.trials, 2))
    assert logged(chain) == {best, second}
    search(chain.study, 8, n_workers=1, **chain.where)  # it publishes, and drops what it may
    assert logged(chain) == {best_trials(chain.trials, 1)[0].run_id, second}
    after = load_model("retained_chain@champion", chain.store).predict(ROWS)
    pd.testing.assert_frame_equal(after, before)

    # Without its alias it is a version still; without its version nobody needs it.
    client = chain.store.client()
    client.delete_registered_model_alias("retained_chain", "champion")
    search(chain.study, 9, n_workers=1, **chain.where)
    pd.testing.assert_frame_equal(load_model("retained_chain/1", chain.store).predict(ROWS), before)
    client.delete_model_version("retained_chain", "1")
    search(chain.study, 10, n_workers=1, **chain.where)
    assert logged(chain) == {best_trials(chain.trials, 1)[0].run_id}
    with pytest.raises(InputError, match="has no model"):
        load_model(second, chain.store)


def test_a_model_that_somebody_deleted_does_not_stop_the_search(
    store: Store, tmp_path: Path
) -> None:
    made = Chain(chain_study("retained_lost", **QUICK), people(), store)
    search(made.study, 4, n_workers=1, **made.where)
    (model_id,) = made.folder.record()["models"].values()
    store.client().delete_logged_model(model_id)
    search(made.study, 8, n_workers=1, **made.where)
    kept = made.folder.record()["models"]
    assert [*kept] == [best_trials(made.trials, 1)[0].key]
