"""From rows to the comparison: scores, intervals, gains, verdicts; readings of test."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import r2_score, roc_auc_score

from pipeline.comparison.compare import Scored, compare_rows, score_rows
from pipeline.comparison.readings import Readings
from pipeline.comparison.rows import NAMES, Row
from pipeline.data.encoding import Encoder
from pipeline.data.prepared import Part, Prepared, PrepareReport
from pipeline.driver.records import StudyFolder
from pipeline.study import catalogue
from pipeline.study.spec import TaskSpec
from pipeline.tasks.registry import kind_of

N_ROWS = 120
KINDS = {"sick": "binary", "age": "regression"}


def make_prepared(grouped: bool = False) -> Prepared:
    """No inputs: rows bring their own outputs. Every part has the same labels."""
    draw = np.random.default_rng(2)
    labels = pd.DataFrame({"sick": draw.random(N_ROWS) < 0.4, "age": draw.normal(50, 10, N_ROWS)})
    infos = tuple(
        catalogue.load("kind", kind).fit(task, task, TaskSpec(kind, task), labels)
        for task, kind in KINDS.items()
    )
    part = Part(
        numeric=np.zeros((N_ROWS, 0), np.float32),
        codes=np.zeros((N_ROWS, 0), np.int32),
        targets={info.name: kind_of(info).encode(labels) for info in infos},
        ids=np.arange(N_ROWS).astype("S"),
        groups=np.arange(N_ROWS) // 12 if grouped else None,
    )
    parts = {"train": part, "valid": part, "test": part}
    report = PrepareReport({}, {}, 0, (), {})
    return Prepared(parts, Encoder((), ()), infos, "data", "prepared", report)


def make_row(prepared: Prepared, kind: str, noise: float, age_noise: float | None = None) -> Row:
    """Outputs that are the truth and noise, in standard deviations; infinite noise leaves no truth.

    `age_noise` is that of the task `age`, where it differs.
    """
    draw = np.random.default_rng(list(kind.encode()))
    spec = prepared.tasks[1].options
    truth = {
        "sick": prepared.parts["test"].targets["sick"] * 2 - 1,
        "age": (prepared.parts["test"].targets["age"] - spec["mean"]) / spec["std"],
    }
    levels = {"sick": noise, "age": noise if age_noise is None else age_noise}
    outputs = {}
    for task, values in truth.items():
        luck = draw.normal(size=N_ROWS)
        level = levels[task]
        mixed = 0.01 * luck if np.isinf(level) else values + level * luck
        outputs[task] = mixed[:, None].astype(np.float32)
    return Row(NAMES[kind], kind, {"valid": outputs, "test": outputs}, 1, 0, {}, f"{kind}-key")


def constant(prepared: Prepared) -> Row:
    outputs = {
        info.name: np.tile(np.array(info.constant, np.float32), (N_ROWS, 1))
        for info in prepared.tasks
    }
    return Row("constant", "constant", {"valid": outputs, "test": outputs}, 2, 0, {}, "c")


def compared(rows: list[Row], prepared: Prepared, test_reads: int = 0) -> tuple[list[Scored], dict]:
    scored = score_rows(rows, prepared, "test", seed=0)
    return scored, compare_rows("study", scored, prepared, "test", test_reads)


@pytest.fixture(scope="module")
def prepared() -> Prepared:
    return make_prepared()


def test_gains_are_shares_of_what_inputs_can_win(prepared: Prepared) -> None:
    rows = [make_row(prepared, "tuned", 1.0), make_row(prepared, "single_task", 2.0),
            constant(prepared)]  # fmt: skip
    _, found = compared(rows, prepared, test_reads=3)
    targets = prepared.parts["test"].targets
    tuned, alone = (row.outputs["test"] for row in rows[:2])
    auc = [roc_auc_score(targets["sick"], outputs["sick"][:, 0]) for outputs in (tuned, alone)]
    options = prepared.tasks[1].options
    r2 = [
        r2_score(targets["age"], outputs["age"][:, 0] * options["std"] + options["mean"])
        for outputs in (tuned, alone)
    ]
    sick = (auc[0] - auc[1]) / (1 - 0.5)
    age = r2[0] - r2[1]
    assert found["gains"]["sick"]["gain"] == pytest.approx(sick)
    assert found["gains"]["age"]["gain"] == pytest.approx(age, abs=1e-5)
    assert found["mean_gain"] == pytest.approx((sick + age) / 2, abs=1e-5)
    assert found["rows"][0]["scores"] == pytest.approx({"sick": auc[0], "age": r2[0]}, abs=1e-5)
    assert found["primary"] == {"sick": "roc_auc", "age": "r2"}
    assert found["test_reads"] == 3


def test_delta_m_is_null_with_its_reason_where_alone_is_near_zero(prepared: Prepared) -> None:
    good = [make_row(prepared, "tuned", 0.3), make_row(prepared, "single_task", 0.6),
            constant(prepared)]  # fmt: skip
    scored, found = compared(good, prepared)
    tuned, alone = (one.evaluation.scores for one in scored[:2])
    relative = [(tuned[task] - alone[task]) / alone[task] for task in KINDS]
    assert found["delta_m"] == pytest.approx(np.mean(relative))
    assert found["delta_m_reason"] == ""
    good[1] = make_row(prepared, "single_task", 0.6, age_noise=np.inf)
    _, found = compared(good, prepared)
    assert found["delta_m"] is None
    assert "`age` alone" in found["delta_m_reason"]


def test_neither_is_said_only_where_no_row_beats_the_constant(prepared: Prepared) -> None:
    rows = [make_row(prepared, "tuned", 1.0, age_noise=np.inf),
            make_row(prepared, "linear", np.inf), constant(prepared)]  # fmt: skip
    _, found = compared(rows, prepared)
    assert found["verdicts"] == {"sick": "unclear", "age": "neither"}
    rows.append(make_row(prepared, "boosting", 0.5))
    _, found = compared(rows, prepared)
    assert found["verdicts"] == {"sick": "unclear", "age": "unclear"}


def test_without_its_rows_there_are_no_gains(prepared: Prepared) -> None:
    _, found = compared([make_row(prepared, "tuned", 1.0)], prepared)
    assert (found["gains"], found["mean_gain"], found["delta_m"]) == ({}, None, None)
    assert found["verdicts"] == {"sick": "unclear", "age": "unclear"}
    _, found = compared([], prepared)
    assert found["rows"] == []


def test_the_interval_is_that_of_the_mean_and_of_whole_groups(prepared: Prepared) -> None:
    [row] = score_rows([make_row(prepared, "tuned", 1.0)], prepared, "test", seed=0)
    low, high = row.interval
    assert (low, high) == pytest.approx(np.quantile(row.samples.mean(1), [0.025, 0.975]))
    assert low < row.evaluation.mean < high
    assert np.isclose(row.evaluation.mean, np.mean(list(row.evaluation.scores.values())))
    grouped = make_prepared(grouped=True)
    [other] = score_rows([make_row(grouped, "tuned", 1.0)], grouped, "test", seed=0)
    assert other.evaluation == row.evaluation
    assert other.interval != row.interval


def test_draws_are_common_to_rows(prepared: Prepared) -> None:
    row = make_row(prepared, "tuned", 1.0)
    twice = score_rows([row, row], prepared, "test", seed=0)
    assert np.array_equal(twice[0].samples, twice[1].samples)
    [other] = score_rows([row], prepared, "test", seed=1)
    assert not np.array_equal(other.samples, twice[0].samples)


def test_the_document_is_json(prepared: Prepared) -> None:
    rows = [make_row(prepared, "tuned", 1.0), make_row(prepared, "single_task", 1.5),
            constant(prepared)]  # fmt: skip
    _, found = compared(rows, prepared)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["rows"][2]["budget"] == {"trials": 2, "member_epochs": 0}


def test_a_reading_is_kept_once_for_a_model_and_its_data(
    prepared: Prepared, tmp_path: Path
) -> None:
    folder = StudyFolder(tmp_path, "s")
    [first], [second] = (
        score_rows([make_row(prepared, "tuned", noise)], prepared, "test", 0) for noise in (1, 2)
    )
    readings = Readings(folder)
    key = "trial-4"
    assert (readings.get(key, "data"), readings.all()) == (None, {})
    readings.add(key, "data", first.evaluation)
    before = readings.all()
    readings.add(key, "data", second.evaluation)  # what was read first stays
    assert Readings(folder).get(key, "data") == first.evaluation
    assert Readings(folder).all() == before
    readings.add(key, "other data", second.evaluation)
    readings.add("trial-5", "data", second.evaluation)
    assert len(readings.all()) == 3
