"""Which rows are train, valid and test.

Each way of splitting gives every row a position in [0, 1): below the train share is train, above
1 - test share is test. The position is a hash of the row's id or content, or of its group, and so
does not depend on the other rows. Two ways look at other rows: strata (a row's position depends on
the rows of its class before it, never on those after it) and time.
"""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.data.encoding import parse_numbers
from pipeline.data.hashing import Hashes, uniform, value_hashes
from pipeline.data.prepared import PARTS
from pipeline.data.values import as_text
from pipeline.errors import DataError, Fault, StudyError
from pipeline.study.source_spec import SplitSpec

DEFAULT_SHARES = (0.8, 0.1, 0.1)
DEFAULT_VALID = 0.1  # taken from the train rows of a ready-made split without valid rows

_GOLDEN = (5**0.5 - 1) / 2


def split_rows(
    frame: pd.DataFrame,
    spec: SplitSpec,
    seed: int,
    keys: Hashes,
    strata: Hashes | None = None,
    where: str = "The data",
) -> NDArray[np.str_]:
    """Returns the (N,) part of each row: "train", "valid" or "test".

    Args:
        frame: All rows of a source.
        spec: How to split them.
        seed: The study's seed.
        keys: (N,) hash of each row's id or content.
        strata: (N,) hash of each row's class, where `stratify` is given.
        where: The source, for messages.

    Raises:
        StudyError: Keys of the split contradict each other.
        DataError: A split, group or time column breaks its rule, or a part is left empty.
    """
    if spec.group is not None and spec.stratify is not None:
        rule = "cannot stand beside `group`: a group goes to one part whatever its labels"
        raise StudyError([Fault("split.stratify", rule, spec.stratify)])
    if spec.column is None:
        shares = _shares(spec)
        parts = _cut(_positions(frame, spec, seed, keys, strata, where), shares)
    else:
        parts = _ready_made(frame, spec, seed, keys, strata, where)
        if spec.group is not None:
            _check_groups(frame[spec.group], group_hashes(frame, spec, keys, where), parts, where)
    for part in PARTS:
        if not (parts == part).any():
            raise DataError(_empty_part(part, spec, len(frame), where))
    return parts


def _shares(spec: SplitSpec) -> tuple[float, float, float]:
    given = (spec.train, spec.valid, spec.test)
    if spec.train is None or spec.valid is None or spec.test is None:
        if any(share is not None for share in given):
            rule = "must give train, valid and test shares that sum to 1"
            raise StudyError([Fault("split", rule, str(given))])
        return DEFAULT_SHARES
    shares = (spec.train, spec.valid, spec.test)
    if abs(sum(shares) - 1) > 1e-6:
        raise StudyError([Fault("split", "must have shares that sum to 1", str(shares))])
    return shares


def _cut(positions: NDArray[np.float64], shares: tuple[float, float, float]) -> NDArray[np.str_]:
    train, valid, _ = shares
    index = np.searchsorted([train, train + valid], positions, side="right")
    return np.array(PARTS)[index]


def _positions(
    frame: pd.DataFrame, spec: SplitSpec, seed: int, keys: Hashes, strata: Hashes | None, where: str
) -> NDArray[np.float64]:
    """Returns (N,) positions in [0, 1)."""
    if spec.time is not None:
        return _earlier_share(read_times(frame[spec.time], where))
    if spec.group is not None:
        return uniform(group_hashes(frame, spec, keys, where), seed, "split")
    if strata is not None:
        return _within_strata(keys, strata, seed)
    return uniform(keys, seed, "split")


def group_hashes(frame: pd.DataFrame, spec: SplitSpec, keys: Hashes, where: str) -> Hashes:
    """Returns the (N,) hash of each row's group; see `SplitSpec.ungrouped`.

    Args:
        frame: Rows of a source.
        spec: Which column, and what a row without a value in it is.
        keys: (N,) hash of each row's id or content: the group of a row that is its own.
        where: The source, for messages.

    Raises:
        DataError: A row has no group and the split does not say what that means.
    """
    values = frame[str(spec.group)]
    missing = without_group(values)
    if missing.any() and spec.ungrouped == "refuse":
        raise DataError(
            f"{where}: the group column `{values.name}` must have a value in every row. "
            f"Found {int(missing.sum())} empty. Say `ungrouped: own` beside `group` to make each "
            "such row a group of its own, or `ungrouped: drop` to leave them out."
        )
    return np.where(missing, keys, value_hashes(values))


def without_group(values: "pd.Series[Any]") -> NDArray[np.bool_]:
    """Tells which rows have no value in a column of groups."""
    return np.asarray(pd.isna(as_text(values)))


def _within_strata(keys: Hashes, strata: Hashes, seed: int) -> NDArray[np.float64]:
    """Spreads the rows of each class evenly over [0, 1).

    The i-th distinct row of a class stands at the fractional part of start + i * golden ratio,
    whose first n terms fill [0, 1) evenly for every n: shares hold in each class, however rare,
    and rows appended later move none. The start is a hash of the class.
    """
    table = pd.DataFrame({"stratum": strata, "key": keys})
    distinct = table.drop_duplicates()
    rank = distinct.groupby("stratum", sort=False).cumcount().to_numpy()
    start = uniform(distinct["stratum"].to_numpy(), seed, "stratum")
    placed = distinct.assign(position=(start + rank * _GOLDEN) % 1.0)
    return table.merge(placed, on=["stratum", "key"], how="left")["position"].to_numpy()


def read_times(values: "pd.Series[Any]", where: str) -> NDArray[np.float64]:
    """Reads a time column as numbers that order the rows.

    Raises:
        DataError: A value is missing, or neither a number nor a date.
    """
    if values.dtype.kind in "mM":
        numbers = np.where(values.isna(), np.nan, values.astype("int64").to_numpy(np.float64))
        bad = np.zeros(len(values), dtype=np.bool_)
    else:
        numbers, bad = parse_numbers(values)
    if bad.any():
        dates = pd.to_datetime(
            pd.Series(as_text(values)), errors="coerce", format="ISO8601", utc=True
        )
        bad = (dates.isna() & ~values.isna().to_numpy()).to_numpy()
        numbers = np.where(dates.isna(), np.nan, dates.astype("int64").to_numpy(np.float64))
    if np.isnan(numbers).any():
        first = values.iloc[int(np.argmax(np.isnan(numbers)))]
        raise DataError(
            f"{where}: the time column `{values.name}` must hold a number or a date such as "
            f"2024-05-31 in every row. Found {first!r} "
            f"({int(np.isnan(numbers).sum())} such rows)."
        )
    return numbers


def _earlier_share(times: NDArray[np.float64]) -> NDArray[np.float64]:
    # Rows of one time have one rank, so that no moment is cut in two.
    return (pd.Series(times).rank(method="min").to_numpy() - 1) / len(times)


def _ready_made(
    frame: pd.DataFrame, spec: SplitSpec, seed: int, keys: Hashes, strata: Hashes | None, where: str
) -> NDArray[np.str_]:
    text = as_text(frame[str(spec.column)])
    odd = [value for value in pd.unique(text) if value not in PARTS]
    if odd:
        n_odd = int(np.isin(text, [value for value in odd if value is not None]).sum()
                    + pd.isna(text).sum())  # fmt: skip
        raise DataError(
            f"{where}: the split column `{spec.column}` must hold train, valid or test in every "
            f"row. Found {odd[0]!r} ({n_odd} such rows)."
        )
    parts = text.astype(np.str_)
    train = parts == "train"
    if (parts == "valid").any() or not train.any():
        return parts
    share = DEFAULT_VALID if spec.valid is None else spec.valid
    positions = _positions(
        frame[train], spec, seed, keys[train], None if strata is None else strata[train], where
    )
    parts[train] = np.where(positions >= 1 - share, "valid", "train")
    return parts


def _check_groups(
    groups: "pd.Series[Any]", hashes: Hashes, parts: NDArray[np.str_], where: str
) -> None:
    n_parts = pd.Series(parts).groupby(hashes).transform("nunique").to_numpy()
    if (n_parts > 1).any():
        first = int(np.argmax(n_parts > 1))
        standing = sorted(set(parts[hashes == hashes[first]]), key=PARTS.index)
        n_groups = len(np.unique(hashes[n_parts > 1]))
        raise DataError(
            f"{where}: a group of `{groups.name}` must stand in one part of the split. "
            f"Found {str(groups.iloc[first])!r} in {' and '.join(standing)} "
            f"({n_groups} such groups). "
            "Mend the split column, or leave out `column` so that the split is made by group."
        )


def _empty_part(part: str, spec: SplitSpec, n_rows: int, where: str) -> str:
    if spec.column is not None:
        remedy = f"Mark rows as {part} in `{spec.column}`" + (
            ", or give a larger `split.valid`." if part == "valid" else "."
        )
    elif spec.group is not None:
        remedy = "Too few groups for these shares: give another `seed` or larger shares."
    else:
        remedy = "Give more rows or a larger share."
    return (
        f"{where}: the split must leave no part empty. Found no {part} row among {n_rows}. {remedy}"
    )
