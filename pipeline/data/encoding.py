"""How raw columns become model inputs. Shipped inside served models: numpy and pandas only."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.data.text_encoding import Cut, Progress, TextEncoder
from pipeline.data.values import as_text, is_blank
from pipeline.errors import DataError
from pipeline.text.ragged import Ragged

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
class Encoded:
    """Rows as a model reads them.

    Attributes:
        numeric: (N, D) numbers, standardised.
        codes: (N, C) category codes.
        texts: Name to N rows of different lengths; see `TextInputs`.
        cuts: What encoders of texts did not read.
    """

    numeric: NDArray[np.float32]
    codes: NDArray[np.int32]
    texts: Mapping[str, Ragged]
    cuts: tuple[Cut, ...] = ()


@dataclass(frozen=True)
class Encoder:
    """Fitted on train rows; (de)serialised by `to_json` and `from_json`.

    The numeric inputs are the columns of `numeric` in order, then the indicators of those that
    have one, in the same order, then the vectors of the texts.
    """

    numeric: tuple[NumericColumn, ...]
    categorical: tuple[CategoricalColumn, ...]
    text: TextEncoder | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """Raw columns that `encode` reads."""
        return (*self._tabular, *(() if self.text is None else self.text.columns))

    @property
    def _tabular(self) -> list[str]:
        numeric = [column.name for column in self.numeric]
        return [*numeric, *(column.name for column in self.categorical)]

    @property
    def n_tabular(self) -> int:
        """Numeric inputs that come from columns of numbers: indicators included."""
        return len(self.numeric) + sum(column.indicator for column in self.numeric)

    @property
    def n_numeric(self) -> int:
        """Width D of the numeric inputs: indicators and vectors of texts included."""
        return self.n_tabular + (0 if self.text is None else self.text.width)

    @property
    def n_codes(self) -> tuple[int, ...]:
        """Codes of each categorical column."""
        return tuple(column.n_codes for column in self.categorical)

    def encode(self, frame: pd.DataFrame) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
        """Turns raw columns into (N, D) numbers and (N, C) codes; see `encode_all`."""
        found = self.encode_all(frame)
        return found.numeric, found.codes

    def encode_all(self, frame: pd.DataFrame, progress: Progress | None = None) -> Encoded:
        """Turns raw columns into everything that a model reads.

        Columns may hold any pandas type; extra columns are ignored, missing values (None, NaN,
        NA, blank text) and unseen categories have a place of their own. Of several text columns
        one is enough: the document of a row is what stands in those that there are.

        Raises:
            DataError: A column is absent, or a column of numbers holds a text or an infinity.
        """
        self._check_columns(frame)
        numeric, codes = self._encode_numeric(frame), self._encode_categorical(frame)
        if self.text is None:
            return Encoded(numeric, codes, {})
        found, cuts = self.text.encode(frame, progress)
        numeric = np.concatenate([numeric, found.vectors], axis=1)
        return Encoded(numeric, codes, found.rows, cuts)

    def _check_columns(self, frame: pd.DataFrame) -> None:
        absent = [name for name in self._tabular if name not in frame.columns]
        if self.text is not None and not set(self.text.columns) & set(frame.columns):
            absent += self.text.columns
        if absent:
            raise lacking(frame, absent, self.columns)
        if not frame.columns.is_unique:
            doubled = str(frame.columns[frame.columns.duplicated()][0])
            raise DataError(f"The table has two columns named `{doubled}`. Remove one.")

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
            **({} if self.text is None else {"text": self.text.to_json()}),
        }

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Returns what is too large for JSON."""
        return {} if self.text is None else self.text.arrays()

    @classmethod
    def from_json(
        cls,
        values: Mapping[str, Any],
        arrays: Mapping[str, NDArray[Any]] | None = None,
        folder: Path | None = None,
    ) -> "Encoder":
        """Rebuilds the encoder that `to_json` and `arrays` described; see `TextEncoder`."""
        text = values.get("text")
        return cls(
            tuple(NumericColumn(**column) for column in values["numeric"]),
            tuple(
                CategoricalColumn(column["name"], tuple(column["categories"]))
                for column in values["categorical"]
            ),
            None if text is None else TextEncoder.from_json(text, arrays or {}, folder),
        )


def lacking(frame: pd.DataFrame, absent: Sequence[str], known: Sequence[str]) -> DataError:
    """Returns the error of a table that lacks columns.

    Args:
        frame: The table.
        absent: What it lacks.
        known: All columns that are read: others may be one of the absent under another name.
    """
    others = [str(name) for name in frame.columns if name not in known]
    close = get_close_matches(absent[0], others, n=1)
    hint = f"Is `{absent[0]}` there as `{close[0]}`? Rename it. " if close else ""
    return DataError(
        f"The table lacks the input columns {_listed(absent)}. {hint}"
        "Add what is lacking, empty where it is not known."
    )


def read_numbers(values: "pd.Series[Any]", boolean: bool = False) -> NDArray[np.float64]:
    """Reads a column of numbers, or of yes and no.

    Args:
        values: (N,) of any type; texts are parsed.
        boolean: Whether it holds yes and no in one of their spellings.

    Returns:
        (N,) with NaN where a value is missing.

    Raises:
        DataError: A value is no number, or infinite; it names the column, the value and its row.
    """
    numbers, bad = parse_numbers(values, boolean)
    if bad.any():
        first = int(np.argmax(bad))
        wanted = "yes or no" if boolean else "a finite number"
        raise DataError(
            f"Column `{values.name}` must hold {wanted} in every row. "
            f"Found {_shown(values.iloc[first])} {_where(values.index, first)} "
            f"({int(bad.sum())} such rows among {len(values)}). "
            "Mend the value, or leave it empty: a missing one is fine."
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
    present[present] = [not is_blank(value) for value in values[present]]
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


def _where(index: "pd.Index[Any]", position: int) -> str:
    """Names a row as whoever made the frame counts: an index may be called `row`."""
    return f"in row {index[position]}" if index.name == "row" else f"at index {index[position]}"


def _shown(value: object) -> str:
    text = repr(value.item() if isinstance(value, np.generic) else value)
    return text if len(text) <= 80 else text[:77] + "..."


def _listed(names: Sequence[str], most: int = 5) -> str:
    shown = ", ".join(f"`{name}`" for name in names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
