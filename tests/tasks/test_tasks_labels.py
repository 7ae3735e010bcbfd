"""Labels as tables hold them: types, missing values, order, and what is refused."""

from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.utils.class_weight import compute_class_weight

from pipeline.errors import DataError
from pipeline.tasks.labels import (
    class_weights,
    codes_of,
    count_labels,
    label_text,
    label_texts,
    sort_labels,
)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (3, "3"),
        (3.0, "3"),
        (np.int64(3), "3"),
        (np.float32(3), "3"),
        (-0.0, "0"),
        (0.1, "0.1"),
        (np.float32(0.1), "0.1"),
        (True, "true"),
        (np.bool_(False), "false"),
        ("True", "True"),
        ("3.0", "3.0"),
        (Decimal("1.5"), "1.5"),
    ],
)
def test_a_label_has_one_text(value: object, text: str) -> None:
    assert label_text(value) == text


@given(st.one_of(st.integers(-(2**53), 2**53)))
def test_a_number_has_one_text_whatever_its_type(number: int) -> None:
    assert label_text(number) == label_text(float(number)) == label_text(np.float64(number))


@pytest.mark.parametrize(
    "column",
    [
        pd.Series([1, 2, 2], dtype="int8"),
        pd.Series([1.0, 2.0, 2.0]),
        pd.Series([1, 2, 2], dtype="Int64"),
        pd.Series([1, "2", 2.0], dtype=object),
        pd.Series(["1", "2", "2"]),
        pd.Series(["1", "2", "2"], dtype="category"),
        pd.Series([1, 2, 2], dtype="int64[pyarrow]"),
    ],
    ids=lambda column: str(column.dtype),
)
def test_columns_of_any_type_hold_the_same_labels(column: pd.Series) -> None:
    assert label_texts("t", column).tolist() == ["1", "2", "2"]
    missing = pd.concat([column.astype(object), pd.Series([None, np.nan, pd.NA])])
    assert label_texts("t", missing).tolist() == ["1", "2", "2", None, None, None]


def test_true_and_one_in_one_column_are_different_labels() -> None:
    assert label_texts("t", pd.Series([True, 1, 1.0], dtype=object)).tolist() == ["true", "1", "1"]


@pytest.mark.parametrize("label", [float("inf"), [1, 2], {"a": 1}])
def test_a_cell_that_is_no_label_names_the_column(label: object) -> None:
    column = pd.Series([label, "a"], dtype=object, name="y")
    with pytest.raises(DataError, match=r"Column `y` of task `t` must .*Found "):
        label_texts("t", column)


def test_an_infinite_label_among_numbers_is_refused() -> None:
    with pytest.raises(DataError, match=r"infinite label. Found inf"):
        label_texts("t", pd.Series([1.0, np.inf], name="y"))


def test_numbers_sort_as_numbers_and_texts_as_texts() -> None:
    assert sort_labels(["10", "9", "-1.5"]) == ("-1.5", "9", "10")
    assert sort_labels(["10", "9", "nine"]) == ("10", "9", "nine")
    assert sort_labels(["nan", "2", "10"]) == ("10", "2", "nan")


@given(st.lists(st.sampled_from(["a", "b", "10", "9", None]), min_size=1))
def test_codes_and_counts_are_those_of_the_rows(labels: list[str | None]) -> None:
    texts = np.array(labels, dtype=object)
    counts = count_labels(texts)
    assert counts == {text: labels.count(text) for text in counts}
    codes = codes_of("t", "y", texts, tuple(counts))
    back = [None if np.isnan(code) else tuple(counts)[int(code)] for code in codes]
    assert back == labels


def test_unseen_labels_are_named_with_their_rows() -> None:
    texts = np.array(["a", "q", "q", "r", "s", "t"], dtype=object)
    with pytest.raises(DataError, match=r"`y` of task `t`.*`q` in 2 rows, `r` in 1 row, .*1 more"):
        codes_of("t", "y", texts, ["a", "b"])


def test_balanced_weights_are_those_of_scikit_learn() -> None:
    labels = np.array(["a"] * 7 + ["b"] * 2 + ["c"])
    found = class_weights("t", "balanced", {"a": 7, "b": 2, "c": 1})
    expected = compute_class_weight("balanced", classes=np.unique(labels), y=labels)
    assert found is not None
    np.testing.assert_allclose(list(found.values()), expected)


def test_weights_by_label_default_to_one_and_know_their_labels() -> None:
    assert class_weights("t", {2.0: 3.0}, {"1": 5, "2": 5}) == {"1": 1.0, "2": 3.0}
    with pytest.raises(DataError, match=r"`class_weights` of task `t`.*Found `hgih`.*`high`"):
        class_weights("t", {"hgih": 2.0}, {"high": 5, "low": 5})
