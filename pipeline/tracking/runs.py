"""Each write to MLflow's runs through its client, safe to repeat."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from pipeline.tracking.changes import Change, NewRun, cut_param, cut_tag
from pipeline.tracking.records import RunRecord

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

DISCARDED = "discarded"
"""Tag of a run that was deleted because its trial was made again."""


def create_runs(client: MlflowClient, experiment_id: str, new: Sequence[NewRun]) -> list[str]:
    """Opens runs and returns their ids, in the same order."""
    made = []
    for run in new:
        tags = {key: cut_tag(value) for key, value in run.tags.items()}
        opened = client.create_run(
            experiment_id, start_time=run.started_ms, tags=tags, run_name=run.name
        )
        made.append(str(opened.info.run_id))
    return made


def write(client: MlflowClient, change: Change) -> None:
    """Writes what waits for a run in one batch, keeps its files, and ends it if it ends.

    A parameter that MLflow would cut ends with a digest of the whole, which goes to the artifact
    params.json.
    """
    from mlflow.entities import Metric, Param, RunTag

    texts = change.texts()
    params = {key: cut_param(value) for key, value in texts.items()}
    client.log_batch(
        change.run_id,
        metrics=[Metric(*values) for values in change.metrics],
        params=[Param(key, value) for key, value in params.items()],
        tags=[RunTag(key, cut_tag(value)) for key, value in change.tags.items()],
    )
    if params != texts:
        client.log_text(change.run_id, json.dumps(texts, indent=1), "params.json")
    log_files(client, change.run_id, change.files)
    if change.status is not None:
        client.set_terminated(change.run_id, status=change.status, end_time=change.ended_ms)


def discard(client: MlflowClient, run_id: str) -> None:
    """Ends a run as interrupted and deletes it; one that is gone already stays so."""
    run = read_run(client, run_id)
    if run is None or run.info.lifecycle_stage != "active":
        return
    write(client, Change(run_id, tags={"state": "interrupted", DISCARDED: "true"}))
    client.set_terminated(run_id, status="KILLED")
    client.delete_run(run_id)


def children(client: MlflowClient, parent_run_id: str) -> list[RunRecord]:
    """Returns the runs of a study that are not deleted, by trial number."""
    experiment_id = client.get_run(parent_run_id).info.experiment_id
    found: list[RunRecord] = []
    token = None
    while True:
        page = client.search_runs(
            [experiment_id],
            filter_string=f"tags.`mlflow.parentRunId` = '{parent_run_id}'",
            max_results=1000,
            order_by=["attributes.start_time ASC"],
            page_token=token,
        )
        found += [_record(run) for run in page]
        token = page.token
        if not token:
            break
    return sorted(found, key=lambda run: (run.number is None, run.number or 0))


def _record(run: Run) -> RunRecord:
    tags = run.data.tags
    number = tags.get("trial", "")
    return RunRecord(
        run_id=run.info.run_id,
        number=int(number) if number.isdigit() else None,
        status=run.info.status,
        state=tags.get("state", ""),
        row=tags.get("row"),
    )


def read_run(client: MlflowClient, run_id: str) -> Run | None:
    """Returns a run, deleted ones too; None where there is no such run."""
    from mlflow.exceptions import MlflowException

    try:
        return client.get_run(run_id)
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise


def log_files(client: MlflowClient, run_id: str, files: Mapping[str, str]) -> None:
    """Keeps texts as artifacts, by path."""
    for name, text in files.items():
        client.log_text(run_id, text, name)
