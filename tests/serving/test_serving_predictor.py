from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from pipeline.errors import DataError
from pipeline.serving import predictor as module
from pipeline.serving.predictor import Predictor

COLUMNS = [
    "income", "income_proba_high", "income_proba_low",
    "job", "job_proba_u", "job_proba_v", "job_proba_w",
    "hours",
]  # fmt: skip


def table(n_rows: int) -> pd.DataFrame:
    random = np.random.default_rng(1)
    frame = pd.DataFrame(
        {
            "age": random.integers(18, 90, n_rows).astype(float),
            "weight": random.normal(70, 12, n_rows),
            "city": random.choice(["Bern", "Bonn", "3", "Basel"], n_rows),
        }
    )
    frame.loc[::3, "age"] = np.nan
    frame.loc[::4, "city"] = None
    return frame


def test_a_column_per_task_and_class(make_predictor: Callable, raw_rows: pd.DataFrame) -> None:
    answer = make_predictor().predict(raw_rows)
    assert sorted(answer.columns) == sorted(COLUMNS)
    assert answer.index.equals(raw_rows.index)
    assert not answer.isna().to_numpy().any()
    for task in ("income", "job"):
        chances = answer.filter(like=f"{task}_proba_")
        np.testing.assert_allclose(chances.sum(axis=1), 1.0, rtol=1e-12)
        best = chances.to_numpy().argmax(axis=1)
        labels = [column.removeprefix(f"{task}_proba_") for column in chances.columns]
        assert list(answer[task]) == [labels[i] for i in best]


def test_one_row_answers_as_in_any_batch(
    make_predictor: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    predictor, frame = make_predictor(), table(37)
    whole = predictor.predict(frame)
    alone = pd.concat([predictor.predict(frame.iloc[[i]]) for i in range(len(frame))])
    monkeypatch.setattr(module, "_CHUNK", 10)
    chunks = predictor.predict(frame)
    for other in (alone, chunks):
        pd.testing.assert_frame_equal(other, whole, rtol=1e-5)


def test_no_rows_give_the_same_columns(make_predictor: Callable, raw_rows: pd.DataFrame) -> None:
    predictor = make_predictor()
    none = predictor.predict(raw_rows.iloc[:0])
    assert list(none.columns) == list(predictor.predict(raw_rows).columns)
    assert len(none) == 0


def test_answers_are_those_of_the_network(make_predictor: Callable, raw_rows: pd.DataFrame) -> None:
    from pipeline.models.build import load_member
    from pipeline.tasks.registry import kind_of

    predictor = make_predictor()
    numeric, codes = predictor.encoder.encode(raw_rows)
    model = load_member(predictor.architecture, predictor.parameters)
    with torch.no_grad():
        outputs = model(torch.from_numpy(numeric), torch.from_numpy(codes))
    kind = kind_of(predictor.tasks[2])
    hours = kind.decode(outputs["hours"][0].numpy()).values
    np.testing.assert_allclose(predictor.predict(raw_rows)["hours"], hours, rtol=1e-6)


def test_saving_and_loading_changes_nothing(
    make_predictor: Callable, raw_rows: pd.DataFrame, tmp_path: Path
) -> None:
    predictor = make_predictor()
    predictor.save(tmp_path / "model")
    assert sorted(p.name for p in (tmp_path / "model").iterdir()) == ["model.json", "weights.npz"]
    loaded = Predictor.load(tmp_path / "model")
    pd.testing.assert_frame_equal(loaded.predict(raw_rows), predictor.predict(raw_rows))
    assert loaded.tasks == predictor.tasks


def test_another_format_is_refused(make_predictor: Callable, tmp_path: Path) -> None:
    make_predictor().save(tmp_path)
    file = tmp_path / "model.json"
    file.write_text(file.read_text().replace('"format": 1', '"format": 9'))
    with pytest.raises(ValueError, match="format 9, this code reads 1"):
        Predictor.load(tmp_path)


def test_an_absent_column_is_named(make_predictor: Callable, raw_rows: pd.DataFrame) -> None:
    with pytest.raises(DataError, match="weight"):
        make_predictor().predict(raw_rows.drop(columns="weight"))


def test_a_text_in_a_column_of_numbers_is_named(
    make_predictor: Callable, raw_rows: pd.DataFrame
) -> None:
    with pytest.raises(DataError, match=r"age.*old"):
        make_predictor().predict(raw_rows.assign(age="old"))
