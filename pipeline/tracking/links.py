"""Where in MLflow's UI a study's results are: looked up in the store, given as pages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.errors import InputError
from pipeline.serving.connection import store_errors
from pipeline.tracking import pages
from pipeline.tracking.parent import find_parent

if TYPE_CHECKING:
    from mlflow import MlflowClient

MOST_COMPARED = 10
"""Runs of the page that compares the best: more are hard to tell apart."""


def study_pages(
    client: MlflowClient, name: str, shipped_run_id: str | None, model: str, alias: str
) -> dict[str, str]:
    """Returns the pages of a study by what they show; those of which there is nothing are absent.

    Args:
        client: Of the store.
        name: Of the study.
        shipped_run_id: Run whose model the study ends with; None where that is not known.
        model: Registered name.
        alias: Of the champion.

    Raises:
        InputError: The store has no experiment of this name.
        StoreError: The store refused.
    """
    with store_errors(f"Looking for the study {name}"):
        found = client.get_experiment_by_name(name)
        if found is None or found.lifecycle_stage != "active":
            raise InputError(
                f"There is no experiment {name} in this store. Run `mtl search` first, or name "
                "the study's store with `--store DIR` or `--tracking-uri URI`."
            )
        experiment_id = str(found.experiment_id)
        shown = {
            "trials": pages.view_page(experiment_id, pages.TRIALS),
            "charts": pages.view_page(experiment_id, pages.TRIALS, charts=True),
        }
        parent = find_parent(client, experiment_id, name)
        if parent is not None:
            shown["study"] = pages.run_page(experiment_id, parent)
        best = _best_runs(client, experiment_id)
        if len(best) > 1:
            shown[f"compare the best {len(best)}"] = pages.compare_page(experiment_id, best)
        if shipped_run_id is not None:
            shown["finalist"] = pages.run_page(experiment_id, shipped_run_id)
            shown |= _logged_model(client, experiment_id, shipped_run_id)
        return shown | _champion(client, model, alias)


def _best_runs(client: MlflowClient, experiment_id: str) -> list[str]:
    runs = client.search_runs(
        [experiment_id],
        filter_string=pages.trials_condition("complete"),
        max_results=MOST_COMPARED,
        order_by=["metrics.score DESC"],
    )
    return [str(run.info.run_id) for run in runs]


def _logged_model(client: MlflowClient, experiment_id: str, run_id: str) -> dict[str, str]:
    outputs = client.get_run(run_id).outputs
    models = outputs.model_outputs if outputs is not None else []
    return {"model": pages.model_page(experiment_id, models[-1].model_id)} if models else {}


def _champion(client: MlflowClient, model: str, alias: str) -> dict[str, str]:
    from mlflow.exceptions import MlflowException

    try:
        found = client.get_model_version_by_alias(model, alias)
    except MlflowException:  # nothing is promoted yet
        return {}
    return {f"{model}@{alias}": pages.version_page(model, str(found.version))}
