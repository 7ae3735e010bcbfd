"""Linear models of term weights: what they say of rows that they saw, and of others."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import Ridge
from sklearn.svm import LinearSVC
from text_cases import notes

from pipeline.data.assembling import build_prepared
from pipeline.data.linear_fitting import FOLDS, PENALTIES, STRENGTHS
from pipeline.data.prepare import open_prepared, prepare_data
from pipeline.data.prepared import Prepared
from pipeline.study.loading import parse_study
from pipeline.text.reduction import as_matrix

STUDY = """
name: topics
sources: {notes: {text: body, id: title}}
tasks:
  topic: {kind: multiclass, target: topic, metric: accuracy}
  sea: {kind: binary, target: sea}
  size: {kind: regression, target: size}
split: {train: 0.6, valid: 0.2, test: 0.2, group: desk}
model: {encoder: {kind: tfidf, width: 8, linear: true}}
"""
SAID = {"topic": slice(0, 3), "sea": slice(3, 4), "size": slice(4, 5)}


def table() -> pd.DataFrame:
    found = notes(240)
    found["sea"] = np.where(found["topic"] == "sea", "yes", "no")
    found["size"] = found["body"].str.count("fish") + found["body"].str.count("owl") * 2.0
    found["desk"] = np.arange(240) // 3
    return found


def prepared_of(frame: pd.DataFrame) -> Prepared:
    return build_prepared(parse_study(STUDY).spec, {"notes": frame}, {})


def said(prepared: Prepared, part: str, task: str) -> NDArray[np.float32]:
    assert prepared.encoder.text is not None
    return prepared.parts[part].numeric[:, -prepared.encoder.text.n_said :][:, SAID[task]]


@pytest.fixture(scope="module")
def prepared() -> Prepared:
    return prepared_of(table())


def folds_of(prepared: Prepared) -> NDArray[np.int64]:
    names, place = np.unique(prepared.parts["train"].groups, return_inverse=True)
    return np.random.default_rng(0).permutation(len(names))[place] % FOLDS


@pytest.mark.parametrize("task", ["topic", "sea", "size"])
def test_a_train_row_is_judged_by_models_of_other_groups(prepared: Prepared, task: str) -> None:
    """Against scikit-learn, fold by fold: for one of the penalties all folds agree."""
    train, folds = prepared.parts["train"], folds_of(prepared)
    rows = prepared.encoder.text.vocabulary["terms"]  # type: ignore[union-attr]
    x, y = as_matrix(train.texts["terms"], rows), train.targets[task]
    close = []
    for strength in PENALTIES if task == "size" else STRENGTHS:
        found = np.zeros((len(y), SAID[task].stop - SAID[task].start))
        for fold in range(FOLDS):
            fit, held = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
            if task == "size":
                answers = Ridge(alpha=strength, solver="sparse_cg").fit(x[fit], y[fit])
                found[held, 0] = answers.predict(x[held])
            else:
                machine = LinearSVC(C=strength, random_state=0).fit(x[fit], y[fit])
                found[held] = machine.decision_function(x[held]).reshape(len(held), -1)
        found = (found - found.mean()) / found.std()
        close.append(np.allclose(found, said(prepared, "train", task), atol=2e-3))
    assert sum(close) == 1


def test_groups_are_not_divided(prepared: Prepared) -> None:
    groups = pd.Series(folds_of(prepared)).groupby(prepared.parts["train"].groups)
    assert groups.nunique().eq(1).all()
    assert groups.ngroups > 2 * FOLDS


def test_a_task_never_sees_the_labels_of_another(prepared: Prepared) -> None:
    frame = table()
    other = prepared_of(frame.assign(size=frame["size"].to_numpy()[::-1]))
    for part in ("train", "valid", "test"):
        for task in ("topic", "sea"):
            np.testing.assert_array_equal(said(prepared, part, task), said(other, part, task))
    assert not np.allclose(said(prepared, "valid", "size"), said(other, "valid", "size"))


def test_labels_outside_train_change_nothing(prepared: Prepared) -> None:
    frame = table()
    named = frame["title"].astype(str)
    trained = {one.decode() for one in prepared.parts["train"].ids}
    outside = ~named.isin(trained)
    if not outside.any() or outside.all():  # ids that are no short ASCII are hashes
        pytest.fail("ids must name rows")
    frame.loc[outside, "topic"] = frame.loc[outside, "topic"].to_numpy()[::-1]
    frame.loc[outside, "size"] = 0.0
    other = prepared_of(frame)
    for part in ("train", "valid", "test"):
        for task in SAID:
            np.testing.assert_array_equal(said(prepared, part, task), said(other, part, task))


def test_luck_on_train_is_not_passed_on() -> None:
    frame = table()
    random = np.random.default_rng(3)
    frame["sea"] = random.permutation(frame["sea"].to_numpy())
    found = prepared_of(frame)
    train = found.parts["train"]
    right = (said(found, "train", "sea")[:, 0] > 0) == (train.targets["sea"] > 0.5)
    assert right.mean() < 0.75  # a model that saw these rows would know nearly all


def test_the_cache_and_the_encoder_say_the_same(tmp_path: Path) -> None:
    spec = parse_study(STUDY).spec
    first = prepare_data(spec, Path(), tmp_path, tables={"notes": table()})
    assert first.folder is not None
    again = open_prepared(first.folder)
    unseen = notes(20, seed=9)
    found, expected = (one.encoder.encode_all(unseen).numeric for one in (again, first))
    np.testing.assert_array_equal(found, expected)
    assert first.encoder.encode_all(unseen.iloc[:0]).numeric.shape == (0, found.shape[1])
    assert (found[:, -5:-2].argmax(axis=1) == pd.factorize(unseen["topic"], sort=True)[0]).all()


def test_a_class_that_a_fold_lacks_and_a_task_of_few_labels() -> None:
    frame = table()
    frame.loc[frame.index[:239], "sea"] = None
    frame.loc[frame.index[:6], "sea"] = ["yes", "yes", "yes", "no", "no", "no"]
    frame.loc[frame.index[20:23], "topic"] = "rare"
    spec = parse_study(STUDY.replace("group: desk", "column: part").replace(
        "train: 0.6, valid: 0.2, test: 0.2, ", "")).spec  # fmt: skip
    frame["part"] = np.where(np.arange(240) < 150, "train", "valid")
    frame.loc[200:, "part"] = "test"
    frame.loc[[160, 210], "sea"] = ["yes", "yes"]
    frame.loc[[161, 211], "sea"] = ["no", "no"]
    found = build_prepared(spec, {"notes": frame}, {})
    for part in found.parts.values():
        assert np.isfinite(part.numeric).all()
