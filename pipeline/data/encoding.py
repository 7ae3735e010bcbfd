"""How raw columns become model inputs. Shipped inside served models: numpy and pandas only."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.errors import DataError, near_miss

TRUE_WORDS = frozenset({"true", "yes", "y", "t", "on", "1"})
FALSE_WORDS = frozenset({"false", "no", "n", "f", "off", "0"})

UNSEEN, MISSING, FIRST_CATEGORY = 0, 1, 2


@dataclass(frozen=True)
class NumericColumn:
    """A number, standardised; booleans are numbers 0 and 1.

    Attributes:
        name: Column of the source.
        median: Fills missing values.
        mean: Of the filled train rows.
        std: Of the filled train rows; 1 where the column is constant.
        indicator: Whether a column "was missing" is added: some train row was missing.
        boolean: Whether texts such as "yes" and "no" are read as 1 and 0.
    """

    name: str
    median: float
    mean: float
    std: float
    indicator: bool = False
    boolean: bool = False


@dataclass(frozen=True)
class CategoricalColumn:
    """A category. Code 0 is unseen, 1 is missing, 2.. are `categories` in order.

    Attributes:
        name: Column of the source.
        categories: Values seen in train, as text.
    """

    name: str
    categories: tuple[str, ...]

    @property
    def n_codes(self) -> int:
        """Codes that may occur."""
        return len(self.categories) + FIRST_CATEGORY


@dataclass(frozen=True)
class Encoder:
    """Fitted on train rows; (de)serialised by `to_json` and `from_json`.

    The numeric inputs are the columns of `numeric` in order, then the indicators of those that
    have one, in the same order.
    """

    numeric: tuple[NumericColumn, ...]
    categorical: tuple[CategoricalColumn, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """Raw columns that `encode` reads."""
        numeric = (column.name for column in self.numeric)
        return (*numeric, *(column.name for column in self.categorical))

    @property
    def n_numeric(self) -> int:
        """Width D of the numeric inputs: indicators included."""
        return len(self.numeric) + sum(column.indicator for column in self.numeric)

    @property
    def n_codes(self) -> tuple[int, ...]:
        """Codes of each categorical column."""
        return tuple(column.n_codes for column in self.categorical)

    def encode(self, frame: pd.DataFrame) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
        """Turns raw columns into (N, D) numbers and (N, C) codes.

        Columns may hold any pandas type; extra columns are ignored, missing values (None, NaN,
        NA, blank text) and unseen categories have a place of their own.

        Raises:
            DataError: A column is absent, or a column of numbers holds a text or an infinity.
        """
        absent = [name for name in self.columns if name not in frame.columns]
        if absent:
            hint = near_miss(absent[0], [str(name) for name in frame.columns])
            raise DataError(f"The table lacks the input columns {_listed(absent)}. {hint}".rstrip())
        if not frame.columns.is_unique:
            doubled = str(frame.columns[frame.columns.duplicated()][0])
            raise DataError(f"The table has two columns named `{doubled}`. Remove one.")
        return self._encode_numeric(frame), self._encode_categorical(frame)

    def _encode_numeric(self, frame: pd.DataFrame) -> NDArray[np.float32]:
        raw = np.empty((len(frame), len(self.numeric)))  # (N, columns)
        for j, column in enumerate(self.numeric):
            raw[:, j] = read_numbers(frame[column.name], column.boolean)
        missing = np.isnan(raw)
        medians = np.array([column.median for column in self.numeric])
        means = np.array([column.mean for column in self.numeric])
        stds = np.array([column.std for column in self.numeric])
        with np.errstate(over="ignore"):
            scaled = ((np.where(missing, medians, raw) - means) / stds).astype(np.float32)
        if not np.isfinite(scaled).all():
            j = int(np.argmin(np.isfinite(scaled).all(axis=0)))
            worst = float(raw[np.argmin(np.isfinite(scaled[:, j])), j])
            raise DataError(f"Column `{self.numeric[j].name}` is too large. Found {worst:g}.")
        marked = [j for j, column in enumerate(self.numeric) if column.indicator]
        return np.concatenate([scaled, missing[:, marked].astype(np.float32)], axis=1)

    def _encode_categorical(self, frame: pd.DataFrame) -> NDArray[np.int32]:
        codes = np.empty((len(frame), len(self.categorical)), dtype=np.int32)
        for j, column in enumerate(self.categorical):
            text = as_text(frame[column.name])
            # `pd.Categorical` warns on unseen values; an index answers -1.
            found = pd.Index(column.categories, dtype=object).get_indexer(pd.Index(text))
            codes[:, j] = np.where(found < 0, UNSEEN, found + FIRST_CATEGORY)
            codes[pd.isna(text), j] = MISSING
        return codes

    def to_json(self) -> Mapping[str, Any]:
        """Returns plain JSON values."""
        return {
            "numeric": [asdict(column) for column in self.numeric],
            "categorical": [
                {"name": column.name, "categories": list(column.categories)}
                for column in self.categorical
            ],
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Encoder":
        """Rebuilds the encoder that `to_json` described."""
        return cls(
            tuple(NumericColumn(**column) for column in values["numeric"]),
            tuple(
                CategoricalColumn(column["name"], tuple(column["categories"]))
                for column in values["categorical"]
            ),
        )


def read_numbers(values: "pd.Series[Any]", boolean: bool = False) -> NDArray[np.float64]:
    """Reads a column of numbers, or of yes and no.

    Args:
        values: (N,) of any type; texts are parsed.
        boolean: Whether it holds yes and no in one of their spellings.

    Returns:
        (N,) with NaN where a value is missing.

    Raises:
        DataError: A value is no number, or infinite; it names the column and the first one.
    """
    numbers, bad = parse_numbers(values, boolean)
    if bad.any():
        first = values.iloc[int(np.argmax(bad))]
        wanted = "yes or no" if boolean else "a finite number"
        raise DataError(
            f"Column `{values.name}` must hold {wanted} in every row. "
            f"Found {_shown(first)} ({int(bad.sum())} such rows)."
        )
    return numbers


def parse_numbers(
    values: "pd.Series[Any]", boolean: bool = False
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Reads numbers where it can.

    Returns:
        (N,) numbers, NaN where missing or unreadable; and (N,) whether a value is unreadable.
    """
    kind = values.dtype.kind
    if kind in "biuf":
        numbers = values.to_numpy(dtype=np.float64, na_value=np.nan)
        bad = np.isinf(numbers)
    else:
        numbers, bad = _parse_texts(values.to_numpy(dtype=object), boolean)
    if boolean:
        bad = bad | ~(np.isnan(numbers) | np.isin(numbers, (0.0, 1.0)))
    return np.where(bad, np.nan, numbers), bad


def _parse_texts(
    values: NDArray[np.object_], boolean: bool
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    present = ~np.asarray(pd.isna(values))
    present[present] = [not _blank(value) for value in values[present]]
    numbers = np.full(len(values), np.nan)
    numbers[present] = [_number(value, boolean) for value in values[present]]
    return numbers, present & ~np.isfinite(numbers)


def _number(value: object, boolean: bool) -> float:
    if boolean and isinstance(value, str):
        word = value.strip().lower()
        if word in TRUE_WORDS or word in FALSE_WORDS:
            return float(word in TRUE_WORDS)
    if isinstance(value, str) and "_" in value:  # Python reads "1_000", tables do not
        return np.nan
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return np.nan


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
    texts[~missing] = [None if _blank(value) else _text(value) for value in raw[~missing]]
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


def _blank(value: object) -> bool:
    return isinstance(value, str) and not value.strip()


def _shown(value: object) -> str:
    text = repr(value.item() if isinstance(value, np.generic) else value)
    return text if len(text) <= 80 else text[:77] + "..."


def _listed(names: Sequence[str], most: int = 5) -> str:
    shown = ", ".join(f"`{name}`" for name in names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
