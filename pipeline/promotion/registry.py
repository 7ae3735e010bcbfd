"""The registry: versions of a model, and the alias that applications load."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

from filelock import FileLock, Timeout

from pipeline.errors import InputError, StoreError, near_miss
from pipeline.serving.connection import as_process_default, store_errors
from pipeline.serving.loading import model_id_of
from pipeline.tracking.store import Store

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

PREVIOUS = "previous"
"""Alias of the version that a rollback would restore."""

_LOCK_SECONDS = 60.0
_MOST_REMEMBERED = 50  # versions; a tag of a registered model takes 5,000 characters


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


@dataclass(frozen=True)
class Pointer:
    """An alias and the versions that it pointed at.

    Attributes:
        alias: The alias.
        version: Where it points; None for nowhere.
        history: The versions that it was moved to, oldest first, the current one last.
    """

    alias: str
    version: str | None
    history: tuple[str, ...]

    @property
    def before(self) -> str | None:
        """The version that a rollback restores."""
        return self.history[-2] if len(self.history) > 1 else None


def read_champion(client: MlflowClient, model: str, alias: str) -> Champion | None:
    """Returns the version that an alias points at; None where the model or alias is new.

    Raises:
        StoreError: The registry cannot be read.
        InputError: The version was not registered by this package.
    """
    with store_errors(f"Reading the model {model}"):
        version = read_pointer(client, model, alias).version
        if version is None:
            return None
        found = client.get_model_version(model, version)
    return Champion(
        model=model,
        version=str(found.version),
        model_id=model_id_of(found),
        run_id=found.run_id or "",
        tags=dict(found.tags),
    )


def read_pointer(client: MlflowClient, model: str, alias: str) -> Pointer:
    """Returns where an alias points and pointed; nowhere where the model is new."""
    from mlflow.exceptions import MlflowException

    try:
        registered = client.get_registered_model(model)
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return Pointer(alias, None, ())
        raise
    version = registered.aliases.get(alias)
    current = None if version is None else str(version)
    stored = json.loads(registered.tags.get(_history_tag(alias), "[]"))
    return Pointer(alias, current, settled(stored, current))


def settled(history: Sequence[str], current: str | None) -> tuple[str, ...]:
    """Returns an alias's history as it is told by where the alias points.

    The history is written before the alias moves forward and after it moves back, so what stands
    behind the alias's version belongs to a move that was killed or undone. A version that the
    history does not know was set by hand: it stands last.
    """
    if current is None:
        return tuple(history)
    known = list(history)
    if current not in known:
        return (*known, current)
    while known[-1] != current:
        known.pop()
    return tuple(known)


def need_model(client: MlflowClient, model: str, alias: str) -> Pointer:
    """Returns where an alias of a model points.

    Raises:
        InputError: There is no such model or alias.
        StoreError: The registry cannot be read.
    """
    with store_errors(f"Reading the model {model}"):
        found = read_pointer(client, model, alias)
        if found.version is not None:
            return found
        models = {one.name: one for one in client.search_registered_models(max_results=1000)}
    if model not in models:
        hint = near_miss(model, sorted(models)) or "It has none: promote a model first."
        raise InputError(f"The registry has no model {model}. {hint}")
    hint = near_miss(alias, sorted(set(models[model].aliases) - {PREVIOUS}))
    raise InputError(f"The model {model} has no alias {alias}. {hint or 'It has none.'}")


def register(
    client: MlflowClient,
    model: str,
    model_id: str,
    run_id: str,
    tags: Mapping[str, str],
    description: str,
) -> str:
    """Makes a logged model a version, or finds the version that it already is.

    A promotion that was killed leaves a version without alias: the next one of the same model
    finds it here.

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
    with _held(store, model, alias), store_errors(f"Moving {model}@{alias}"):
        found = _expect(client, model, alias, expected)
        if found.version == version:
            _write_previous(client, model, found)
            return
        history = (*found.history, version)
        _write_history(client, model, alias, history)
        _move(client, model, alias, history)


def move_back(
    store: Store, client: MlflowClient, model: str, alias: str, expected: str, version: str
) -> None:
    """Points an alias at a version that it pointed at before; what came after is forgotten.

    Args:
        store: Whose lock is taken.
        client: Of the registry.
        model: Registered model.
        alias: To move.
        expected: The version that it pointed at when the rollback was decided.
        version: One of the alias's history.

    Raises:
        StoreError: Somebody else moved the alias meanwhile, or the registry refused.
    """
    with _held(store, model, alias), store_errors(f"Moving {model}@{alias}"):
        history = _expect(client, model, alias, expected).history[:-1]
        history = settled(history, version)
        _move(client, model, alias, history)
        _write_history(client, model, alias, history)


def tag_version(client: MlflowClient, model: str, version: str, tags: Mapping[str, str]) -> None:
    """Sets tags of a version."""
    with store_errors(f"Tagging version {version} of {model}"):
        for key, value in tags.items():
            client.set_model_version_tag(model, version, key, value)


@contextmanager
def _held(store: Store, model: str, alias: str) -> Iterator[None]:
    """Holds a registered model: one process at a time moves its aliases.

    The registry's aliases are last-writer-wins, so the read, the check and the write happen under
    a lock. That of a database lies beside the database, whatever store its users have; of a
    server's users only those of one store hold each other up, so a move is looked at again.
    """
    lock = _lock(store, model)
    try:
        lock.acquire(timeout=_LOCK_SECONDS)
    except Timeout as error:
        raise StoreError(
            f"Another process has been moving an alias of {model} for {_LOCK_SECONDS:g} seconds. "
            f"{model}@{alias} was left where it is; wait for that process, or end it."
        ) from error
    try:
        yield
    finally:
        lock.release()


def _lock(store: Store, model: str) -> FileLock:
    prefix, name = "sqlite:///", f"registry-{model}"
    if not store.tracking_uri.startswith(prefix):
        return store.lock(name)
    folder = Path(unquote(store.tracking_uri.removeprefix(prefix))).parent
    if folder.resolve() == store.folder.resolve():
        return store.lock(name)
    return FileLock(folder / f".{name}.lock")


def _expect(client: MlflowClient, model: str, alias: str, expected: str | None) -> Pointer:
    """Returns where an alias points, which must be where it pointed when all was decided."""
    found = read_pointer(client, model, alias)
    if found.version != expected:
        raise StoreError(
            f"{model}@{alias} was moved meanwhile, from version {expected or 'none'} to "
            f"{found.version or 'none'}. Run the same command again: it decides by the new one."
        )
    return found


def _move(client: MlflowClient, model: str, alias: str, history: Sequence[str]) -> None:
    """Moves an alias to the last version of its history, and looks at it again."""
    version = history[-1]
    client.set_registered_model_alias(model, alias, version)
    found = read_pointer(client, model, alias).version
    if found != version:
        raise StoreError(
            f"{model}@{alias} was moved to version {found or 'none'} by somebody else in the "
            f"moment after it was moved to {version}. Run the same command again: it decides by "
            "the new one."
        )
    # Nothing depends on this one, so that a kill before it does no harm.
    _write_previous(client, model, Pointer(alias, version, tuple(history)))


def _write_previous(client: MlflowClient, model: str, found: Pointer) -> None:
    aliases = client.get_registered_model(model).aliases
    if found.before is not None and str(aliases.get(PREVIOUS)) != found.before:
        client.set_registered_model_alias(model, PREVIOUS, found.before)
    elif found.before is None and PREVIOUS in aliases:
        client.delete_registered_model_alias(model, PREVIOUS)


def _write_history(client: MlflowClient, model: str, alias: str, history: Sequence[str]) -> None:
    kept = json.dumps(list(history[-_MOST_REMEMBERED:]))
    client.set_registered_model_tag(model, _history_tag(alias), kept)


def _history_tag(alias: str) -> str:
    return f"history.{alias}"


def _open_model(client: MlflowClient, model: str) -> None:
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(model)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def _version_of(
    client: MlflowClient, model: str, model_id: str, run_id: str
) -> ModelVersion | None:
    versions = client.search_model_versions(f"name = '{model}' and run_id = '{run_id}'")
    return next((v for v in versions if v.source == f"models:/{model_id}"), None)
