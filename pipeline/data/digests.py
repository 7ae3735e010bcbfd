"""What tells prepared data apart: the settings that shape it, and its two digests.

The digest of the data says what may be compared; that of what was prepared names the cache.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from typing import Any

from numpy.typing import NDArray

from pipeline.data.columns import text_columns
from pipeline.data.encoding import Encoder
from pipeline.data.hashing import Chunk, array_bytes, digest, json_bytes, sha256
from pipeline.data.prepared import Part
from pipeline.data.text_fitting import encoder_settings
from pipeline.study.spec import StudySpec
from pipeline.tasks.base import TaskInfo
from pipeline.text.ragged import Ragged

FORMAT_VERSION = 4
"""Of the arrays; raised when they change for the same data and settings."""


def settings(spec: StudySpec) -> dict[str, Any]:
    """Returns the settings that shape the arrays; a path or a comment does not."""
    sources = {
        name: {key: value for key, value in asdict(source).items() if key not in ("path", "about")}
        for name, source in spec.sources.items()
    }
    tasks = [
        {**asdict(task), "name": name, "class_weights": repr(task.class_weights)}
        for name, task in spec.tasks.items()
    ]
    texts = {"encoder": encoder_settings(spec.model.encoder)} if text_columns(spec) else {}
    return {
        "format": FORMAT_VERSION,
        "seed": spec.seed,
        "sources": list(sources.items()),
        "split": asdict(spec.split),
        "tasks": tasks,
        **texts,
    }


def data_digest_of(parts: Mapping[str, Part], tasks: tuple[TaskInfo, ...]) -> str:
    """Digests row ids, labels and split: equal ones make two studies' scores comparable."""
    chunks: list[Chunk] = []
    for name, part in parts.items():
        chunks += [name.encode(), array_bytes(part.ids)]
        for task in tasks:
            labels = array_bytes(part.targets[task.name])
            chunks += [json_bytes([task.name, task.classes]), labels]
    return digest(chunks)


def prepared_digest_of(
    spec: StudySpec,
    data_digest: str,
    encoder: Encoder,
    tasks: tuple[TaskInfo, ...],
    parts: Mapping[str, Part],
) -> str:
    """Digests that, what was fitted on train, and the settings: names the cache."""
    fitted = [encoder.to_json(), [replace(task, n_labelled={}).to_json() for task in tasks]]
    # The vectors of texts follow from the texts and the encoder: see `TextEncoder.digest`.
    n_tabular = encoder.n_tabular
    arrays = [
        array
        for part in parts.values()
        for array in (part.numeric[:, :n_tabular], part.codes, *_flat(part.texts))
    ]
    arrays += [numbers for part in parts.values()
               for numbers in (part.groups, part.sources) if numbers is not None]  # fmt: skip
    own = sha256([json_bytes(settings(spec)), json_bytes(fitted), *map(array_bytes, arrays)])
    return digest([data_digest.encode(), own.encode()])


def _flat(texts: Mapping[str, Ragged]) -> Iterator[NDArray[Any]]:
    for rows in texts.values():
        yield from rows.arrays().values()
