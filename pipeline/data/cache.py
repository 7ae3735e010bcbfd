"""The prepared cache: a folder a data set, written whole or not at all, read memory-mapped.

```
cache/DIGEST/prepared.json   everything but the arrays; lists each array's file and size
cache/DIGEST/PART.NAME.npy   the arrays; encoder.NAME.npy are those of the encoder
cache/DIGEST/documentsN.json the documents that the rows of task N are pieces of
cache/index/KEY.json         KEY: hash of settings and of the files' stamps -> DIGEST
```
"""

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.data.digests import FORMAT_VERSION
from pipeline.data.encoding import Encoder
from pipeline.data.prepared import PARTS, Part, Prepared, PrepareReport
from pipeline.errors import DataError
from pipeline.tasks.base import TaskInfo
from pipeline.tasks.documents import Documents
from pipeline.text.ragged import Ragged

_DOCUMENT = "prepared.json"
_TEXT = "text."  # begins the names of ragged rows


def write_prepared(prepared: Prepared, cache: Path, temporary: str) -> Path:
    """Writes the cache folder of prepared data and returns its path.

    The files are written and synced in a folder of their own, which is renamed at the end: a
    reader finds all or nothing. Equal data that is already there is left as it is.

    Args:
        prepared: What to write.
        cache: Folder of all caches.
        temporary: Name of the folder to write in first; what a killed writer left there is
            removed. Callers hold a lock on it.
    """
    target = cache / prepared.prepared_digest
    draft = cache / f"{temporary}.draft"
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    arrays = {f"{name}.{key}.npy": array
              for name, part in prepared.parts.items()
              for key, array in _arrays(part, prepared.tasks).items()}  # fmt: skip
    arrays |= {f"encoder.{name}.npy": array for name, array in prepared.encoder.arrays().items()}
    sizes = {file: _write_array(draft / file, array) for file, array in arrays.items()}
    for index, task in enumerate(prepared.tasks):
        if task.name in prepared.documents:
            file = f"documents{index}.json"
            stored = prepared.documents[task.name].to_json()
            _write_text(draft / file, json.dumps(stored, ensure_ascii=False))
            sizes[file] = (draft / file).stat().st_size
    _write_text(draft / _DOCUMENT, json.dumps(_document(prepared, sizes), indent=1))
    _sync_folder(draft)
    if is_whole(target):
        shutil.rmtree(draft)
    else:
        shutil.rmtree(target, ignore_errors=True)
        draft.rename(target)
        _sync_folder(cache)
    return target


def open_prepared(folder: Path) -> Prepared:
    """Opens a cache folder; the arrays stay on disk and are read when used.

    They are mapped copy-on-write, so that torch may wrap them: nothing reaches the disk.

    Raises:
        DataError: The folder is no whole cache of this version.
    """
    try:
        document = json.loads((folder / _DOCUMENT).read_text(encoding="utf-8"))
        if document["format"] != FORMAT_VERSION:
            raise DataError(f"{folder} was written by another version of this package.")
        for file, size in document["files"].items():
            if (folder / file).stat().st_size != size:
                raise DataError(f"{folder} is damaged: {file} was cut short.")
        return _restore(folder, document)
    except FileNotFoundError as error:
        missing = Path(str(error.filename)).name
        raise DataError(f"{folder} is no prepared data: {missing} is missing.") from error
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{folder} is damaged: {error!r}.") from error


def look_up(cache: Path, key: str) -> tuple[Prepared | None, str]:
    """Returns the prepared data that was stored under a key, or None; and what was damaged."""
    entry = cache / "index" / f"{key}.json"
    if not entry.exists():
        return None, ""
    try:
        return open_prepared(cache / str(json.loads(entry.read_text())["prepared"])), ""
    except (DataError, ValueError, KeyError) as error:
        return None, f"The cache was damaged and was built again: {error}"


def remember(cache: Path, key: str, prepared_digest: str) -> None:
    """Notes under which key prepared data can be found again."""
    entry = cache / "index" / f"{key}.json"
    entry.parent.mkdir(parents=True, exist_ok=True)
    draft = entry.with_suffix(".draft")
    _write_text(draft, json.dumps({"prepared": prepared_digest}))
    os.replace(draft, entry)


def _arrays(part: Part, tasks: tuple[TaskInfo, ...]) -> dict[str, NDArray[Any]]:
    arrays: dict[str, NDArray[Any]] = {
        "numeric": part.numeric, "codes": part.codes, "ids": part.ids,
        **{f"target{i}": part.targets[task.name] for i, task in enumerate(tasks)},
    }  # fmt: skip
    numbers = {"groups": part.groups, "sources": part.sources, "marks": part.marks}
    arrays |= {name: array for name, array in numbers.items() if array is not None}
    for name, rows in part.texts.items():
        arrays |= {f"{_TEXT}{name}.{key}": array for key, array in rows.arrays().items()}
    return arrays


def _document(prepared: Prepared, sizes: Mapping[str, int]) -> dict[str, Any]:
    return {
        "format": FORMAT_VERSION,
        "data_digest": prepared.data_digest,
        "prepared_digest": prepared.prepared_digest,
        "encoder": prepared.encoder.to_json(),
        "tasks": [task.to_json() for task in prepared.tasks],
        "report": asdict(prepared.report),
        "files": dict(sizes),
    }


def _restore(folder: Path, document: Mapping[str, Any]) -> Prepared:
    tasks = tuple(TaskInfo.from_json(task) for task in document["tasks"])
    report = PrepareReport(**document["report"])
    return Prepared(
        parts={name: _restore_part(folder, name, tasks, document["files"]) for name in PARTS},
        encoder=Encoder.from_json(
            document["encoder"], _named(folder, "encoder", document["files"])
        ),
        tasks=tasks,
        data_digest=document["data_digest"],
        prepared_digest=document["prepared_digest"],
        report=replace(report, warnings=tuple(report.warnings)),
        folder=folder,
        documents={
            task.name: Documents.from_json(json.loads((folder / file).read_text("utf-8")))
            for index, task in enumerate(tasks)
            if (file := f"documents{index}.json") in document["files"]
        },
    )


def _restore_part(
    folder: Path, name: str, tasks: tuple[TaskInfo, ...], files: Mapping[str, int]
) -> Part:
    arrays = _named(folder, name, files)
    texts: dict[str, dict[str, NDArray[Any]]] = {}
    for key in arrays:
        if key.startswith(_TEXT):
            text, _, field = key.removeprefix(_TEXT).rpartition(".")
            texts.setdefault(text, {})[field] = arrays[key]
    return Part(
        numeric=arrays["numeric"],
        codes=arrays["codes"],
        targets={task.name: arrays[f"target{i}"] for i, task in enumerate(tasks)},
        ids=arrays["ids"],
        groups=arrays.get("groups"),
        texts={text: Ragged(**fields) for text, fields in texts.items()},
        sources=arrays.get("sources"),
        marks=arrays.get("marks"),
    )


def _named(folder: Path, prefix: str, files: Mapping[str, int]) -> dict[str, NDArray[Any]]:
    """Maps the arrays whose files begin with a prefix, by the rest of their names."""
    return {
        file.removeprefix(f"{prefix}.").removesuffix(".npy"): _map(folder / file)
        for file in files
        if file.startswith(f"{prefix}.")
    }


def _map(path: Path) -> NDArray[Any]:
    found: NDArray[Any] = np.load(path, mmap_mode="c", allow_pickle=False)
    return found


def _write_array(path: Path, array: NDArray[Any]) -> int:
    with path.open("wb") as stream:
        np.save(stream, np.ascontiguousarray(array), allow_pickle=False)
        stream.flush()
        os.fsync(stream.fileno())
        return stream.tell()


def _write_text(path: Path, text: str) -> None:
    with path.open("w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":  # Windows opens no folders; a rename there is durable by itself
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def is_whole(folder: Path) -> bool:
    """Tells whether a folder is a whole cache of this version."""
    try:
        open_prepared(folder)
    except DataError:
        return False
    return True
