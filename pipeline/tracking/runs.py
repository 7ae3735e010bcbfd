"""Each write to MLflow's runs, safe to repeat."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pipeline.tracking.records import RunRecord

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

_PARAM_LIMIT = 6000  # characters; MLflow cuts silently
_TAG_LIMIT = 8000
DISCARDED = "discarded"
"""Tag of a run that was deleted because its trial was made again."""


@dataclass
class Buffer:
    """What waits to be written to one run.

    Attributes:
        metrics: Name, value, time in milliseconds, step.
        params: Values by name.
        tags: Texts by name.
        since: Monotonic time in seconds of the last write.
    """

    metrics: list[tuple[str, float, int, int]] = field(default_factory=list)
    params: dict[str, Any] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    since: float = field(default_factory=time.monotonic)

    @property
    def empty(self) -> bool:
        """Whether nothing waits."""
        return not (self.metrics or self.params or self.tags)

    def add(self, metrics: Mapping[str, float], step: int, timestamp_ms: int) -> None:
        """Appends values of one step."""
        for name, value in metrics.items():
            # MLflow turns an infinity into 1.8e308, which flattens every chart.
            finite = float(value) if math.isfinite(value) else math.nan
            self.metrics.append((name, finite, timestamp_ms, step))


def create_run(
    client: MlflowClient, experiment_id: str, name: str, tags: Mapping[str, str], started_ms: int
) -> str:
    """Opens a run and returns its id."""
    texts = {key: _cut(value, _TAG_LIMIT) for key, value in tags.items()}
    run = client.create_run(experiment_id, start_time=started_ms, tags=texts, run_name=name)
    return str(run.info.run_id)


def log_buffer(client: MlflowClient, run_id: str, buffer: Buffer) -> None:
    """Writes a buffer in one batch; writing it again changes nothing.

    A parameter that MLflow would cut ends with a digest of the whole, which goes to the artifact
    params.json.
    """
    from mlflow.entities import Metric, Param, RunTag

    params = {key: _text(value) for key, value in buffer.params.items()}
    client.log_batch(
        run_id,
        metrics=[Metric(*values) for values in buffer.metrics],
        params=[Param(key, _cut(value, _PARAM_LIMIT)) for key, value in params.items()],
        tags=[RunTag(key, _cut(value, _TAG_LIMIT)) for key, value in buffer.tags.items()],
    )
    if any(len(value) > _PARAM_LIMIT for value in params.values()):
        client.log_text(run_id, json.dumps(params, indent=1), "params.json")


def end_run(
    client: MlflowClient,
    run_id: str,
    status: str,
    ended_ms: int,
    buffer: Buffer,
    files: Mapping[str, str],
) -> None:
    """Writes what is left of a run and ends it."""
    log_buffer(client, run_id, buffer)
    log_files(client, run_id, files)
    client.set_terminated(run_id, status=status, end_time=ended_ms)


def discard(client: MlflowClient, run_id: str) -> None:
    """Ends a run as interrupted and deletes it; one that is gone already stays so."""
    run = read_run(client, run_id)
    if run is None or run.info.lifecycle_stage != "active":
        return
    log_buffer(client, run_id, Buffer(tags={"state": "interrupted", DISCARDED: "true"}))
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


def _text(value: Any) -> str:
    if isinstance(value, list | tuple | dict):
        return json.dumps(value, separators=(",", ":"))
    return str(value)


def _cut(text: str, limit: int) -> str:
    if len(text) <= limit:
        return text
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    mark = f"... cut, sha256 {digest}"
    return text[: limit - len(mark)] + mark
