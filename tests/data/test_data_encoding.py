import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import OrdinalEncoder, StandardScaler

from pipeline.data.columns import MAX_CATEGORIES
from pipeline.data.encoding import Encoder, parse_numbers
from pipeline.data.fitting import fit_encoder
from pipeline.data.values import as_text
from pipeline.errors import DataError

TYPES = {"x": "numeric", "flag": "boolean", "word": "categorical"}
TRAIN = pd.DataFrame({
    "x": [1.0, np.nan, 4.0, 7.0], "flag": ["yes", "no", "yes", "yes"],
    "word": ["b", "a", None, "a"],
})  # fmt: skip


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return fit_encoder(TRAIN, TYPES)[0]


def test_numbers_equal_scikit_learns(encoder: Encoder) -> None:
    numeric, _ = encoder.encode(TRAIN)
    imputer = SimpleImputer(strategy="median", add_indicator=True)
    filled = imputer.fit_transform(TRAIN[["x"]])
    scaled = StandardScaler().fit_transform(filled[:, :1])
    flag = StandardScaler().fit_transform((TRAIN[["flag"]] == "yes").to_numpy(float))
    np.testing.assert_allclose(numeric, np.hstack([scaled, flag, filled[:, 1:]]), rtol=1e-6)
    assert numeric.dtype == np.float32
    assert encoder.n_numeric == 3


def test_codes_equal_scikit_learns(encoder: Encoder) -> None:
    _, codes = encoder.encode(TRAIN)
    known = OrdinalEncoder().fit_transform(TRAIN[["word"]])[:, 0] + 2
    np.testing.assert_array_equal(codes[:, 0], np.where(np.isnan(known), 1, known))
    assert encoder.n_codes == (4,)


def test_unseen_is_0_and_missing_is_1(encoder: Encoder) -> None:
    frame = pd.DataFrame({"x": [0] * 4, "flag": [True] * 4, "word": ["new", None, pd.NA, " "]})
    assert encoder.encode(frame)[1][:, 0].tolist() == [0, 1, 1, 1]


@pytest.mark.parametrize(
    "convert",
    [
        lambda f: f,
        lambda f: f.astype(object),
        lambda f: f.convert_dtypes(),
        lambda f: f.convert_dtypes(dtype_backend="pyarrow"),
        lambda f: f.astype({"word": "category", "flag": "category"}),
        lambda f: f.assign(x=f["x"].astype(object).where(f["x"].notna(), None).map(
            lambda value: value if value is None else str(value))),
        lambda f: f.assign(flag=f["flag"] == "yes"),
        lambda f: f.assign(flag=(f["flag"] == "yes").astype(int)),
        lambda f: f.assign(flag=f["flag"].str.upper()),
        lambda f: f.assign(x=f["x"].astype("float32"))[["word", "x", "flag"]].assign(more=1),
        lambda f: f.set_index(pd.Index([3, 3, 1, 0])),
    ],
)  # fmt: skip
def test_any_pandas_type_is_read_alike(encoder: Encoder, convert) -> None:
    for found, wanted in zip(encoder.encode(convert(TRAIN)), encoder.encode(TRAIN), strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_integers_and_floats_are_one_category() -> None:
    train = pd.DataFrame({"code": [3, 4, 3, 5]})
    encoder, _ = fit_encoder(train, {"code": "categorical"})
    for values in ([3, 9, None], [3.0, 9.5, np.nan], ["3", "9", ""], [np.int8(3), "x", pd.NA]):
        codes = encoder.encode(pd.DataFrame({"code": pd.Series(values, dtype=object)}))[1]
        assert codes[:, 0].tolist() == [2, 0, 1]


@pytest.mark.parametrize(
    ("column", "value", "told"),
    [
        ("x", "old", "Column `x` must hold a finite number.* Found 'old'"),
        ("x", np.inf, "Column `x` must hold a finite number.* Found inf"),
        ("x", "-inf", "Found '-inf'"),
        ("x", 1e300, "Column `x` is too large"),
        ("x", pd.Timestamp("2024-01-01"), "Column `x` must hold a finite number"),
        ("flag", "perhaps", "Column `flag` must hold yes or no.* Found 'perhaps'"),
        ("flag", 2, "Column `flag` must hold yes or no"),
    ],
)
def test_an_unreadable_value_names_its_column(encoder, column, value, told) -> None:
    frame = TRAIN.astype(object)
    frame.loc[2, column] = value
    with pytest.raises(DataError, match=told):
        encoder.encode(frame)


def test_absent_columns_are_named_with_the_nearest(encoder: Encoder) -> None:
    with pytest.raises(
        DataError, match=r"lacks the input columns `word`\. Is `word` there as `words`"
    ):
        encoder.encode(TRAIN.rename(columns={"word": "words"}))


def test_no_rows_and_no_columns_have_shapes(encoder: Encoder) -> None:
    numeric, codes = encoder.encode(TRAIN.head(0))
    assert (numeric.shape, codes.shape) == ((0, 3), (0, 1))
    numeric, codes = Encoder((), ()).encode(TRAIN)
    assert (numeric.shape, codes.shape) == ((4, 0), (4, 0))


def test_json_round_trip(encoder: Encoder) -> None:
    assert Encoder.from_json(json.loads(json.dumps(encoder.to_json()))) == encoder


def test_many_categories_keep_the_most_frequent_repeated_ones() -> None:
    words = [f"w{i}" for i in range(MAX_CATEGORIES + 500)]
    train = pd.DataFrame({"w": words + words[: MAX_CATEGORIES + 100] + words[:3]})
    encoder, warnings = fit_encoder(train, {"w": "categorical"})
    assert len(encoder.categorical[0].categories) == MAX_CATEGORIES
    assert set(words[:3]) <= set(encoder.categorical[0].categories)
    assert "500 rarer ones" in warnings[0]


_CELLS = st.one_of(st.none(), st.booleans(), st.integers(-10**6, 10**6), st.text(max_size=5),
                   st.floats(allow_infinity=False))  # fmt: skip


@given(st.lists(_CELLS, min_size=1, max_size=12))
def test_text_and_numbers_of_a_row_do_not_depend_on_other_rows(cells: list[object]) -> None:
    together = pd.Series(cells, dtype=object)
    alone = [pd.Series([cell], dtype=object) for cell in cells]
    assert as_text(together).tolist() == [as_text(cell)[0] for cell in alone]
    np.testing.assert_array_equal(
        parse_numbers(together)[0], [parse_numbers(cell)[0][0] for cell in alone]
    )


@given(st.lists(st.one_of(st.none(), st.floats(-1e9, 1e9)), min_size=2, max_size=30))
def test_train_rows_have_mean_0_and_deviation_1(values: list[float | None]) -> None:
    frame = pd.DataFrame({"x": pd.Series(values, dtype="float64")})
    encoder, _ = fit_encoder(frame, {"x": "numeric"})
    numeric = encoder.encode(frame)[0][:, 0].astype(float)
    assert np.isfinite(numeric).all()
    spread = frame["x"].fillna(frame["x"].median()).std(ddof=0)
    if spread > 1e-3 * abs(encoder.numeric[0].mean) + 1e-9:
        assert abs(numeric.mean()) < 1e-3
        assert abs(numeric.std() - 1) < 1e-3
