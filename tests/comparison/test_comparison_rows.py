"""The rows of a comparison: finalists of searched rows, and what is fitted and kept."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.comparison import rows as rows_module
from pipeline.comparison.rows import NAMES, Row, collect_rows
from pipeline.comparison.shelf import Shelf
from pipeline.data.prepare import prepare_data
from pipeline.data.prepared import Prepared
from pipeline.data.text_encoding import Progress
from pipeline.driver.beside import RowsBeside
from pipeline.driver.choice import choose
from pipeline.driver.launch import SearchOptions
from pipeline.driver.records import TrialRecord
from pipeline.driver.rows import RowPlan
from pipeline.driver.search import Search
from pipeline.driver.study_folder import StudyFolder
from pipeline.errors import TrainingError
from pipeline.serving.predictor import Predictor
from pipeline.study.loading import Study, parse_study
from pipeline.tracking.tracker import NullTracker
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
train: {lr: {low: 1.0e-3, high: 1.0e-1, log: true}, epochs: 3, batch_size: 32, patience: null}
search: {trials: 4, cohort: 4, population: 16, pruner: none, finalists: {k: 2, seeds: 3}}
"""
ALONE = ("alone-sign", "alone-side", "alone-size")


class Case:
    """A study that was searched, whose baselines may be."""

    def __init__(self, prepared: Prepared, studies: Path, text: str = STUDY) -> None:
        self.study: Study = parse_study(text)
        self.prepared = prepared
        self.folder = StudyFolder(studies, "compared")
        describe = lambda trials, state: (pd.DataFrame(), "", {})  # noqa: E731
        Search(
            self.study, prepared, self.folder, NullTracker(), SearchOptions(4), [], describe
        ).run()  # fmt: skip

    def search_baselines(self) -> None:
        RowsBeside(
            self.study, self.prepared, self.folder, NullTracker(), lambda _: None, 1
        ).run()  # fmt: skip

    def files(self, row: str) -> StudyFolder:
        return self.folder if row == "tuned" else self.folder.row(row)

    def model_of(self, row: RowPlan, record: TrialRecord) -> Predictor:
        found = self.files(row.name).load_model(record.key)
        assert found is not None, "the models of chosen finalists are kept"
        return found

    def collect(self, read_only: bool = False, progress: Progress | None = None) -> list[Row]:
        return collect_rows(
            self.study, self.prepared, self.folder, self.model_of, lambda _: None, read_only,
            progress,
        )  # fmt: skip


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
def case(prepared: Prepared, tmp_path_factory: pytest.TempPathFactory) -> Case:
    made = Case(prepared, tmp_path_factory.mktemp("studies"))
    made.search_baselines()
    return made


@pytest.fixture(scope="module")
def rows(case: Case) -> list[Row]:
    return case.collect()


def test_rows_come_in_the_order_of_the_table_each_model_with_a_key_of_its_own(
    rows: list[Row],
) -> None:
    assert [row.kind for row in rows] == list(NAMES)
    assert [row.name for row in rows] == list(NAMES.values())
    keys = [key for row in rows for key in row.keys]
    assert len({*keys}) == len(keys) == 3 + 3 + 9 + 3
    for row in rows:
        assert {task for model in row.models for task in model.tasks} == {"sign", "side", "size"}


@pytest.mark.parametrize(
    ("position", "names"), [(0, ("tuned",)), (1, ("equal_weights",)), (2, ALONE)]
)
def test_a_searched_row_is_the_chosen_finalists_of_its_searches(
    rows: list[Row], case: Case, position: int, names: tuple[str, ...]
) -> None:
    row, models = rows[position], iter(rows[position].models)
    for name in names:
        folder = case.files(name)
        choice = choose(folder, case.study.spec.search.finalists)
        assert choice is not None
        prefix = "" if name == "tuned" else f"{name}/"
        if len(names) == 1:
            assert row.shipped == prefix + choice.shipped.key
        for record in choice.seeds:
            model = next(models)
            assert (model.key, model.run_id) == (prefix + record.key, record.run_id)
            assert model.epochs == record.epochs
            predictor = folder.load_model(record.key)
            assert predictor is not None
            tasks = (name.removeprefix("alone-"),) if len(names) > 1 else ("sign", "side", "size")
            assert model.tasks == tasks
            for part in ("valid", "test"):
                outputs = predict_member(
                    predictor.architecture, predictor.parameters, case.prepared.parts[part]
                )
                for task in tasks:
                    np.testing.assert_allclose(model.outputs[part][task], outputs[task], atol=1e-5)
    assert next(models, None) is None
    assert (row.n_trials, row.member_epochs) == (4 * len(names), 12 * len(names))
    assert row.finalist_epochs == 18 * len(names)
    assert {*row.settings} == {*names}


def test_long_work_names_its_row_its_task_and_its_model(case: Case) -> None:
    for fitted in (case.folder.path / "rows").glob("*.json"):
        fitted.unlink()
    told: list[str] = []
    case.collect(progress=lambda what, done, total: told.append(f"{what} {done}/{total}"))
    n_test = len(case.prepared.parts["test"])
    seeds = {row: choose(case.files(row), case.study.spec.search.finalists) for row in ALONE}
    alone = [(row, record) for row, choice in seeds.items() for record in choice.seeds]
    for number, (row, record) in enumerate(alone, start=1):
        name = f"Each task alone, {row.removeprefix('alone-')}, {record.label}"
        assert f"{name} (model {number} of 9): Loading 0/1" in told
        assert f"{name} (model {number} of 9): test: Answering, rows {n_test}/{n_test}" in told
    fits = [line for line in told if line.startswith(("Linear", "Boosting"))]
    assert fits == [
        line
        for row, n_fits in (("Linear", 5), ("Boosting", 6))
        for line in (
            f"{row}, encoding of the inputs 0/1",
            *(f"{row}, {task} (task {number} of 3), fits {done}/{n_fits}"
              for number, task in enumerate(("sign", "side", "size"), start=1)
              for done in range(n_fits + 1)),
        )
    ]  # fmt: skip


def test_fitted_rows_are_kept_and_not_fitted_again(
    rows: list[Row], case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("fit_constant", "fit_linear", "fit_boosting"):
        monkeypatch.setattr(rows_module, name, None)
    for kept, row in zip(case.collect(), rows, strict=True):
        assert (kept.name, kept.kind, kept.keys) == (row.name, row.kind, row.keys)
        assert (kept.n_trials, kept.member_epochs) == (row.n_trials, row.member_epochs)
        assert kept.settings == row.settings
        for one, other in zip(kept.models, row.models, strict=True):
            for part, tasks in one.outputs.items():
                for task, values in tasks.items():
                    np.testing.assert_allclose(values, other.outputs[part][task], atol=1e-5)


def test_reading_only_leaves_out_what_was_not_searched(prepared: Prepared, tmp_path: Path) -> None:
    case = Case(prepared, tmp_path)
    before = sorted(path for path in tmp_path.rglob("*") if path.is_file())
    found = case.collect(read_only=True)
    assert [row.kind for row in found] == ["tuned"]
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == before


def test_a_row_counts_only_when_all_of_it_is_written(rows: list[Row], tmp_path: Path) -> None:
    shelf = Shelf(tmp_path, "data")
    assert shelf.load("linear") is None
    outputs = rows[3].models[0].outputs
    result = rows_module.BaselineResult("linear", outputs, rows[3].settings, 5)
    shelf.save(result)
    kept = shelf.load("linear")
    assert kept is not None
    assert (kept.settings, kept.n_settings) == (rows[3].settings, 5)
    np.testing.assert_array_equal(kept.outputs["test"]["side"], outputs["test"]["side"])
    assert Shelf(tmp_path, "other data").load("linear") is None
    (tmp_path / f"{shelf.key('linear')}.json").unlink()  # a process killed before its last write
    assert shelf.load("linear") is None


def test_a_row_none_of_whose_trials_completes_says_what_to_do(
    prepared: Prepared, tmp_path: Path
) -> None:
    case = Case(prepared, tmp_path)
    with pytest.raises(TrainingError, match=r"No trial of the row equal_weights.*`train\.lr`"):
        case.collect()
