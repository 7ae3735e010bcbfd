"""A study's experiment and its parent run: where it ran, on what, and the file that says so."""

from __future__ import annotations

import getpass
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.data.prepared import Prepared
from pipeline.tracking import pages, views
from pipeline.tracking.changes import Change
from pipeline.tracking.datasets import dataset_inputs
from pipeline.tracking.environment import Environment, Git
from pipeline.tracking.records import now_ms
from pipeline.tracking.runs import DISCARDED, log_files, read_run, write

if TYPE_CHECKING:
    from mlflow import MlflowClient

_NOTE = "mlflow.note.content"


def open_experiment(client: MlflowClient, name: str, location: str | None) -> str:
    """Returns the id of a study's experiment; makes it, or restores it where it was deleted."""
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is None:
        tags = {"mlflow.experimentKind": "custom_model_development"}
        try:
            made = client.create_experiment(name, artifact_location=location, tags=tags)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
            return open_experiment(client, name, location)
        client.set_experiment_tag(made, _NOTE, pages.experiment_note(name, made))
        return str(made)
    if found.lifecycle_stage != "active":
        client.restore_experiment(found.experiment_id)
        _delete_discarded(client, found.experiment_id)
    return str(found.experiment_id)


def context_tags(git: Git | None) -> dict[str, str]:
    """Returns MLflow's own tags: who runs what, at which commit."""
    from mlflow.tracking.context.default_context import DefaultRunContext
    from mlflow.tracking.context.git_context import GitRunContext
    from mlflow.tracking.context.registry import resolve_tags

    # MLflow's git tags are those of the script, which is the installed command; the study's are
    # those of the working directory. Its user is asked for where there is one to ask.
    # The hint of `ignore` says instances, the code wants classes.
    ignored: list[Any] = [GitRunContext, DefaultRunContext]
    tags = dict(resolve_tags(ignore=ignored))
    tags["mlflow.user"] = _user()
    tags["mlflow.source.name"] = Path(sys.argv[0]).name or "python"
    tags["mlflow.source.type"] = "LOCAL"
    if git is not None:
        tags["git.dirty"] = str(git.dirty).lower()
        if git.commit:
            tags["mlflow.source.git.commit"] = git.commit
        if git.branch:
            tags["mlflow.source.git.branch"] = git.branch
    return tags


def find_parent(client: MlflowClient, experiment_id: str, name: str) -> str | None:
    """Returns the parent run of a study; None where there is none that is not deleted."""
    found = client.search_runs(
        [experiment_id],
        filter_string=f"tags.kind = 'study' and tags.study = '{name}'",
        max_results=1,
        order_by=["attributes.start_time ASC"],
    )
    return str(found[0].info.run_id) if found else None


def resume_run(client: MlflowClient, run_id: str, tags: Mapping[str, str]) -> bool:
    """Opens an ended run again; returns False where it does not exist or was deleted."""
    run = read_run(client, run_id)
    if run is None or run.info.lifecycle_stage != "active":
        return False
    client.update_run(run_id, status="RUNNING")
    write(client, Change(run_id, tags=dict(tags)))
    return True


def describe_study(
    client: MlflowClient,
    run_id: str,
    name: str,
    prepared: Prepared,
    params: Mapping[str, Any],
    files: Mapping[str, str],
) -> None:
    """Gives the parent run its parameters, data sets and files."""
    known = client.get_run(run_id).data.params  # a parameter can be written once
    fresh = {key: value for key, value in params.items() if key not in known}
    write(client, Change(run_id, params=fresh))
    client.log_inputs(run_id, datasets=dataset_inputs(name, prepared))
    log_files(client, run_id, files)


def arrange_pages(
    client: MlflowClient,
    experiment_id: str,
    run_id: str,
    name: str,
    prepared: Prepared,
    searched: Sequence[str] | None,
) -> None:
    """Gives the experiment its views and its note, unless somebody has written another note."""
    if searched is not None:
        tasks = {task.name: task.metric for task in prepared.tasks}
        for key, text in views.view_tags(tasks, searched, now_ms()).items():
            client.set_experiment_tag(experiment_id, key, text)
    note = client.get_experiment(experiment_id).tags.get(_NOTE, "")
    if note.startswith(pages.note_head(name)):
        client.set_experiment_tag(
            experiment_id, _NOTE, pages.experiment_note(name, experiment_id, run_id)
        )


def study_files(text: str, environment: Environment, prepared: Prepared) -> dict[str, str]:
    """Returns the parent run's files: name to text."""
    files = {
        "study.yaml": text,
        "environment.json": json_text(environment.to_json()),
        "prepared.json": json_text(_report(prepared)),
    }
    if environment.git is not None and environment.git.dirty:
        files["git.diff"] = environment.git.diff
    return files


def json_text(values: Any) -> str:
    """Returns values as JSON; what JSON does not know is written as text."""
    return json.dumps(values, indent=1, default=str)


def _report(prepared: Prepared) -> dict[str, Any]:
    return {
        "data": prepared.data_digest,
        "prepared": prepared.prepared_digest,
        "report": asdict(prepared.report),
        "tasks": [task.to_json() for task in prepared.tasks],
    }


def _delete_discarded(client: MlflowClient, experiment_id: str) -> None:
    # Restoring an experiment restores every run that was ever deleted in it.
    for run in client.search_runs([experiment_id], f"tags.{DISCARDED} = 'true'", max_results=5000):
        client.delete_run(run.info.run_id)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return "unknown"
