import numpy as np
import pandas as pd
import pytest

from pipeline.data.columns import type_columns
from pipeline.data.screening import copy_warnings, counting_columns

N = 60
WORDS = ["one", "two", "three"] * 20


@pytest.mark.parametrize(
    ("values", "found"),
    [
        (np.arange(N) % 7, "numeric"),
        (np.linspace(0, 1, N), "numeric"),
        ([str(i) for i in range(N)], "numeric"),
        ([1, "2", None] * 20, "numeric"),
        ([True, False] * 30, "boolean"),
        ([True, False, None] * 20, "boolean"),
        (["Yes", "no", ""] * 20, "boolean"),
        (WORDS, "categorical"),
        (["1", "2", "x"] * 20, "categorical"),
        (pd.Categorical([1, 2, 3] * 20), "categorical"),
    ],
)
def test_types_are_found(values: object, found: str) -> None:
    types, left_out = type_columns(pd.DataFrame({"c": values}), ["c"], {})
    assert (types, left_out) == ({"c": found}, {})


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ([f"person {i}" for i in range(N)], "looks like an id"),
        ([f"{i} is a long sentence about nothing at all in the world." for i in range(N)], "free"),
        ([None] * N, "empty in the train rows"),
        ([3.0] * N, "the value is '3' in every train row"),
        (["x"] * N, "the value is 'x' in every train row"),
        ([[1, 2]] * N, "every train row"),
        ([[i] for i in range(N)], "holds lists"),
        (pd.date_range("2024-01-01", periods=N), "holds times"),
    ],
)
def test_useless_columns_are_left_out_with_the_reason(values: object, reason: str) -> None:
    types, left_out = type_columns(pd.DataFrame({"c": values}), ["c"], {})
    assert types == {}
    assert reason in left_out["c"]


def test_a_constant_with_missing_values_stays_because_missing_tells() -> None:
    frame = pd.DataFrame({"n": [3.0, None] * 30, "w": ["x", None] * 30})
    assert type_columns(frame, ["n", "w"], {})[0] == {"n": "numeric", "w": "categorical"}


def test_lists_of_the_study_override_what_a_column_looks_like() -> None:
    frame = pd.DataFrame({"zip": range(N), "name": [f"p{i}" for i in range(N)], "on": [0, 1] * 30})
    listed = {"zip": "categorical", "name": "categorical", "on": "boolean"}
    assert type_columns(frame, list(frame), listed)[0] == listed


def test_columns_that_count_the_rows_are_found() -> None:
    frame = pd.DataFrame({
        "row": np.random.default_rng(0).permutation(N) + 5,
        "gap": np.arange(N) * 2, "twice": np.arange(N) // 2, "share": np.arange(N) / 1.0,
    })  # fmt: skip
    assert counting_columns(frame, list(frame)) == ["row"]
    assert counting_columns(frame.head(5), list(frame)) == []


def test_copies_of_a_target_are_found() -> None:
    random = np.random.default_rng(0)
    label = random.choice(["a", "b", "c"], N)
    size = random.normal(size=N)
    frame = pd.DataFrame({
        "label": label, "size": size,
        "same": label, "coded": pd.Series(label).map({"a": 9, "b": 1, "c": 5}),
        "merged": pd.Series(label).map({"a": 0, "b": 0, "c": 1}),
        "scaled": 3 - 2 * size, "other": random.normal(size=N), "cube": size**3,
    })  # fmt: skip
    frame.loc[:9, "label"] = None  # unlabelled rows say nothing
    frame.loc[:9, "coded"] = 7
    inputs = ["same", "coded", "merged", "scaled", "other", "cube"]
    found = copy_warnings(frame, inputs, {"kind": ["label"], "large": ["size"]})
    named = {tuple(sentence.split("`")[1:6:2]) for sentence in found}
    assert named == {("same", "label", "kind"), ("coded", "label", "kind"),
                     ("scaled", "size", "large"), ("cube", "size", "large")}  # fmt: skip
