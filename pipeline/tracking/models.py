"""Models of runs: saved as MLflow logged models, deleted when others become better."""

from __future__ import annotations

from collections.abc import Mapping
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
    digests: Mapping[str, str] | None = None,
) -> str:
    """Saves a model; it is READY only when all its files are there.

    Args:
        client: Of the store.
        run_id: Of the trial.
        predictor: The model.
        end: The trial's end, whose metrics the model is listed with.
        example: A few raw rows, kept with the model.
        digests: Part of the data to its digest, where it is known.
    """
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
        values = Change(run_id)
        values.add(end.all_metrics(), end.step, end.timestamp_ms)
        log_metrics(client, logged.model_id, values, tags.get("study", ""), digests or {})
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


def log_metrics(
    client: MlflowClient, model_id: str, values: Change, study: str, digests: Mapping[str, str]
) -> None:
    """Lists a model with metrics, each with the data set that its first part names.

    Args:
        client: Of the store.
        model_id: Of the model.
        values: Metrics of its run. With the same name, value, time and step as the run's own, the
            run gets no second point.
        study: Name of the data sets.
        digests: Part of the data to its digest.
    """
    from mlflow.entities import Metric

    metrics = []
    for name, value, timestamp_ms, step in values.metrics:
        part = "valid" if name == "score" else name.partition("/")[0]
        digest = digests.get(part)
        metrics.append(
            Metric(
                name,
                value,
                timestamp_ms,
                step,
                model_id=model_id,
                run_id=values.run_id,
                dataset_name=study if digest else None,
                dataset_digest=digest,
            )
        )
    client.log_batch(values.run_id, metrics=metrics)
