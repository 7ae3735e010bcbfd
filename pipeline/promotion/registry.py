"""The registry: versions of a model, and the alias that applications load."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.errors import StoreError
from pipeline.serving.connection import as_process_default, store_errors
from pipeline.tracking.store import Store

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

PREVIOUS = "previous"
"""Alias of the version that the champion replaced."""

_LOCK_SECONDS = 60.0


@dataclass(frozen=True)
class Champion:
    """The version that an alias points at.

    Attributes:
        model: Registered model.
        version: Its number.
        model_id: MLflow's id of the model.
        run_id: The run that trained it.
        tags: Of the version.
    """

    model: str
    version: str
    model_id: str
    run_id: str
    tags: Mapping[str, str]


def read_champion(client: MlflowClient, model: str, alias: str) -> Champion | None:
    """Returns the version that an alias points at; None where the model or alias is new.

    Raises:
        StoreError: The registry cannot be read.
    """
    with store_errors(f"Reading the model {model}"):
        version = _aliases(client, model).get(alias)
        if version is None:
            return None
        found = client.get_model_version(model, version)
    return Champion(
        model=model,
        version=str(found.version),
        model_id=str(found.source).removeprefix("models:/"),
        run_id=found.run_id or "",
        tags=dict(found.tags),
    )


def register(
    client: MlflowClient,
    model: str,
    model_id: str,
    run_id: str,
    tags: Mapping[str, str],
    description: str,
) -> str:
    """Makes a logged model a version, or finds the version that it already is.

    Returns:
        The version's number.

    Raises:
        StoreError: The registry refused.
    """
    with store_errors(f"Registering the model {model}"):
        _open_model(client, model)
        found = _version_of(client, model, model_id, run_id)
        if found is not None:
            client.update_model_version(model, found.version, description=description)
            tag_version(client, model, str(found.version), tags)
            return str(found.version)
        with as_process_default(client.tracking_uri):  # it looks the model up on its own
            made = client.create_model_version(
                model,
                f"models:/{model_id}",
                run_id=run_id,
                model_id=model_id,
                tags=dict(tags),
                description=description,
            )
    return str(made.version)


def move_alias(
    store: Store,
    client: MlflowClient,
    model: str,
    alias: str,
    version: str,
    expected: str | None,
) -> None:
    """Points an alias at a version, and `previous` at the one before.

    The registry's aliases are last-writer-wins, so the read, the check and the write happen under
    a lock of the store; a registry that several stores share is not protected from each other's.

    Args:
        store: Whose lock is taken.
        client: Of the registry.
        model: Registered model.
        alias: To move.
        version: Where to.
        expected: The version that it pointed at when the gates were evaluated; None for no
            version.

    Raises:
        StoreError: Somebody else moved the alias meanwhile, or the registry refused.
    """
    lock = store.lock(f"registry-{model}")
    with lock.acquire(timeout=_LOCK_SECONDS), store_errors(f"Moving {model}@{alias}"):
        current = _aliases(client, model).get(alias)
        if current != expected:
            raise StoreError(
                f"{model}@{alias} was moved meanwhile, from version {expected or 'none'} to "
                f"{current or 'none'}. Promote again, to compare with the new champion."
            )
        if current == version:
            return
        if current is not None:
            client.set_registered_model_alias(model, PREVIOUS, current)
        client.set_registered_model_alias(model, alias, version)


def tag_version(client: MlflowClient, model: str, version: str, tags: Mapping[str, str]) -> None:
    """Sets tags of a version."""
    with store_errors(f"Tagging version {version} of {model}"):
        for key, value in tags.items():
            client.set_model_version_tag(model, version, key, value)


def _open_model(client: MlflowClient, model: str) -> None:
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(model)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def _aliases(client: MlflowClient, model: str) -> dict[str, str]:
    from mlflow.exceptions import MlflowException

    try:
        registered = client.get_registered_model(model)
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return {}
        raise
    return {alias: str(version) for alias, version in registered.aliases.items()}


def _version_of(
    client: MlflowClient, model: str, model_id: str, run_id: str
) -> ModelVersion | None:
    versions = client.search_model_versions(f"name = '{model}' and run_id = '{run_id}'")
    return next((v for v in versions if v.source == f"models:/{model_id}"), None)
