"""What is particular to each kind: order of labels, thresholds, units, and what is refused."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from pipeline.errors import DataError
from pipeline.study.task_spec import TaskSpec
from pipeline.tasks.base import Kind, TaskInfo
from pipeline.tasks.binary import Binary
from pipeline.tasks.multiclass import Multiclass
from pipeline.tasks.multilabel import Multilabel, best_threshold
from pipeline.tasks.probabilities import logit, sigmoid, softmax
from pipeline.tasks.regression import Regression


def fit(kind: type[Kind], labels: object, **options: Any) -> TaskInfo:
    table = labels if isinstance(labels, pd.DataFrame) else pd.DataFrame({"y": labels})
    spec = TaskSpec(kind=kind.name, **{"target": "y", **options})
    return kind.fit("t", "t", spec, table)


@pytest.mark.parametrize(
    ("labels", "options", "classes"),
    [
        (["b", "a", "a"], {}, ("a", "b")),
        (["b", "b", "a"], {}, ("b", "a")),
        (["b", "a"], {}, ("a", "b")),
        (["b", "a", "a"], {"positive": "a"}, ("b", "a")),
        ([1, 1, 0], {"positive": 1}, ("0", "1")),
        ([1.0, None, 0.0, 0.0], {"positive": 0}, ("1", "0")),
        ([True, True, False], {"positive": True}, ("false", "true")),
        ([10, 9], {}, ("9", "10")),
    ],
)
def test_the_positive_label_is_given_or_the_rarer(
    labels: list[object], options: dict[str, Any], classes: tuple[str, str]
) -> None:
    assert fit(Binary, labels, **options).classes == classes


def test_binary_refuses_what_it_cannot_learn() -> None:
    with pytest.raises(DataError, match=r"`positive` of task `t`.*Found `Yes`. Did you mean `yes`"):
        fit(Binary, ["yes", "no"], positive="Yes")
    with pytest.raises(DataError, match=r"must have two labels. Found 3: a, b, c. .*`multiclass`"):
        fit(Binary, list("abc"))
    with pytest.raises(DataError, match=r"`target` must be one column.*Found y, z. .*`multilabel`"):
        fit(Binary, ["a", "b"], target=["y", "z"])


@pytest.mark.parametrize("kind", [Binary, Multiclass])
def test_a_target_with_one_class_is_refused(kind: type[Kind]) -> None:
    with pytest.raises(DataError, match=r"`y` of task `t`.*only `a`, in 3 rows"):
        fit(kind, ["a", "a", "a", None])


@pytest.mark.parametrize("kind", [Binary, Multiclass])
def test_a_label_unseen_in_train_is_refused(kind: Any) -> None:
    bound = kind(fit(kind, [0, 1, 1]))
    with pytest.raises(DataError, match=r"`y` of task `t`.*Found `7` in 2 rows"):
        bound.encode(pd.DataFrame({"y": [0, 7, 7.0, None]}))


def test_the_constant_gives_the_shares_of_train() -> None:
    binary = fit(Binary, ["a", "a", "a", "b", None])
    np.testing.assert_allclose(sigmoid(np.array(binary.constant)), [0.25])
    several = fit(Multiclass, ["a", "a", "c", "b"])
    np.testing.assert_allclose(softmax(np.array(several.constant)), [0.5, 0.25, 0.25])


@pytest.mark.parametrize("metric", ["r2", "rmse", "mae"])
def test_the_constant_of_a_number_is_best_for_its_metric(metric: str) -> None:
    numbers = np.array([0.0, 1.0, 1.5, 50.0])
    kind = Regression(fit(Regression, numbers, metric=metric))
    centre = kind.decode(np.array([kind.info.constant])).values[0]
    assert centre == pytest.approx(np.median(numbers) if metric == "mae" else numbers.mean())


def test_regression_reads_numbers_in_any_dress() -> None:
    kind = Regression(fit(Regression, ["1", 2, 3.5, None]))
    found = kind.encode(pd.DataFrame({"y": pd.array([4, None], dtype="Int64")}))
    np.testing.assert_array_equal(found, [4, np.nan])


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (["1", "x", "y"], "`y` of task `t` must hold numbers. Found `x`, and 2 such rows"),
        ([1.0, np.inf, -np.inf], "must hold finite numbers. Found `inf`, and 2 such rows"),
        ([1.0, 1e300], r"must hold finite numbers. Found `1e\+300`"),
        ([2, 2, None], "at least two values in train. Found only 2, in 2 rows"),
    ],
)
def test_regression_refuses_what_is_no_number(labels: list[object], message: str) -> None:
    with pytest.raises(DataError, match=message):
        fit(Regression, labels)


def test_a_trial_may_change_the_loss_and_nothing_else() -> None:
    kind = Regression(fit(Regression, [1.0, 2.0, 4.0]))
    changed = kind.with_spec(TaskSpec("regression", "other", loss="huber", delta=0.5))
    assert changed.info.options == {**kind.info.options, "loss": "huber", "delta": 0.5}
    assert changed.info.columns == kind.info.columns


def test_labels_with_a_separator_are_trimmed_and_counted_once() -> None:
    kind = Multilabel(fit(Multilabel, ["b, a", "a,a,", "", None, " c "], separator=","))
    assert kind.info.classes == ("a", "b", "c")
    found = kind.encode(pd.DataFrame({"y": ["c,a", "", None]}))
    np.testing.assert_array_equal(found, [[1, 0, 1], [0, 0, 0], [np.nan] * 3])
    answers = kind.answer(np.array([[1.0, -1.0, 1.0], [-1.0, -1.0, -1.0]]))
    assert answers["t"].tolist() == ["a,c", ""]
    with pytest.raises(DataError, match=r"Found `z` in 1 row"):
        kind.encode(pd.DataFrame({"y": ["a,z"]}))


def test_label_columns_may_be_numbers_booleans_or_text() -> None:
    table = pd.DataFrame({"a": [0, 1, None], "b": [True, False, True], "c": ["1", "0", "1"]})
    kind = Multilabel(fit(Multilabel, table, target=["a", "b", "c"]))
    assert kind.info.classes == ("a", "b", "c")
    np.testing.assert_array_equal(kind.encode(table), [[0, 1, 1], [1, 0, 0], [np.nan] * 3])
    assert kind.answer(np.array([[1.0, -1.0, 1.0]]))["t"].tolist() == ["a;c"]


@pytest.mark.parametrize(
    ("labels", "options", "message"),
    [
        ({"y": [0, 2]}, {"target": ["y"]}, "`y` of task `t` must hold 0 or 1. Found `2`"),
        ({"y": [0, 0]}, {"target": ["y"]}, "Label `y` of task `t`.*Found it on 0 of 2"),
        ({"y": ["a", "a;b"]}, {"separator": ";"}, "Label `a` of task `t`.*on 2 of 2"),
        ({"y": ["a", "b"]}, {}, "one column together with `separator`. Found 'y'"),
        ({"y": ["", ""]}, {"separator": ";"}, "must have a labelled train row"),
    ],
)
def test_multilabel_refuses_what_it_cannot_learn(
    labels: dict[str, list[object]], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        fit(Multilabel, pd.DataFrame(labels), **options)


def test_a_fixed_threshold_holds_for_every_label() -> None:
    labels = pd.DataFrame({"a": [0, 1], "b": [1, 0]})
    kind = Multilabel(fit(Multilabel, labels, target=["a", "b"], threshold=0.8))
    assert kind.decode(np.array([[1.0, 2.0]])).values.tolist() == [[0, 1]]
    assert kind.tune(np.zeros((2, 2)), kind.encode(labels)) == kind.info


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 10)), min_size=1, max_size=15))
def test_no_threshold_beats_the_tuned_one(rows: list[tuple[bool, int]]) -> None:
    target = np.array([has for has, _ in rows], dtype=np.float32)
    predicted = np.array([tenths / 10 for _, tenths in rows])
    threshold = best_threshold(target, predicted)
    if not target.any():
        assert threshold == 0.5
        return

    def f1(candidate: float) -> float:
        return float(f1_score(target, predicted >= candidate, zero_division=0))

    assert f1(threshold) == pytest.approx(max(f1(i / 20) for i in range(20)))


def test_tuned_thresholds_are_used_and_stored() -> None:
    labels = pd.DataFrame({"y": ["a", "b", "a;b", "b", None]})
    kind = Multilabel(fit(Multilabel, labels, separator=";", threshold="tuned"))
    target = kind.encode(labels)
    outputs = logit(np.array([[0.3, 0.1], [0.1, 0.9], [0.4, 0.9], [0.2, 0.9], [0.99, 0.1]]))
    tuned = Multilabel(kind.tune(outputs, target))
    assert tuned.info.options["threshold"][0] == pytest.approx(0.25)  # not the unlabelled row's
    np.testing.assert_array_equal(tuned.decode(outputs[:4]).values, target[:4])


def test_micro_f1_gets_one_threshold_for_all_labels() -> None:
    random = np.random.default_rng(0)
    target = (random.random((200, 3)) < [0.5, 0.2, 0.05]).astype(np.float32)
    outputs = random.normal(size=(200, 3)) + 2 * target
    names = [f"c{i}" for i in range(3)]
    labels = pd.DataFrame(target.astype(int), columns=names)
    kind = Multilabel(fit(Multilabel, labels, target=names, metric="micro_f1", threshold="tuned"))
    tuned = Multilabel(kind.tune(outputs, target))
    thresholds = tuned.info.options["threshold"]
    assert len(set(thresholds)) == 1

    def micro(threshold: float) -> float:
        return float(f1_score(target, sigmoid(outputs) >= threshold, average="micro"))

    assert micro(thresholds[0]) >= max(micro(i / 100) for i in range(100)) - 1e-12


def test_probabilities_of_huge_logits_do_not_overflow() -> None:
    np.testing.assert_array_equal(sigmoid(np.array([-1e4, 0.0, 1e4])), [0.0, 0.5, 1.0])
    np.testing.assert_array_equal(softmax(np.array([1e4, -1e4])), [1.0, 0.0])
