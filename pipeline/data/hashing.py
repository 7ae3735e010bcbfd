"""Hashes of rows and digests of content: the same on every machine, for one table or two.

Hashes are 64 bits wide, which keeps a million rows apart (chance of any collision 3e-8). A number
and its text have one hash, so that a column which turns from numbers into texts because of one
appended row leaves the hashes of the other rows as they were.
"""

import hashlib
import json
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.data.values import as_text

Hashes = NDArray[np.uint64]

_MISSING = np.uint64(0x6D69_7373_696E_6721)
DIGEST_LENGTH = 32  # MLflow takes digests of at most 36 characters

Chunk = bytes | memoryview


def digest(chunks: Iterable[Chunk]) -> str:
    """Returns the SHA-256 of the chunks as 32 hexadecimal characters."""
    return sha256(chunks)[:DIGEST_LENGTH]


def sha256(chunks: Iterable[Chunk]) -> str:
    """Returns the SHA-256 of the chunks; where one ends and the next begins counts too."""
    total = hashlib.sha256()
    for chunk in chunks:
        total.update(len(chunk).to_bytes(8, "little"))
        total.update(chunk)
    return total.hexdigest()


def array_bytes(array: NDArray[Any]) -> memoryview:
    """Returns the bytes of an array, as `tobytes` does; those of a contiguous one uncopied."""
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


def json_bytes(value: Any) -> bytes:
    """Returns a canonical JSON text of plain values."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), default=repr).encode()


def mix(values: Hashes) -> Hashes:
    """Scrambles 64-bit integers (the finaliser of SplitMix64, Steele et al., 2014)."""
    values = values + np.uint64(0x9E3779B97F4A7C15)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def text_hash(text: str) -> int:
    """Returns the 64-bit hash of a text."""
    return int.from_bytes(
        hashlib.sha256(text.encode(errors="surrogatepass")).digest()[:8], "little"
    )


def id_hashes(ids: NDArray[np.bytes_]) -> Hashes:
    """Returns the (N,) hash of each id, whatever the width of the array that it stands in.

    Eight bytes at a time: a million ids take a twentieth of a second.
    """
    width = -(-ids.dtype.itemsize // 8) * 8
    words = np.ascontiguousarray(ids.astype(f"S{width}")).view("<u8").reshape(-1, width // 8)
    total = np.zeros(len(ids), dtype=np.uint64)
    for word in words.T:  # an id has no zero byte, so that a word of zeros is behind its end
        total = np.where(word != 0, mix(total ^ word), total)
    return total


def value_hashes(values: "pd.Series[Any]") -> Hashes:
    """Returns the (N,) hash of each value of a column, of whatever type."""
    if values.dtype.kind in "iuf":
        return _number_hashes(values.to_numpy(dtype=np.float64, na_value=np.nan))
    codes, uniques = pd.factorize(as_text(values))
    texts = np.array([text_hash(text) for text in uniques], dtype=np.uint64)
    numbers = pd.to_numeric(pd.Series(uniques, dtype=object), errors="coerce").to_numpy(np.float64)
    hashes = np.where(np.isfinite(numbers), _number_hashes(numbers), texts)
    return np.append(hashes, _MISSING)[codes]  # code -1 stands for missing


def _number_hashes(numbers: NDArray[np.float64]) -> Hashes:
    bits = np.ascontiguousarray(numbers + 0.0).view(np.uint64)  # -0.0 becomes 0.0
    return np.where(np.isnan(numbers), _MISSING, mix(bits))


def row_hashes(frame: pd.DataFrame) -> Hashes:
    """Returns the (N,) hash of each row; the order of columns does not matter."""
    total = np.zeros(len(frame), dtype=np.uint64)
    for name in sorted(frame.columns):
        salt = np.uint64(text_hash(name))
        total += mix(value_hashes(frame[name]) ^ salt)
    return mix(total)


def uniform(hashes: Hashes, seed: int, purpose: str) -> NDArray[np.float64]:
    """Returns a number in [0, 1) for each hash, that depends on it, the seed and the purpose."""
    salt = np.uint64(text_hash(f"{seed}/{purpose}"))
    return (mix(hashes ^ salt) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def frame_digest(frame: pd.DataFrame) -> str:
    """Returns the SHA-256 of a table's content and column names, row order included."""
    names = [str(name) for name in frame.columns]
    columns = (value_hashes(frame[name]).tobytes() for name in frame.columns)
    return sha256([json_bytes(names), *columns])
