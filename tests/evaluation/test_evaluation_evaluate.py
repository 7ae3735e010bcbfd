"""Evaluation of members: masks, means, direction, and outputs that are not finite."""

import json
import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score, root_mean_squared_error

from pipeline.errors import DataError
from pipeline.evaluation.evaluate import Evaluation, evaluate_members, evaluate_one, tuned
from pipeline.study.task_spec import TaskSpec
from pipeline.tasks.base import Kind
from pipeline.tasks.binary import Binary
from pipeline.tasks.multilabel import Multilabel
from pipeline.tasks.regression import Regression

N_ROWS = 50


def study() -> tuple[list[Kind], dict[str, NDArray[np.float32]]]:
    random = np.random.default_rng(0)
    table = pd.DataFrame(
        {"sick": random.integers(0, 2, N_ROWS).astype(float), "age": random.normal(40, 9, N_ROWS)}
    )
    table.loc[:9, "sick"] = None
    table.loc[5:20, "age"] = None
    spec = TaskSpec("regression", "age", metric="rmse")
    kinds: list[Kind] = [
        Binary(Binary.fit("sick", "sick", TaskSpec("binary", "sick", positive=1), table)),
        Regression(Regression.fit("age", "age", spec, table)),
    ]
    return kinds, {kind.info.name: kind.encode(table) for kind in kinds}


def outputs(n_members: int) -> dict[str, NDArray[Any]]:
    random = np.random.default_rng(1)
    return {
        task: random.normal(size=(n_members, N_ROWS, 1)).astype(np.float32)
        for task in ("sick", "age")
    }


def test_only_labelled_rows_count_and_the_mean_is_over_oriented_scores() -> None:
    kinds, targets = study()
    answers = outputs(3)
    found = evaluate_members(kinds, answers, targets, "valid")
    sick, age = ~np.isnan(targets["sick"]), ~np.isnan(targets["age"])
    ages = kinds[1].decode(answers["age"]).values
    for member, evaluation in enumerate(found):
        auc = roc_auc_score(targets["sick"][sick], answers["sick"][member, sick, 0])
        error = root_mean_squared_error(targets["age"][age], ages[member, age])
        assert evaluation.part == "valid"
        assert evaluation.n_rows == {"sick": sick.sum(), "age": age.sum()}
        assert evaluation.tasks["sick"]["roc_auc"] == pytest.approx(auc)
        assert evaluation.tasks["age"]["rmse"] == pytest.approx(error)
        assert evaluation.scores == pytest.approx({"sick": auc, "age": -error})
        assert evaluation.mean == pytest.approx((auc - error) / 2)
        assert set(evaluation.tasks["age"]) == {"r2", "rmse", "mae"}


def test_a_member_is_evaluated_as_if_alone() -> None:
    kinds, targets = study()
    answers = outputs(3)
    together = evaluate_members(kinds, answers, targets, "test")
    for member in range(3):
        one = {task: array[member] for task, array in answers.items()}
        assert evaluate_one(kinds, one, targets, "test") == together[member]


def test_primary_only_gives_the_same_scores() -> None:
    kinds, targets = study()
    full = evaluate_members(kinds, outputs(2), targets, "valid")
    quick = evaluate_members(kinds, outputs(2), targets, "valid", primary_only=True)
    assert [member.scores for member in quick] == [member.scores for member in full]
    assert quick[0].tasks["age"].keys() == {"rmse"}


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_diverged_member_is_nan_and_the_others_stay(value: float) -> None:
    kinds, targets = study()
    answers = outputs(3)
    healthy = evaluate_members(kinds, answers, targets, "valid")
    answers["age"][1, -1] = value
    found = evaluate_members(kinds, answers, targets, "valid")
    assert math.isnan(found[1].scores["age"])
    assert math.isnan(found[1].mean)
    assert found[1].scores["sick"] == healthy[1].scores["sick"]
    assert [found[0], found[2]] == [healthy[0], healthy[2]]


def test_a_task_without_a_labelled_row_is_named() -> None:
    kinds, targets = study()
    targets["age"] = np.full(N_ROWS, np.nan, dtype=np.float32)
    with pytest.raises(DataError, match=r"`age` must have a labelled row in test. .*50 rows"):
        evaluate_members(kinds, outputs(1), targets, "test")


def test_an_evaluation_survives_json() -> None:
    kinds, targets = study()
    answers = outputs(2)
    answers["sick"][1] = np.nan
    whole, broken = evaluate_members(kinds, answers, targets, "test")
    stored = json.loads(json.dumps(whole.to_json(), allow_nan=False))
    assert Evaluation.from_json(stored) == whole
    stored = json.loads(json.dumps(broken.to_json(), allow_nan=False))
    assert stored["mean"] is None
    assert math.isnan(Evaluation.from_json(stored).scores["sick"])
    assert stored["tasks"]["age"] == broken.tasks["age"]


def test_thresholds_are_tuned_on_the_labelled_rows_of_valid() -> None:
    table = pd.DataFrame({"a": [1.0, 0.0, 1.0, 0.0, None], "b": [0.0, 1.0, 1.0, 0.0, 1.0]})
    spec = TaskSpec("multilabel", ["a", "b"], threshold="tuned")
    kinds: list[Kind] = [Multilabel(Multilabel.fit("t", "t", spec, table))]
    targets = {"t": kinds[0].encode(table)}
    answers = {"t": np.nan_to_num(targets["t"], nan=1.0) - 3.0}  # right order, all below 1/2
    assert evaluate_one(kinds, answers, targets, "valid").mean == 0.0
    chosen = tuned(kinds, answers, targets)
    assert evaluate_one(chosen, answers, targets, "valid").mean == 1.0
