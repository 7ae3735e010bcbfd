"""Fitting an `Encoder` on train rows."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from pipeline.data.columns import MAX_CATEGORIES, ColumnType
from pipeline.data.encoding import CategoricalColumn, Encoder, NumericColumn, read_numbers
from pipeline.data.text_encoding import TextEncoder
from pipeline.data.values import as_text
from pipeline.errors import DataError


def fit_encoder(
    train: pd.DataFrame,
    types: Mapping[str, ColumnType],
    text: TextEncoder | None = None,
) -> tuple[Encoder, list[str]]:
    """Fits medians, means, deviations and category tables.

    Args:
        train: Train rows.
        types: Type of each input column that is no text.
        text: What reads the texts, fitted.

    Returns:
        The encoder, and a sentence for each column that lost categories.

    Raises:
        DataError: A column of numbers holds a text or an infinity in a train row.
    """
    numeric = tuple(
        _fit_numeric(train[name], boolean=found == "boolean")
        for name, found in types.items()
        if found != "categorical"
    )
    categorical = []
    warnings = []
    for name in (name for name, found in types.items() if found == "categorical"):
        column, n_lost = _fit_categorical(train[name])
        categorical.append(column)
        if n_lost:
            warnings.append(
                f"Column `{name}` keeps its {len(column.categories)} most frequent values; "
                f"{n_lost} rarer ones count as unseen."
            )
    return Encoder(numeric, tuple(categorical), text), warnings


def _fit_numeric(values: "pd.Series[Any]", boolean: bool) -> NumericColumn:
    numbers = read_numbers(values, boolean)
    missing = np.isnan(numbers)
    median = 0.0 if missing.all() else float(np.median(numbers[~missing]))
    filled = np.where(missing, median, numbers)
    with np.errstate(over="ignore", invalid="ignore"):
        mean, std = float(filled.mean()), float(filled.std())
    if not np.isfinite(std):
        largest = float(np.abs(filled).max())
        raise DataError(f"Column `{values.name}` is too large to standardise. Found {largest:g}.")
    return NumericColumn(
        str(values.name), median, mean, std or 1.0, indicator=bool(missing.any()), boolean=boolean
    )


def _fit_categorical(values: "pd.Series[Any]") -> tuple[CategoricalColumn, int]:
    """Keeps all categories up to `MAX_CATEGORIES`; of more, the most frequent repeated ones.

    A category that is rarer stands for no other row, and its embedding would be noise.
    """
    counts = pd.Series(as_text(values)).value_counts()
    kept = counts
    if len(counts) > MAX_CATEGORIES:
        repeated = counts[counts > 1]
        by_count = sorted(repeated.index, key=lambda text: (-repeated[text], text))
        kept = repeated[by_count[:MAX_CATEGORIES]]
    return CategoricalColumn(str(values.name), tuple(sorted(kept.index))), len(counts) - len(kept)
