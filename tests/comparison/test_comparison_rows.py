"""The rows of a comparison: what is trained for them, at which settings, and what is kept."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.comparison import rows as rows_module
from pipeline.comparison.rows import NAMES, Row, Shelf, collect_rows, weighted_members
from pipeline.data.prepare import prepare_data
from pipeline.data.prepared import Prepared
from pipeline.driver.records import StudyFolder, TrialRecord
from pipeline.driver.trials import make_member, make_predictor, make_record
from pipeline.errors import TrainingError
from pipeline.serving.predictor import Predictor
from pipeline.study.loading import Study, parse_study
from pipeline.training.loop import train
from pipeline.training.members import architecture_of
from pipeline.training.predict import predict_member

STUDY = """
name: compared
seed: 5
sources: {rows: {}}
tasks:
  sign: {kind: binary, target: sign}
  side: {kind: multiclass, target: side}
  size: {kind: regression, target: size}
split: {train: 0.6, valid: 0.2, test: 0.2}
model: {layers: [6], dropout: {low: 0.0, high: 0.4}}
train: {lr: {low: 1.0e-3, high: 1.0e+9, log: true}, epochs: 3, batch_size: 32, patience: null}
"""
PARAMS = {"train.lr": 0.02, "model.dropout": 0.2, "weights.values.side": 3.0,
          "weights.values.size": 0.3}  # fmt: skip


@dataclass(frozen=True)
class Case:
    """A study with one trial that was trained."""

    study: Study
    prepared: Prepared
    best: TrialRecord
    predictor: Predictor

    def collect(self, folder: StudyFolder, read_only: bool = False) -> list[Row]:
        return collect_rows(
            self.study, self.prepared, folder, self.best, self.predictor, lambda _: None, read_only
        )


def make_case(prepared: Prepared, number: int, params: dict[str, float]) -> Case:
    study = parse_study(STUDY)
    member = make_member(study, prepared, number, params)
    [trained] = train([member], prepared)
    record = make_record(member, trained, prepared, params, [], "run", 0)
    return Case(study, prepared, record, make_predictor(member, trained, prepared))


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    draw = np.random.default_rng(1)
    a, b, c = draw.normal(size=(3, 150))
    frame = pd.DataFrame(
        {"a": a, "b": b, "city": draw.choice(list("xyz"), 150),
         "sign": a + c > 0, "side": np.where(b > 0.4, "up", np.where(b < -0.4, "down", "flat")),
         "size": a - b + c / 4}
    )  # fmt: skip
    cache = tmp_path_factory.mktemp("cache")
    return prepare_data(parse_study(STUDY).spec, Path(), cache, tables={"rows": frame})


@pytest.fixture(scope="module")
def case(prepared: Prepared) -> Case:
    return make_case(prepared, 7, PARAMS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> StudyFolder:
    return StudyFolder(tmp_path_factory.mktemp("studies"), "compared")


@pytest.fixture(scope="module")
def rows(case: Case, folder: StudyFolder) -> list[Row]:
    return case.collect(folder)


def check_equal(row: Row, outputs: Callable[[str, str], np.ndarray]) -> None:
    for part, tasks in row.outputs.items():
        assert part in ("valid", "test")
        for task, values in tasks.items():
            np.testing.assert_allclose(values, outputs(part, task), atol=1e-5)


def test_rows_come_in_the_order_of_the_table_each_with_a_key_of_its_own(rows: list[Row]) -> None:
    assert [row.kind for row in rows] == list(NAMES)
    assert [row.name for row in rows] == list(NAMES.values())
    assert len({row.key for row in rows}) == len(rows)
    assert rows[0].key == "trial-7"
    for row in rows:
        assert {*row.outputs} == {"valid", "test"}
        assert list(row.outputs["test"]) == ["sign", "side", "size"]


def test_the_tuned_row_is_the_model_itself(rows: list[Row], case: Case) -> None:
    def outputs(part: str, task: str) -> np.ndarray:
        model = case.predictor
        return predict_member(model.architecture, model.parameters, case.prepared.parts[part])[task]

    check_equal(rows[0], outputs)


def trained_alone(case: Case, weights: tuple[float, ...]) -> Callable[[str, str], np.ndarray]:
    """Outputs of the best trial's settings and seed under other weights, in an array of one."""
    member = make_member(
        case.study, case.prepared, 0, case.best.params, seed=case.best.seed, weights=weights
    )
    [trained] = train([member], case.prepared)
    shape = architecture_of(member, case.prepared)

    def outputs(part: str, task: str) -> np.ndarray:
        return predict_member(shape, trained.parameters, case.prepared.parts[part])[task]

    return outputs


def test_equal_weights_are_the_best_trials_settings_with_equal_weights(
    rows: list[Row], case: Case
) -> None:
    equal = rows[1]
    check_equal(equal, trained_alone(case, (1.0, 1.0, 1.0)))
    assert not np.allclose(equal.outputs["test"]["size"], rows[0].outputs["test"]["size"], 1e-3)
    assert (equal.n_trials, equal.member_epochs) == (1, 3)


@pytest.mark.parametrize("task", [0, 1, 2])
def test_each_task_alone_equals_training_it_alone(rows: list[Row], case: Case, task: int) -> None:
    alone = rows[2]
    name = ["sign", "side", "size"][task]
    weights = tuple(float(index == task) for index in range(3))
    outputs = trained_alone(case, weights)
    for part in ("valid", "test"):
        np.testing.assert_allclose(alone.outputs[part][name], outputs(part, name), atol=1e-5)
    assert (alone.n_trials, alone.member_epochs) == (3, 9)


def test_only_the_weights_differ_from_the_best_trial(case: Case) -> None:
    first, *others = weighted_members(case.study, case.prepared, case.best)
    own = make_member(case.study, case.prepared, 7, PARAMS)
    assert first.weights == (1.0, 1.0, 1.0)
    assert len(others) == 3
    for member in (first, *others):
        assert (member.model, member.train, member.seed, member.stream) == (
            own.model, own.train, own.seed, own.stream,
        )  # fmt: skip


def test_rows_are_kept_and_not_trained_again(
    rows: list[Row], case: Case, folder: StudyFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("train", "fit_constant", "fit_linear", "fit_boosting"):
        monkeypatch.setattr(rows_module, name, None)
    for kept, row in zip(case.collect(folder), rows, strict=True):
        assert (kept.name, kept.kind, kept.key) == (row.name, row.kind, row.key)
        assert (kept.n_trials, kept.member_epochs) == (row.n_trials, row.member_epochs)
        assert kept.settings == row.settings
        check_equal(kept, lambda part, task, row=row: row.outputs[part][task])


def test_another_best_trial_needs_only_the_rows_at_its_settings(
    rows: list[Row], prepared: Prepared, folder: StudyFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("fit_constant", "fit_linear", "fit_boosting"):
        monkeypatch.setattr(rows_module, name, None)
    other = make_case(prepared, 3, {**PARAMS, "train.lr": 0.01}).collect(folder)
    assert {row.key for row in other[3:]} == {row.key for row in rows[3:]}
    assert not {row.key for row in other[:3]} & {row.key for row in rows[:3]}


def test_reading_only_trains_nothing(case: Case, tmp_path: Path) -> None:
    found = case.collect(StudyFolder(tmp_path, "compared"), read_only=True)
    assert [row.kind for row in found] == ["tuned"]
    assert list(tmp_path.iterdir()) == []


def test_a_row_counts_only_when_all_of_it_is_written(rows: list[Row], tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    assert shelf.load("linear", "k") is None
    saved = shelf.save(rows[3], "k")
    assert saved.key == "linear-k"
    (tmp_path / "linear-k.json").unlink()  # a process killed before its last write
    assert shelf.load("linear", "k") is None


def test_a_baseline_that_diverges_says_what_to_do(prepared: Prepared, tmp_path: Path) -> None:
    case = make_case(prepared, 0, PARAMS)
    broken = TrialRecord(**{**vars(case.best), "params": {**PARAMS, "train.lr": 1e9}})
    with pytest.raises(TrainingError, match=r"ended as diverged: .*`train\.lr`"):
        collect_rows(
            case.study, prepared, StudyFolder(tmp_path, "x"), broken, case.predictor, print
        )
