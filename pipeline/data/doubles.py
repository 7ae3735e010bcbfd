"""Rows whose inputs stand in two parts of the split: counted, told, and left out where asked."""

from collections.abc import Container, Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.data.hashing import Hashes
from pipeline.data.prepared import PARTS
from pipeline.data.rows import SourceRows, all_parts, rows_of
from pipeline.errors import DataError
from pipeline.study.spec import StudySpec

PAIRS = (("train", "valid"), ("train", "test"), ("valid", "test"))


def duplicates(hashes: Hashes, parts: NDArray[np.str_]) -> tuple[dict[str, int], NDArray[np.bool_]]:
    """Finds rows whose inputs also stand in another part.

    Args:
        hashes: (N,) hash of each row's inputs.
        parts: (N,) name of its part.

    Returns:
        For each pair such as "train/test", the rows of the second part whose inputs stand in the
        first; and (N,) whether a row's inputs also stand in a later part: such a row is the one to
        drop, so that test stays whole and valid gives way to test only.
    """
    counts = {}
    repeated = np.zeros(len(hashes), dtype=np.bool_)
    for earlier, later in PAIRS:
        inside, outside = parts == earlier, parts == later
        counts[f"{earlier}/{later}"] = int(np.isin(hashes[outside], hashes[inside]).sum())
        repeated[inside] |= np.isin(hashes[inside], hashes[outside])
    return counts, repeated


def doubled_notes(
    rows: Mapping[str, SourceRows], hashes: Hashes, named: Sequence[str]
) -> list[str]:
    """Returns a sentence for each of several sources with rows that stand in two parts.

    Args:
        rows: The rows of each source.
        hashes: Of the inputs of all of them, one source after the other.
        named: Sources of the study file: rows made of theirs, such as pieces, follow them.
    """
    if len(rows) == 1:
        return []
    sizes = [len(found.parts) for found in rows.values()]
    of_source = np.split(hashes, np.cumsum(sizes)[:-1])
    notes = []
    for (name, found), own in zip(rows.items(), of_source, strict=True):
        counts = {pair: n for pair, n in duplicates(own, found.parts)[0].items() if n}
        if counts and name in named:
            shown = ", ".join(f"{n:,} in {pair}" for pair, n in counts.items())
            notes.append(
                f"Source `{name}`: rows whose inputs also stand in an earlier part: {shown}. "
                "`duplicates: drop` in its split leaves the earlier ones out."
            )
    return notes


def count_doubles(
    rows: Mapping[str, SourceRows], hashes: Hashes, origins: Container[str]
) -> dict[str, int]:
    """Counts rows whose inputs stand in an earlier part too; see `duplicates`.

    Pieces of documents are passed over, since a short clause stands in many, unless all rows are
    pieces.

    Args:
        rows: The rows of each source.
        hashes: Of the inputs of all of them, one source after the other.
        origins: Sources of pieces.
    """
    counted = ~rows_of(rows, origins)
    if not counted.any():
        counted[:] = True
    return duplicates(hashes[counted], all_parts(rows)[counted])[0]


def drop_doubles(
    spec: StudySpec, rows: dict[str, SourceRows], inputs: pd.DataFrame, hashes: Hashes
) -> tuple[dict[str, SourceRows], pd.DataFrame, int]:
    """Leaves out rows whose inputs stand in a later part too, where the split of a source asks.

    Args:
        spec: The study.
        rows: The rows of each source.
        inputs: Of all of them, one source after the other.
        hashes: Of these.

    Returns:
        The rows and the inputs that stay, and how many do not.

    Raises:
        DataError: A part would have no rows left.
    """
    dropping = [name for name in rows if spec.split_of(name).duplicates == "drop"]
    if not dropping:
        return rows, inputs, 0
    _, repeated = duplicates(hashes, all_parts(rows))
    dropped = repeated & rows_of(rows, dropping)
    if not dropped.any():
        return rows, inputs, 0
    stops = np.cumsum([len(found.parts) for found in rows.values()])[:-1]
    pieces = np.split(~dropped, stops)
    kept = {name: rows[name].keep(piece) for name, piece in zip(rows, pieces, strict=True)}
    remaining = set(all_parts(kept))
    for part in PARTS:
        if part not in remaining:
            raise DataError(
                f"`duplicates: drop` must leave rows in every part. Found none left in {part}. "
                "Use `duplicates: keep`."
            )
    return kept, inputs[~dropped].reset_index(drop=True), int(dropped.sum())
