"""From tables to `Prepared`, in memory: split, decide columns, fit on train, encode."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.data.columns import (
    ColumnType,
    beside_warnings,
    input_columns,
    left_out_warnings,
    listed_types,
    text_columns,
    type_columns,
)
from pipeline.data.digests import data_digest_of, prepared_digest_of
from pipeline.data.doubles import count_doubles, doubled_notes, drop_doubles
from pipeline.data.encoding import Encoded, Encoder
from pipeline.data.fitting import fit_encoder
from pipeline.data.hashing import row_hashes
from pipeline.data.leaks import refuse_leaks
from pipeline.data.linear_fitting import fit_linear_terms
from pipeline.data.pieces import Pieces, with_pieces
from pipeline.data.prepared import PARTS, Part, Prepared, PrepareReport
from pipeline.data.references import reference_faults
from pipeline.data.rows import (
    SourceRows,
    all_parts,
    group_numbers,
    join_inputs,
    rows_of,
    source_numbers,
    split_source,
    ungrouped_notes,
)
from pipeline.data.screening import column_warnings
from pipeline.data.targets import expand_tasks, fit_tasks
from pipeline.data.text_encoding import Progress, named_progress, refuse_no_texts
from pipeline.data.text_fitting import fit_texts, text_notes
from pipeline.data.views import with_views
from pipeline.errors import DataError, StudyError
from pipeline.study.spec import StudySpec
from pipeline.tasks.base import Kind, TaskInfo
from pipeline.tasks.registry import kind_of
from pipeline.text.ragged import TERMS
from pipeline.text.reduction import as_matrix


def build_prepared(
    spec: StudySpec,
    frames: Mapping[str, pd.DataFrame],
    sources: Mapping[str, Mapping[str, Any]],
    progress: Progress | None = None,
) -> Prepared:
    """Prepares tables that are in memory; writes nothing.

    Args:
        spec: The study.
        frames: All rows of each source, in the order of the study file.
        sources: What identifies each source's content, for the report.
        progress: Told how far long work is.

    Raises:
        StudyError: The study names columns that its sources lack.
        DataError: Columns, labels or the split break a rule.
    """
    faults = reference_faults(spec, {name: list(map(str, frame)) for name, frame in frames.items()})
    if faults:
        raise StudyError(faults)
    for name, frame in frames.items():  # before the split, so that an error names the row
        for column in spec.sources[name].text_columns:
            refuse_no_texts(frame[column])
    notes, named = ungrouped_notes(spec, frames), list(spec.sources)
    notes += text_notes(spec, frames)
    joined = _join(spec, frames, progress)
    spec, rows, types, pieces = joined.spec, joined.rows, joined.types, joined.pieces
    warnings = left_out_warnings(joined.left_out) + beside_warnings(spec, pieces.frames)
    if not types and not text_columns(spec):
        raise DataError(" ".join(["No column is left as an input.", *warnings]))
    warnings += column_warnings(spec, rows, list(types))
    hashes = row_hashes(joined.inputs)
    notes += doubled_notes(rows, hashes, named)
    counts = count_doubles(rows, hashes, pieces.origins)
    rows, inputs, n_dropped = drop_doubles(spec, rows, joined.inputs, hashes)
    tasks, targets, rare = _fit_labels(spec, rows)  # wrong labels are told before long work
    warnings += rare + refuse_leaks(spec, rows, list(types))
    encoder, encoded, more = _encode(joined, rows, inputs, tasks, targets, progress)
    parts = _cut_parts(rows, encoded, targets)
    data_digest = data_digest_of(parts, tasks)
    return Prepared(
        parts=parts,
        encoder=encoder,
        tasks=tasks,
        data_digest=data_digest,
        prepared_digest=prepared_digest_of(spec, data_digest, encoder, tasks, parts),
        report=PrepareReport(
            n_rows={name: len(part) for name, part in parts.items()},
            duplicates=counts,
            dropped=n_dropped,
            warnings=(*notes, *pieces.warnings, *warnings, *more),
            sources=sources,
        ),
        documents=pieces.documents,
    )


def part_inputs(
    spec: StudySpec,
    frames: Mapping[str, pd.DataFrame],
    part: str,
    columns: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Returns the raw inputs of one part, in the order of its prepared rows.

    For a model with another encoder, such as one trained on an earlier state of the data.

    Args:
        spec: The study.
        frames: All rows of each source, as for `build_prepared`.
        part: `train`, `valid` or `test`.
        columns: Those to return, also such as the study drops; by default its own inputs. One
            that no source has is left out.
    """
    joined = _join(spec, frames)
    spec, inputs = joined.spec, joined.inputs
    rows, kept, _ = drop_doubles(spec, joined.rows, inputs, row_hashes(inputs))
    if columns is not None:
        texts = text_columns(spec)
        there = {column for found in rows.values() for column in found.frame}
        others = [name for name in columns if name in there and name not in texts]
        kept = join_inputs(spec, rows, others)
    inside: pd.DataFrame = kept[all_parts(rows) == part]
    return inside.reset_index(drop=True)


@dataclass(frozen=True)
class _Joined:
    """The split rows of all sources, and what their inputs are.

    Attributes:
        spec: The study, in which views and pieces are sources of their own.
        pieces: Documents of the summaries, and their pieces.
        rows: The rows of each source.
        types: What each input column that is no text holds, as the train rows tell.
        left_out: Why each other column is no input.
        inputs: These columns and the texts, of the rows of all sources.
    """

    spec: StudySpec
    pieces: Pieces
    rows: dict[str, SourceRows]
    types: Mapping[str, ColumnType]
    left_out: Mapping[str, str]
    inputs: pd.DataFrame


def _join(
    spec: StudySpec, frames: Mapping[str, pd.DataFrame], progress: Progress | None = None
) -> _Joined:
    pieces = with_pieces(*with_views(spec, frames), progress)
    spec, frames = pieces.spec, pieces.frames
    rows = {name: split_source(spec, name, frame) for name, frame in frames.items()}
    names = input_columns(spec, frames)
    inputs = join_inputs(spec, rows, names)
    train = inputs[all_parts(rows) == "train"]
    types, left_out = type_columns(train, names, listed_types(spec))
    return _Joined(spec, pieces, rows, types, left_out, inputs[[*types, *text_columns(spec)]])


def _fit_labels(
    spec: StudySpec, rows: Mapping[str, SourceRows]
) -> tuple[tuple[TaskInfo, ...], dict[str, NDArray[np.float32]], list[str]]:
    frames = {name: found.frame for name, found in rows.items()}
    parts = {name: found.parts for name, found in rows.items()}
    return fit_tasks(spec, expand_tasks(spec, frames, parts), frames, parts)


def _encode(
    joined: _Joined,
    rows: Mapping[str, SourceRows],
    inputs: pd.DataFrame,
    tasks: Sequence[TaskInfo],
    targets: Mapping[str, NDArray[np.float32]],
    progress: Progress | None,
) -> tuple[Encoder, Encoded, list[str]]:
    """Fits on train what makes numbers of inputs, and encodes all rows; notes what is lost."""
    spec, texts = joined.spec, text_columns(joined.spec)
    train = all_parts(rows) == "train"
    # Ten clauses of a document would count ten times what it says as a row of its own.
    once = train & ~rows_of(rows, joined.pieces.repeated)
    text = fit_texts(inputs[once], texts, spec.model.encoder, progress) if texts else None
    encoder, notes = fit_encoder(inputs[train], joined.types, text)
    encoded = encoder.encode_all(inputs, progress)
    notes += _cut_notes(encoded, rows_of(rows, joined.pieces.origins))
    if text is not None and spec.model.encoder.linear:
        documents = joined.pieces.documents
        kinds = [kind_of(info).with_documents(documents.get(info.name)) for info in tasks]
        groups = group_numbers(rows)
        told = named_progress(progress, "Fitting linear models, tasks")
        encoder, encoded = _with_linear(encoder, encoded, kinds, targets, groups, train, told)
    return encoder, encoded, notes


def _with_linear(
    encoder: Encoder,
    encoded: Encoded,
    kinds: Sequence[Kind],
    targets: Mapping[str, NDArray[np.float32]],
    groups: NDArray[np.int64] | None,
    train: NDArray[np.bool_],
    progress: Callable[[int, int], None] | None,
) -> tuple[Encoder, Encoded]:
    """Fits linear models of the terms and puts what they say behind the vectors of all rows."""
    assert encoder.text is not None  # it gave the terms
    rows, inside = encoded.texts[TERMS], np.flatnonzero(train)
    linear, crossed = fit_linear_terms(
        as_matrix(rows.take(inside), encoder.text.vocabulary[TERMS]),
        kinds,
        {name: target[inside] for name, target in targets.items()},
        None if groups is None else groups[inside],
        progress,
    )
    said = linear.say(rows)
    said[inside] = crossed
    numeric = np.concatenate([encoded.numeric, said], axis=1)
    with_linear = replace(encoder, text=replace(encoder.text, linear=linear))
    return with_linear, replace(encoded, numeric=numeric)


def _cut_notes(encoded: Encoded, is_piece: NDArray[np.bool_]) -> list[str]:
    """Returns sentences about documents, and pieces of them, that were not read to their end."""
    named = {"documents": ~is_piece, "pieces of documents": is_piece}
    return [
        note
        for cut in encoded.cuts
        for what, inside in named.items()
        for note in cut.notes(inside, what)
    ]


def _cut_parts(
    rows: Mapping[str, SourceRows],
    encoded: Encoded,
    targets: Mapping[str, NDArray[np.float32]],
) -> dict[str, Part]:
    ids = np.concatenate([found.ids for found in rows.values()])
    marks = np.concatenate([found.marks for found in rows.values()])
    groups, sources = group_numbers(rows), source_numbers(rows)
    whole = all_parts(rows)
    parts = {}
    for part in PARTS:
        inside = np.flatnonzero(whole == part)
        parts[part] = Part(
            encoded.numeric[inside],
            encoded.codes[inside],
            {name: target[inside] for name, target in targets.items()},
            ids[inside],
            None if groups is None else groups[inside],
            {name: ragged.take(inside) for name, ragged in encoded.texts.items()},
            None if sources is None else sources[inside],
            marks[inside],
        )
    return parts
