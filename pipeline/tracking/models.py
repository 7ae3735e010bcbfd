"""Models of runs: saved as MLflow logged models, deleted when others become better."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from pipeline.serving.bundle import bundle
from pipeline.serving.connection import local_path, model_library
from pipeline.tracking.changes import Change

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel

    from pipeline.serving.predictor import Predictor
    from pipeline.tracking.records import TrialEnd

_TAGS = ("study", "trial", "row", "data")


def log_model(
    client: MlflowClient,
    run_id: str,
    predictor: Predictor,
    end: TrialEnd | None,
    example: pd.DataFrame | None,
) -> str:
    """Saves a model; it is READY only when all its files are there."""
    model_library()
    from mlflow.entities import LoggedModelOutput

    run = client.get_run(run_id)
    tags = {key: run.data.tags[key] for key in _TAGS if key in run.data.tags}
    logged = client.create_logged_model(
        run.info.experiment_id,
        name=_name(run.data.tags),
        source_run_id=run_id,
        model_type="multi-task",
        tags=tags,
        params={task.name: f"{task.kind}, {task.metric}" for task in predictor.tasks},
    )
    _fill(client, logged, predictor, example)
    client.log_outputs(run_id, [LoggedModelOutput(logged.model_id, step=0)])
    if end is not None:
        _log_metrics(client, run_id, logged.model_id, end)
    return str(logged.model_id)


def drop_model(client: MlflowClient, model_id: str) -> Path | None:
    """Deletes a model's record.

    Returns:
        Where its files are, still to be deleted (a remote path for a server, which keeps them);
        None where a version of the registry needs the model, which then stays.
    """
    model = client.get_logged_model(model_id)
    versions = client.search_model_versions(f"run_id = '{model.source_run_id}'")
    if any(model_id in str(version.source) for version in versions):
        return None
    client.delete_logged_model(model_id)
    return local_path(model.artifact_location) or Path(model.artifact_location)


def _fill(
    client: MlflowClient, logged: LoggedModel, predictor: Predictor, example: pd.DataFrame | None
) -> None:
    from mlflow.models import Model

    model = Model(
        artifact_path=logged.artifact_location,
        model_uuid=logged.model_id,
        run_id=logged.source_run_id,
        model_id=logged.model_id,
    )
    try:
        with bundle(predictor, model, example) as folder:
            client.log_model_artifacts(logged.model_id, str(folder))
    except BaseException:
        client.finalize_logged_model(logged.model_id, "FAILED")
        raise
    client.finalize_logged_model(logged.model_id, "READY")


def _name(tags: dict[str, str]) -> str:
    # The UI lists models by name; `/` and `:` are not allowed in it.
    return f"{tags.get('study', 'model')}-{tags.get('row', 'trial')}-{tags.get('trial', '0')}"


def _log_metrics(client: MlflowClient, run_id: str, model_id: str, end: TrialEnd) -> None:
    # The same name, value, time and step as the run's own, so that the run gets no second point.
    from mlflow.entities import Metric

    change = Change(run_id)
    change.add(end.all_metrics(), end.step, end.timestamp_ms)
    metrics = [Metric(*values, model_id=model_id, run_id=run_id) for values in change.metrics]
    client.log_batch(run_id, metrics=metrics)
