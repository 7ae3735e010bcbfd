"""Tasks of one source that read different columns, from the file to a served answer."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.data.prepare import prepare_data, read_part
from pipeline.data.prepared import Prepared
from pipeline.driver.trials import make_member, make_predictor
from pipeline.study.loading import parse_study
from pipeline.training.loop import train

STUDY = """
name: two_views
sources: {pairs: {path: pairs.csv, numeric: [a, b]}}
tasks:
  first: {kind: binary, target: first, inputs: [a]}
  second: {kind: binary, target: second}
split: {train: 0.6, valid: 0.2, test: 0.2, group: who}
model: {layers: [8]}
train: {epochs: 10, batch_size: 32, lr: 0.02}
"""


def pairs() -> pd.DataFrame:
    """Both answers follow from `b`; from `a` follows nothing."""
    random = np.random.default_rng(0)
    a, b = random.normal(size=(2, 300))
    return pd.DataFrame({
        "a": a, "b": b, "who": np.arange(300) // 3,
        "first": np.where(b > 0, "yes", "no"), "second": np.where(b > 0, "yes", "no"),
    })  # fmt: skip


def prepared_of(tmp_path: Path, text: str = STUDY) -> Prepared:
    return prepare_data(parse_study(text).spec, Path(), tmp_path, tables={"pairs": pairs()})


def test_rows_of_a_view_stand_in_the_parts_of_their_rows(tmp_path: Path) -> None:
    prepared = prepared_of(tmp_path)
    whole = prepared_of(tmp_path, STUDY.replace(", inputs: [a]", ""))
    for name, part in prepared.parts.items():
        n_rows = len(whole.parts[name])
        assert len(part) == 2 * n_rows
        labelled = {task: ~np.isnan(target) for task, target in part.targets.items()}
        assert (labelled["first"] ^ labelled["second"]).all()
        for own in labelled.values():
            assert set(part.ids[own]) == set(whole.parts[name].ids)
        assert part.sources is not None
        assert len(np.unique(part.sources)) == 2
        raw = read_part(parse_study(STUDY).spec, Path(), name, tables={"pairs": pairs()})
        assert (raw["b"].isna().to_numpy() == labelled["first"]).all()  # `first` sees no b
        assert raw["a"].notna().all()
    assert [task.inputs for task in prepared.tasks] == [("a",), ()]


def test_a_task_learns_and_answers_from_its_inputs_alone(tmp_path: Path) -> None:
    prepared, study = prepared_of(tmp_path), parse_study(STUDY)
    (member,) = [make_member(study, prepared, 0, {})]
    (trained,) = train([member], prepared)
    assert trained.evaluation is not None
    assert trained.evaluation.scores["second"] > 0.95
    assert trained.evaluation.scores["first"] < 0.75
    predictor = make_predictor(member, trained, prepared)
    rows = pairs().head(6)
    shuffled = predictor.predict(rows.assign(b=rows["b"].to_numpy()[::-1]))
    answers = predictor.predict(rows)
    pd.testing.assert_series_equal(answers["first_proba_yes"], shuffled["first_proba_yes"])
    assert (answers["second_proba_yes"] != shuffled["second_proba_yes"]).any()
    part = prepared.parts["test"]
    raw = read_part(study.spec, Path(), "test", tables={"pairs": pairs()})
    own = ~np.isnan(part.targets["first"])
    served = predictor.predict(raw[own].assign(b=1.0))["first"]  # a column that is not read
    right = served == np.where(part.targets["first"][own] == 1, *prepared.tasks[0].classes[::-1])
    assert trained.evaluation.tasks["first"]["accuracy"] < 0.8
    assert 0.2 < right.mean() < 0.8


def test_all_tasks_with_the_same_inputs_need_no_second_rows(tmp_path: Path) -> None:
    text = STUDY.replace("target: second}", "target: second, inputs: [a]}")
    prepared = prepared_of(tmp_path, text)
    assert sum(map(len, prepared.parts.values())) == 300
    assert prepared.encoder.columns == ("a",)


def test_texts_are_read_by_the_tasks_that_name_them(tmp_path: Path) -> None:
    text = """
name: notes
sources: {notes: {path: notes.csv, text: [title, body]}}
tasks:
  kind: {kind: binary, target: kind, inputs: [title]}
  mood: {kind: binary, target: mood, inputs: [body]}
model: {encoder: {width: 4}}
"""
    table = pd.DataFrame({
        "title": [f"owl number {i % 7}" for i in range(100)],
        "body": [f"boat number {i % 9}" for i in range(100)],
        "kind": ["a", "b"] * 50, "mood": ["x", "y", "y", "x"] * 25,
    })  # fmt: skip
    prepared = prepare_data(parse_study(text).spec, Path(), tmp_path, tables={"notes": table})
    raw = read_part(parse_study(text).spec, Path(), "train", tables={"notes": table})
    labelled = ~np.isnan(prepared.parts["train"].targets["kind"])
    assert raw["body"][labelled].isna().all()
    assert raw["title"][~labelled].isna().all()
    assert raw["title"][labelled].str.startswith("owl").all()


def test_an_input_that_is_no_column_is_told(tmp_path: Path) -> None:
    with pytest.raises(Exception, match=r"`tasks.first.inputs` is no column of source `pairs`"):
        prepared_of(tmp_path, STUDY.replace("inputs: [a]", "inputs: [aa]"))
