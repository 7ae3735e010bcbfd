"""Back to a version that an alias pointed at before."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pandas as pd

from pipeline.errors import InputError, StoreError
from pipeline.promotion.decision import Decision
from pipeline.promotion.promote import now, write_record
from pipeline.promotion.registry import Pointer, move_back, need_model, tag_version
from pipeline.promotion.standalone import check_standalone
from pipeline.serving.connection import store_errors
from pipeline.serving.loading import model_folder, model_id_of
from pipeline.tracking.store import Store

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion


def roll_back(
    store: Store, model: str, alias: str, to: str | None = None, dry_run: bool = False
) -> Decision:
    """Points an alias at the version before the one that it points at, and records it.

    The version must still load without this package. It passed its gates when it was promoted;
    they are not asked again.

    Args:
        store: The store.
        model: Registered model.
        alias: To move back.
        to: An earlier version of the alias to go back to; the last one by default.
        dry_run: Tell what would happen, and write nothing.

    Raises:
        InputError: There is no such model or alias, no version before, or it cannot be loaded.
        StoreError: The registry refused, or the alias was moved meanwhile.
    """
    client = store.client()
    found = need_model(client, model, alias)
    assert found.version is not None
    version = _target(found, model, to)
    run_id = _check_version(client, model, version)
    decision = Decision(
        "rolled_back", model, version, found.version,
        details={"alias": alias, "dry_run": dry_run, "run_id": run_id, "decided": now()},
    )  # fmt: skip
    if dry_run:
        return decision
    if run_id:
        write_record(client, run_id, decision)
    move_back(store, client, model, alias, found.version, version)
    tags = {"decision": "rolled_back", "rollback": json.dumps(decision.to_json())}
    tag_version(client, model, found.version, tags)
    tag_version(client, model, version, {"decision": "promoted"})
    return decision


def _target(found: Pointer, model: str, to: str | None) -> str:
    """Returns the version to go back to."""
    earlier = found.history[:-1]
    if not earlier:
        raise InputError(
            f"{model}@{found.alias} has no version before version {found.version}, so there is "
            "nothing to roll back to. Promote another trial with `mtl promote STUDY --trial N`."
        )
    if to is not None and to not in earlier:
        raise InputError(
            f"{model}@{found.alias} can go back to a version that it pointed at before: "
            f"{', '.join(dict.fromkeys(earlier))}. Found {to}."
        )
    return to or earlier[-1]


def _check_version(client: MlflowClient, model: str, version: str) -> str:
    """Returns the run of a version that loads in a clean process."""
    with store_errors(f"Reading version {version} of {model}"):
        found: ModelVersion = client.get_model_version(model, version)
    try:
        with model_folder(client, model_id_of(found)) as folder:
            error = check_standalone(folder, pd.DataFrame()).error
    except StoreError as gone:
        error = str(gone)
    if error:
        raise InputError(
            f"Version {version} of {model} cannot be loaded any more: {error} The alias was left "
            "where it is. Name an earlier version with `--to VERSION`, or restore its files."
        )
    return found.run_id or ""
