"""Prepared data as MLflow datasets: what was read, with digests of the whole content."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

import numpy as np

from pipeline.data.prepared import Part, Prepared

if TYPE_CHECKING:
    from mlflow.entities import DatasetInput

_SOURCE_LIMIT = 60_000  # characters; MLflow takes 65,535
_SCHEMA_LIMIT = 1_000_000


def part_digest(part: Part) -> str:
    """Returns 32 hexadecimal digits of everything in a part.

    MLflow's own digest reads the first 10,000 rows only.
    """
    digest = hashlib.sha256()
    arrays = [part.ids, part.numeric, part.codes]
    arrays += [part.targets[task] for task in sorted(part.targets)]
    for array in arrays:
        digest.update(f"{array.shape} {array.dtype.str}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()[:32]


def dataset_inputs(study: str, prepared: Prepared) -> list[DatasetInput]:
    """Returns one dataset for each part, with the part as its context."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    sources = {name: dict(found) for name, found in prepared.report.sources.items()}
    source = json.dumps({"sources": sources, "data": prepared.data_digest}, default=str)
    if len(source) > _SOURCE_LIMIT:
        source = json.dumps({"sources": sorted(sources), "data": prepared.data_digest})
    inputs = []
    for name, part in prepared.parts.items():
        dataset = Dataset(
            name=study,
            digest=part_digest(part),
            source_type="local",
            source=source[:_SOURCE_LIMIT],
            schema=_schema(prepared),
            profile=json.dumps(_profile(name, part, prepared)),
        )
        inputs.append(DatasetInput(dataset, [InputTag("mlflow.data.context", name)]))
    return inputs


def _schema(prepared: Prepared) -> str:
    columns = [
        {"type": "double", "name": column.name, "required": True}
        for column in prepared.encoder.numeric
    ]
    columns += [
        {"type": "string", "name": column.name, "required": True}
        for column in prepared.encoder.categorical
    ]
    text = json.dumps({"mlflow_colspec": columns})
    return text if len(text) <= _SCHEMA_LIMIT else json.dumps({"mlflow_colspec": []})


def _profile(name: str, part: Part, prepared: Prepared) -> dict[str, object]:
    labelled = {task.name: task.n_labelled.get(name, 0) for task in prepared.tasks}
    return {"num_rows": len(part), "labelled": labelled}
