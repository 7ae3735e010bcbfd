from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.data.hashing import row_hashes, uniform, value_hashes
from pipeline.data.prepared import PARTS
from pipeline.data.splitting import split_rows
from pipeline.errors import DataError, StudyError
from pipeline.study.source_spec import SplitSpec

SHARES = SplitSpec(train=0.6, valid=0.2, test=0.2)


def _table(n_rows: int, seed: int = 0) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    return pd.DataFrame({
        "x": random.normal(size=n_rows),
        "label": random.choice(["a", "b", "c"], n_rows, p=[0.9, 0.08, 0.02]),
        "group": random.integers(0, max(n_rows // 3, 1), n_rows),
    })  # fmt: skip


def _split(frame: pd.DataFrame, spec: SplitSpec, seed: int = 0) -> np.ndarray:
    strata = value_hashes(frame[spec.stratify]) if spec.stratify else None
    return split_rows(frame, spec, seed, row_hashes(frame), strata)


@given(st.integers(0, 10**6), st.integers(1, 200), st.sampled_from(["hash", "group", "label"]))
def test_appended_rows_never_move_old_ones(seed: int, n_more: int, way: str) -> None:
    spec = replace(SHARES, group="group" if way == "group" else None,
                   stratify="label" if way == "label" else None)  # fmt: skip
    frame = _table(400, seed)
    more = pd.concat([frame, _table(n_more, seed + 1)], ignore_index=True)
    np.testing.assert_array_equal(_split(frame, spec, seed), _split(more, spec, seed)[:400])


def test_an_appended_row_that_changes_a_column_type_moves_no_row() -> None:
    frame = pd.DataFrame({"n": range(300), "flag": [True, False, True] * 100})
    row = pd.DataFrame({"n": ["unknown"], "flag": [None]})
    more = pd.concat([frame.astype(object), row.astype(object)], ignore_index=True)
    np.testing.assert_array_equal(_split(frame, SHARES), _split(more, SHARES)[:300])


def test_parts_follow_the_row_and_not_its_place() -> None:
    frame = _table(300)
    order = np.random.default_rng(1).permutation(300)
    shuffled = frame.iloc[order][["label", "group", "x"]].reset_index(drop=True)
    np.testing.assert_array_equal(_split(frame, SHARES)[order], _split(shuffled, SHARES))


@given(st.integers(0, 10**6))
def test_a_group_is_never_in_two_parts(seed: int) -> None:
    frame = _table(800, seed)
    parts = _split(frame, replace(SHARES, group="group"), seed)
    assert pd.Series(parts).groupby(frame["group"]).nunique().max() == 1


@given(st.integers(0, 10**6))
def test_strata_have_equal_shares(seed: int) -> None:
    frame = _table(1000, seed)
    parts = _split(frame, replace(SHARES, stratify="label"), seed)
    for _, rows in pd.Series(parts).groupby(frame["label"]):
        for part, share in zip(PARTS, (0.6, 0.2, 0.2), strict=True):
            # The discrepancy of a golden-ratio sequence grows like the logarithm of its length.
            assert abs((rows == part).sum() - share * len(rows)) <= 4


def test_random_shares_are_near_and_depend_on_the_seed() -> None:
    frame = _table(5000)
    parts = _split(frame, SplitSpec())
    for part, share in zip(PARTS, (0.8, 0.1, 0.1), strict=True):
        assert abs((parts == part).mean() - share) < 0.02
    assert (parts != _split(frame, SplitSpec(), seed=1)).mean() > 0.1


def test_uniform_numbers_are_uniform() -> None:
    draws = uniform(value_hashes(pd.Series(range(20_000))), 3, "split")
    assert draws.min() >= 0
    assert draws.max() < 1
    counts = np.histogram(draws, bins=20, range=(0, 1))[0]
    assert ((counts - 1000) ** 2 / 1000).sum() < 45  # chi-squared, 19 degrees: 0.1 % beyond 43.8


def test_time_puts_the_latest_rows_in_test_and_cuts_no_moment() -> None:
    days = pd.Series(pd.date_range("2024-01-01", periods=50).repeat(4)).sample(
        frac=1, random_state=0
    )
    for values in (days, days.dt.strftime("%Y-%m-%d"), days.astype("int64")):
        frame = pd.DataFrame({"day": values.to_numpy()})
        parts = pd.Series(split_rows(frame, replace(SHARES, time="day"), 0, row_hashes(frame)))
        bounds = frame["day"].groupby(parts.to_numpy()).agg(["min", "max"])
        assert bounds.loc["train", "max"] < bounds.loc["valid", "min"]
        assert bounds.loc["valid", "max"] < bounds.loc["test", "min"]
        assert parts.value_counts().to_dict() == {"train": 120, "valid": 40, "test": 40}


@pytest.mark.parametrize("value", [None, "soon"])
def test_a_bad_time_is_told(value: object) -> None:
    frame = pd.DataFrame({"day": ["2024-01-01", value, "2024-01-03"]})
    with pytest.raises(DataError, match="time column `day` must hold a number or a date"):
        split_rows(frame, replace(SHARES, time="day"), 0, row_hashes(frame))


def test_a_ready_made_split_is_kept() -> None:
    frame = _table(90).assign(split=["train", "valid", "test"] * 30)
    parts = _split(frame, SplitSpec(column="split", valid=0.5))
    np.testing.assert_array_equal(parts, frame["split"])


@pytest.mark.parametrize("way", [{}, {"group": "group"}, {"stratify": "label"}])
def test_valid_is_taken_from_train_where_the_column_has_none(way: dict[str, str]) -> None:
    frame = _table(2000)
    # Whole groups in train or test, as a ready-made grouped split has them.
    frame["split"] = np.where(frame["group"] % 4 == 0, "test", "train")
    parts = _split(frame, SplitSpec(column="split", valid=0.2, **way))
    np.testing.assert_array_equal(parts == "test", frame["split"] == "test")
    taken = (parts == "valid").sum() / (frame["split"] == "train").sum()
    assert abs(taken - 0.2) < 0.06
    if "group" in way:
        assert pd.Series(parts).groupby(frame["group"]).nunique().max() == 1


@pytest.mark.parametrize("value", ["validation", None, 1])
def test_other_values_of_a_split_column_are_told(value: object) -> None:
    frame = pd.DataFrame({"split": pd.Series(["train", value, "test"], dtype=object)})
    with pytest.raises(DataError, match=r"`split` must hold train, valid or test.*\(1 such rows\)"):
        _split(frame, SplitSpec(column="split"))


def test_a_group_in_two_ready_made_parts_is_named() -> None:
    frame = pd.DataFrame({"split": ["train", "train", "valid", "test"], "who": list("xyyz")})
    with pytest.raises(DataError, match=r"group of `who`.*Found 'y' in train and valid"):
        _split(frame, SplitSpec(column="split", group="who"))


def test_a_row_without_a_group_is_told() -> None:
    frame = pd.DataFrame({"who": ["a", None, "b"]})
    with pytest.raises(DataError, match=r"group column `who`.*Found 1 empty"):
        _split(frame, replace(SHARES, group="who"))


@pytest.mark.parametrize(
    ("frame", "spec", "part"),
    [
        (pd.DataFrame({"split": ["train", "valid"]}), SplitSpec(column="split"), "test"),
        (pd.DataFrame({"split": ["valid", "test"]}), SplitSpec(column="split"), "train"),
        (pd.DataFrame({"split": ["train", "test"]}), SplitSpec(column="split", valid=0), "valid"),
        (pd.DataFrame({"x": [1]}), SplitSpec(), "train|valid|test"),
        (pd.DataFrame({"x": range(50), "g": [1] * 50}), SplitSpec(group="g"), "train|valid|test"),
    ],
)
def test_an_empty_part_is_named(frame: pd.DataFrame, spec: SplitSpec, part: str) -> None:
    with pytest.raises(DataError, match=f"no part empty. Found no ({part}) row"):
        _split(frame, spec)


@pytest.mark.parametrize(
    "spec",
    [
        SplitSpec(train=0.6, valid=0.2, test=0.3),
        SplitSpec(train=0.6),
        SplitSpec(group="group", stratify="label"),
    ],
)
def test_contradicting_keys_are_told(spec: SplitSpec) -> None:
    with pytest.raises(StudyError, match="split"):
        _split(_table(20), spec)
