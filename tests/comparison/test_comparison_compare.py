"""From rows to the comparison: scores, intervals, gains, verdicts; readings of test."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import r2_score, roc_auc_score

from pipeline.comparison.compare import Scored, compare_rows, score_rows
from pipeline.comparison.readings import Readings
from pipeline.comparison.rows import Model, Row
from pipeline.data.encoding import Encoder
from pipeline.data.prepared import Part, Prepared, PrepareReport
from pipeline.driver.study_folder import StudyFolder
from pipeline.study import catalogue
from pipeline.study.task_spec import TaskSpec
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


def make_row(
    prepared: Prepared,
    kind: str,
    noise: float,
    age_noise: float | None = None,
    seeds: int = 1,
) -> Row:
    """Outputs that are the truth and noise, in standard deviations; infinite noise leaves no truth.

    `age_noise` is that of the task `age`, where it differs. Each seed has noise of its own.
    """
    draw = np.random.default_rng(list(kind.encode()))
    spec = prepared.tasks[1].options
    truth = {
        "sick": prepared.parts["test"].targets["sick"] * 2 - 1,
        "age": (prepared.parts["test"].targets["age"] - spec["mean"]) / spec["std"],
    }
    levels = {"sick": noise, "age": noise if age_noise is None else age_noise}
    models = []
    for seed in range(seeds):
        outputs = {}
        for task, values in truth.items():
            luck = draw.normal(size=N_ROWS)
            level = levels[task]
            mixed = 0.01 * luck if np.isinf(level) else values + level * luck
            outputs[task] = mixed[:, None].astype(np.float32)
        models.append(Model(f"{kind}-seed-{seed}", {"valid": outputs, "test": outputs}))
    return Row(kind, tuple(models), 1, 0, shipped=models[0].key)


def constant(prepared: Prepared) -> Row:
    outputs = {
        info.name: np.tile(np.array(info.constant, np.float32), (N_ROWS, 1))
        for info in prepared.tasks
    }
    model = Model("c", {"valid": outputs, "test": outputs})
    return Row("constant", (model,), 2, 0, shipped="c")


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
    tuned, alone = (row.models[0].outputs["test"] for row in rows[:2])
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


def test_several_seeds_give_verdicts_and_one_gives_none(prepared: Prepared) -> None:
    def found(seeds: int) -> dict[str, Any]:
        rows = [make_row(prepared, "tuned", 0.3, 2.0, seeds),
                make_row(prepared, "single_task", 1.5, 0.5, seeds), constant(prepared)]  # fmt: skip
        return compared(rows, prepared)[1]

    several = found(4)
    assert several["verdicts"] == {"sick": "together", "age": "alone"}
    assert several["gains"]["sick"]["low"] > 0 > several["gains"]["age"]["high"]
    assert several["differences"]["sick"]["p"] < 0.05
    low, high = several["mean_gain_interval"]
    assert low < several["mean_gain"] < high
    assert found(1)["verdicts"] == {"sick": "unclear", "age": "unclear"}


def test_a_row_shows_means_over_its_seeds_beside_the_one_that_is_shipped(
    prepared: Prepared,
) -> None:
    rows = [make_row(prepared, "tuned", 1.0, seeds=3), constant(prepared)]
    [tuned, flat], found = compared(rows, prepared)
    row = found["rows"][0]
    each = [tuned.readings[key] for key in rows[0].keys]
    assert row["scores"]["age"] == pytest.approx(np.mean([one.scores["age"] for one in each]))
    assert row["tasks"]["sick"]["accuracy"] == pytest.approx(
        np.mean([one.tasks["sick"]["accuracy"] for one in each])
    )
    assert row["mean"] == pytest.approx(np.mean([one.mean for one in each]))
    assert row["shipped"]["mean"] == pytest.approx(each[0].mean)
    assert (row["seeds"], row["model"]) == (3, "tuned-seed-0")
    assert row["valid_minus_test"] == pytest.approx(0.0)  # all parts have the same rows here
    assert (flat.n_seeds, found["rows"][1]["shipped"]) == (1, None)


def test_a_model_may_answer_one_task_only(prepared: Prepared) -> None:
    whole = make_row(prepared, "single_task", 1.0, seeds=2)
    models = [
        Model(f"{task}/{model.key}", {part: {task: outputs[task]}
                                      for part, outputs in model.outputs.items()})
        for task in KINDS for model in whole.models
    ]  # fmt: skip
    [one], [other] = (
        score_rows([row], prepared, "test", seed=0)
        for row in (whole, Row("single_task", tuple(models), 1, 0))
    )
    assert other.evaluation == one.evaluation
    assert {*other.readings} == {model.key for model in models}
    for task in KINDS:
        np.testing.assert_array_equal(other.scores[task].samples, one.scores[task].samples)


def test_the_interval_is_that_of_the_mean_and_of_whole_groups(prepared: Prepared) -> None:
    [row] = score_rows([make_row(prepared, "tuned", 1.0)], prepared, "test", seed=0)
    low, high = row.interval
    drawn = np.mean([scores.samples[0] for scores in row.scores.values()], axis=0)
    assert (low, high) == pytest.approx(np.quantile(drawn, [0.025, 0.975]))
    assert low < row.evaluation.mean < high
    assert np.isclose(row.evaluation.mean, np.mean(list(row.evaluation.scores.values())))
    grouped = make_prepared(grouped=True)
    [other] = score_rows([make_row(grouped, "tuned", 1.0)], grouped, "test", seed=0)
    assert other.evaluation == row.evaluation
    assert other.interval != row.interval
    assert other.scores["age"].n_units == 10


def test_draws_are_common_to_rows(prepared: Prepared) -> None:
    row = make_row(prepared, "tuned", 1.0)
    twice = score_rows([row, row], prepared, "test", seed=0)
    [other] = score_rows([row], prepared, "test", seed=1)
    for task in KINDS:
        first = twice[0].scores[task].samples
        assert np.array_equal(first, twice[1].scores[task].samples)
        assert not np.array_equal(other.scores[task].samples, first)


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
    readings.add_all("data", {"trial-5": second.evaluation, key: second.evaluation})
    assert Readings(folder).get(key, "data") == first.evaluation
    assert len(readings.all()) == 3
