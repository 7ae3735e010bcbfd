"""Stage 1: read sources, split, fit on train, cache. Reads no source where the cache has it."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from filelock import FileLock
from pandas import DataFrame

from pipeline.data.assembling import build_prepared, part_inputs
from pipeline.data.cache import look_up, open_prepared, remember, write_prepared
from pipeline.data.digests import settings
from pipeline.data.encoder_path import locate_encoder
from pipeline.data.hashing import digest, frame_digest, json_bytes
from pipeline.data.locating import content_digest
from pipeline.data.prepared import Prepared
from pipeline.data.sources import Source, find_source
from pipeline.data.text_encoding import Progress
from pipeline.errors import DataError, StoreError, near_miss
from pipeline.study.spec import StudySpec

__all__ = ["open_prepared", "prepare_data", "read_part"]


def prepare_data(
    spec: StudySpec,
    folder: Path,
    cache: Path,
    data_dir: Path | None = None,
    tables: Mapping[str, DataFrame] | None = None,
    progress: Progress | None = None,
) -> Prepared:
    """Prepares the data of a study, or opens what an earlier call prepared.

    Args:
        spec: The study.
        folder: Folder of the study file.
        cache: Folder of prepared data, made where it is absent.
        data_dir: Folder given by `--data` or `MTL_DATA`.
        tables: Tables passed from Python in place of files, by source.
        progress: Told how far long work is.

    Raises:
        StudyError: The study names columns that its sources lack.
        DataError: A source cannot be read, or its columns, labels or split break a rule.
        StoreError: The cache cannot be written.
    """
    sources = find_sources(spec, folder, data_dir, tables or {})
    spec = locate_encoder(spec, folder, data_dir)
    key = _key(spec, sources)
    try:
        index = cache / "index"
        index.mkdir(parents=True, exist_ok=True)
        with FileLock(index / f"{key}.lock"):
            found, damage = look_up(cache, key)
            if found is not None:
                return found
            built = _build(spec, sources, progress)
            written = open_prepared(write_prepared(built, cache, temporary=key))
            remember(cache, key, written.prepared_digest)
    except OSError as error:
        raise StoreError(
            f"The cache {cache} cannot be written: {error}. Name another store by `--store DIR`."
        ) from error
    if damage:
        warnings = (damage, *written.report.warnings)
        return replace(written, report=replace(written.report, warnings=warnings))
    return written


def read_part(
    spec: StudySpec,
    folder: Path,
    part: str,
    data_dir: Path | None = None,
    tables: Mapping[str, DataFrame] | None = None,
    columns: Sequence[str] | None = None,
) -> DataFrame:
    """Reads the raw inputs of one part again, in the order of its prepared rows.

    Args:
        spec: The study.
        folder: Folder of the study file.
        part: `train`, `valid` or `test`.
        data_dir: Folder given by `--data` or `MTL_DATA`.
        tables: Tables passed from Python in place of files, by source.
        columns: Those to return; by default the study's own inputs. See `part_inputs`.

    Raises:
        DataError: A source cannot be read any more.
    """
    sources = find_sources(spec, folder, data_dir, tables or {})
    return part_inputs(spec, {source.name: source.read() for source in sources}, part, columns)


def find_sources(
    spec: StudySpec, folder: Path, data_dir: Path | None, tables: Mapping[str, DataFrame]
) -> list[Source]:
    """Finds the files of every source without reading them.

    Raises:
        DataError: A file is missing, or a table is passed for a source that the study lacks.
    """
    for name in tables:
        if name not in spec.sources:
            hint = near_miss(name, list(spec.sources))
            raise DataError(f"`tables` names `{name}`, which is no source of the study. {hint}")
    return [
        find_source(name, source, folder, data_dir, tables.get(name))
        for name, source in spec.sources.items()
    ]


def _key(spec: StudySpec, sources: list[Source]) -> str:
    """Hashes the settings, and what tells whether a source has changed since it was read."""
    stamps: list[Any] = []
    for source in sources:
        if source.table is not None:
            stamps.append(["table", frame_digest(source.table)])
        else:
            stamps.append([file.stamp() for file in source.files])
    return digest([json_bytes([settings(spec), stamps])])


def _build(spec: StudySpec, sources: list[Source], progress: Progress | None) -> Prepared:
    frames: dict[str, DataFrame] = {}
    found: dict[str, dict[str, Any]] = {}
    for source in sources:
        frame = source.read(progress=progress)
        frames[source.name] = frame
        found[source.name] = {
            "path": [file.label for file in source.files] or [source.spec.builtin or "table"],
            "n_rows": len(frame),
            "sha256": content_digest(source.files) if source.files else frame_digest(frame),
            "columns": [str(column) for column in frame.columns],
        }
    return build_prepared(spec, frames, found, progress)
