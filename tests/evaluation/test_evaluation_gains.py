"""Gains against each task alone: their units, and where they would mislead."""

import numpy as np
import pandas as pd
import pytest

from pipeline.evaluation.evaluate import Evaluation
from pipeline.evaluation.gains import delta_m, gain_unit, mean_gain
from pipeline.study.task_spec import TaskSpec
from pipeline.tasks.base import Kind
from pipeline.tasks.binary import Binary
from pipeline.tasks.regression import Regression

TABLE = pd.DataFrame({"sick": [0, 1, 1], "age": [30.0, 40.0, 60.0]})
SICK = Binary(Binary.fit("sick", "sick", TaskSpec("binary", "sick"), TABLE))
AGE = Regression(Regression.fit("age", "age", TaskSpec("regression", "age"), TABLE))
ERROR = Regression(
    Regression.fit("error", "error", TaskSpec("regression", "age", metric="rmse"), TABLE)
)


def evaluation(kinds: list[Kind], *values: float) -> Evaluation:
    of = dict(zip(kinds, values, strict=True))
    scores = {
        kind.info.name: float(kind.primary.score(np.array(value))) for kind, value in of.items()
    }
    tasks = {kind.info.name: {kind.info.metric: value} for kind, value in of.items()}
    return Evaluation("test", dict.fromkeys(scores, 3), tasks, scores, float(np.mean(values)))


def test_a_gain_is_a_share_of_what_the_inputs_can_win() -> None:
    assert gain_unit(SICK, constant=0.5) == pytest.approx(0.5)
    assert gain_unit(AGE, constant=-0.25) == pytest.approx(1.25)


def test_a_gain_is_undefined_without_a_best_value_or_above_it() -> None:
    assert gain_unit(ERROR, constant=-9.0) is None
    assert gain_unit(SICK, constant=1.0) is None


def test_the_mean_gain_skips_the_undefined() -> None:
    assert mean_gain({"sick": 0.2, "age": 0.1, "error": None}) == pytest.approx(0.15)
    assert mean_gain({"error": None}) is None


def test_delta_m_counts_each_metric_in_its_own_direction() -> None:
    kinds: list[Kind] = [SICK, ERROR]
    found = delta_m(kinds, evaluation(kinds, 0.9, 3.0), evaluation(kinds, 0.75, 4.0))
    assert found.value == pytest.approx((0.2 + 0.25) / 2)
    worse = delta_m(kinds, evaluation(kinds, 0.75, 5.0), evaluation(kinds, 0.75, 4.0))
    assert worse.value == pytest.approx(-0.125)


@pytest.mark.parametrize("alone", [-0.3, 0.0, 0.049, float("nan")])
def test_delta_m_is_null_with_its_reason_where_a_task_alone_is_near_nothing(alone: float) -> None:
    kinds: list[Kind] = [SICK, AGE]
    found = delta_m(kinds, evaluation(kinds, 0.9, 0.3), evaluation(kinds, 0.8, alone))
    assert found.value is None
    assert "`age` alone has r2" in found.reason


def test_delta_m_of_a_small_error_is_defined_but_not_of_none() -> None:
    kinds: list[Kind] = [ERROR]
    found = delta_m(kinds, evaluation(kinds, 0.01), evaluation(kinds, 0.02))
    assert found.value == pytest.approx(0.5)
    assert delta_m(kinds, evaluation(kinds, 0.01), evaluation(kinds, 0.0)).value is None
