"""Models of runs: saved as MLflow logged models, deleted when others become better."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from pipeline.serving.bundle import bundle
from pipeline.serving.connection import local_path, model_library
from pipeline.tracking.changes import Change

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel
    from mlflow.entities.model_registry import ModelVersion

    from pipeline.serving.predictor import Predictor
    from pipeline.tracking.records import TrialEnd


@dataclass(frozen=True)
class ModelRecord:
    """A model of an experiment as the store has it.

    Attributes:
        model_id: MLflow's id.
        run_id: The run that trained it.
        is_ready: Whether it was saved to its end.
        has_files: Whether its files are there; those of a server are taken to be.
        tags: Texts by name.
        versions: Versions of the registry that need it, as `NAME/VERSION`.
    """

    model_id: str
    run_id: str
    is_ready: bool
    has_files: bool
    tags: Mapping[str, str]
    versions: tuple[str, ...]


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


def drop_model(client: MlflowClient, model_id: str, artifacts: Path | None = None) -> bool:
    """Deletes a model, the record first: what is there can always be loaded.

    Args:
        client: Of the store.
        model_id: MLflow's id; a model that is gone already is no error.
        artifacts: Folder of the store's own files; those of a model in it are deleted too, a
            server keeps its own.

    Returns:
        False where a version of the registry needs the model, which then stays.
    """
    model = read_model(client, model_id)
    if model is None:
        return True
    if versions_of(client, model):
        return False
    client.delete_logged_model(model_id)
    location = local_path(model.artifact_location)
    if location is not None and artifacts is not None and location.is_relative_to(artifacts):
        # MLflow puts the files into a folder `artifacts` of one that is named after the model.
        whole = location.parent if location.parent.name == model_id else location
        shutil.rmtree(whole, ignore_errors=True)
    return True


def models_of(client: MlflowClient, study: str) -> list[ModelRecord]:
    """Returns the models of a study's experiment that are not deleted."""
    experiment = client.get_experiment_by_name(study)
    if experiment is None:
        return []
    found: list[LoggedModel] = []
    token = None
    while token != "":
        page = client.search_logged_models([experiment.experiment_id], page_token=token)
        found += page
        token = page.token or ""
    return [_record(client, model) for model in found]


def left_files(client: MlflowClient, folder: Path) -> list[Path]:
    """Returns files of models that no experiment has: a deletion was cut off after the record.

    Args:
        client: Of the store.
        folder: A study's folder of artifacts; an archived study has the same.
    """
    return [
        path for path in sorted((folder / "models").glob("m-*"))
        if read_model(client, path.name) is None
        and not client.search_model_versions(f"source_path LIKE '%{path.name}%'")
    ]  # fmt: skip


def _record(client: MlflowClient, model: LoggedModel) -> ModelRecord:
    location = local_path(model.artifact_location)
    return ModelRecord(
        model_id=str(model.model_id),
        run_id=str(model.source_run_id or ""),
        is_ready=str(model.status) == "READY",
        has_files=location is None or (location / "MLmodel").is_file(),
        tags=dict(model.tags),
        versions=tuple(f"{found.name}/{found.version}" for found in versions_of(client, model)),
    )


def read_model(client: MlflowClient, model_id: str) -> LoggedModel | None:
    """Returns a logged model; None where there is none, or it was deleted."""
    from mlflow.exceptions import MlflowException

    try:
        return client.get_logged_model(model_id)
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise


def versions_of(client: MlflowClient, model: LoggedModel) -> list[ModelVersion]:
    """Returns the versions of any registered model that need a model's files.

    People register in more ways than this package does: by the UI, without the run, by the path
    of the files, or by the run alone, which may then mean any of its models.
    """
    found: dict[tuple[str, str], ModelVersion] = {}
    for query in (
        f"source_path LIKE '%{model.model_id}%'",
        *([f"run_id = '{model.source_run_id}'",
           f"source_path LIKE 'runs:/{model.source_run_id}/%'"] if model.source_run_id else []),
    ):  # fmt: skip
        token = None
        while token != "":
            page = client.search_model_versions(query, page_token=token)
            found |= {(version.name, str(version.version)): version for version in page}
            token = page.token or ""
    others = re.compile(r"\bm-[0-9a-f]{32}\b")
    return [
        version for version in found.values()
        if model.model_id in str(version.source) or not others.search(str(version.source))
    ]  # fmt: skip


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
