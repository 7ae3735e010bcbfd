"""The text of a value, the same whatever type a column has."""

import json
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray


def as_text(values: "pd.Series[Any]") -> NDArray[np.object_]:
    """Returns the text of each value, None where it is missing or blank.

    A number has one text whatever its type: 3 and 3.0 are "3", so that a column of integers that
    becomes one of floats because of a missing value keeps its categories.
    """
    if values.dtype.kind in "iuf":
        codes, uniques = pd.factorize(values)
        words = [None if pd.isna(value) else _text(value) for value in uniques]
        return np.array([*words, None], dtype=object)[codes]  # code -1 stands for missing
    raw = values.to_numpy(dtype=object)
    missing = np.asarray(pd.isna(raw))
    texts = np.full(len(raw), None, dtype=object)
    texts[~missing] = [None if is_blank(value) else _text(value) for value in raw[~missing]]
    return texts


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool | np.bool_):
        return str(bool(value))
    if isinstance(value, float | np.floating):
        number = float(value)
        whole = number.is_integer() and abs(number) < 2**63
        return str(int(number)) if whole else str(value)
    if isinstance(value, list | tuple | dict):
        return json.dumps(value, sort_keys=True, default=str, ensure_ascii=False)
    return str(value)


def is_blank(value: object) -> bool:
    """Tells whether a value is a text of nothing but spaces."""
    return isinstance(value, str) and not value.strip()
