"""Putting a study's experiment aside, so that its name is free for a fresh start."""

from __future__ import annotations

from pipeline.serving.connection import store_errors
from pipeline.tracking.store import Store


def archive_experiment(store: Store, name: str, archived: str) -> None:
    """Renames an experiment with all its runs; does nothing where there is none.

    Raises:
        StoreError: The store refused.
    """
    client = store.client()
    with store_errors(f"Archiving the experiment {name}"):
        found = client.get_experiment_by_name(name)
        if found is not None:
            client.rename_experiment(found.experiment_id, archived)
