"""What is tracked and kept of weights that move and of looks at the gradients."""

import json
from dataclasses import replace
from itertools import combinations

import pytest
from driver_cases import small_study
from hypothesis import given
from hypothesis import strategies as st

from pipeline.data.prepared import Prepared
from pipeline.driver.records import EpochRecord, TrialRecord
from pipeline.driver.trials import (
    MOST_PAIRS,
    end_of,
    epoch_record,
    gradient_metrics,
    make_member,
    make_record,
    start_of,
    weight_params,
)
from pipeline.study.loading import Study
from pipeline.training import diagnostics
from pipeline.training.diagnostics import Gradients
from pipeline.training.loop import train
from pipeline.training.members import EpochResult, Member, Trained


@given(st.integers(1, 20), st.integers(0, 99))
def test_the_metrics_of_a_look_grow_with_the_tasks_only(n_tasks: int, seed: int) -> None:
    tasks = [f"t{task}" for task in range(n_tasks)]
    pairs = {pair: ((seed + i) % 7 - 3) / 3 for i, pair in enumerate(combinations(tasks, 2))}
    found = gradient_metrics(Gradients(dict.fromkeys(tasks, 1.5), pairs))
    assert len(found) <= n_tasks + 1 + max(MOST_PAIRS, n_tasks)
    assert all(found[f"gradient/{task}/norm"] == 1.5 for task in tasks)
    if not pairs:
        assert list(found) == ["gradient/t0/norm"]
        return
    negative = sum(cosine < 0 for cosine in pairs.values())
    assert found["gradient/conflicting"] == pytest.approx(negative / len(pairs))
    if len(pairs) <= MOST_PAIRS:
        for (first, second), cosine in pairs.items():
            assert found[f"gradient/cosine/{first}-{second}"] == cosine
    else:
        own = [cosine for pair, cosine in pairs.items() if "t0" in pair]
        assert found["gradient/t0/cosine"] == pytest.approx(sum(own) / len(own))


def trained(
    study: Study, prepared: Prepared
) -> tuple[Member, Trained, list[EpochRecord], TrialRecord]:
    one = make_member(study, prepared, 0, study.centre())
    history: list[EpochRecord] = []

    def note(results: list[EpochResult]) -> dict[int, object]:
        history.extend(epoch_record(result, prepared, result.epoch) for result in results)
        return {}

    (end,) = train([one], prepared, note)  # type: ignore[arg-type]
    return one, end, history, make_record(one, end, prepared, {}, history, "run", 9)


def test_weights_that_move_come_with_each_epoch_and_stand_in_the_record(prepared: Prepared) -> None:
    study = small_study(weights={"strategy": "uncertainty"}, train__lr=0.05)
    one, end, history, record = trained(study, prepared)
    assert weight_params(one, prepared) == {}
    start = start_of(one, prepared, {}, "#0")
    assert start.params["weights.strategy"] == "uncertainty"
    assert start.params["weights.own_lr"] is None
    assert not [name for name in start.params if name.startswith("lambda.")]
    followed = [epoch.metrics["weight/size"] for epoch in history]
    assert len(set(followed)) == 3
    assert record.weights["size"] == followed[end.best_epoch - 1]
    # The last epoch's value stays the latest: the end tells none of its own.
    assert not [name for name in end_of(record).metrics if name.startswith("weight/")]


def test_weights_that_stay_are_params_and_told_at_the_end(prepared: Prepared) -> None:
    one, _, history, record = trained(small_study(), prepared)
    assert set(weight_params(one, prepared)) == {"lambda.colour", "lambda.size"}
    assert not [name for epoch in history for name in epoch.metrics if "weight" in name]
    assert {name for name in end_of(record).metrics if name.startswith("weight/")} == {
        "weight/colour", "weight/size",
    }  # fmt: skip


def test_mean_cosines_stand_in_the_record(
    prepared: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(diagnostics, "COST", 10.0)
    *_, history, record = trained(small_study(), prepared)
    cosines = [epoch.metrics["gradient/cosine/colour-size"] for epoch in history]
    assert record.cosines == {"colour": {"size": pytest.approx(sum(cosines) / 3)}}
    text = json.dumps(record.to_json(), allow_nan=False)
    assert TrialRecord.from_json(json.loads(text)) == record
    older = {key: value for key, value in record.to_json().items() if key != "cosines"}
    assert TrialRecord.from_json(older).cosines == {}


def test_no_look_where_the_study_wants_none(
    prepared: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(diagnostics, "COST", 10.0)
    *_, history, record = trained(small_study(train__diagnostics=False), prepared)
    assert record.cosines == {}
    assert not [name for epoch in history for name in epoch.metrics if "gradient" in name]


def test_weights_that_are_given_hold_whatever_the_strategy(prepared: Prepared) -> None:
    study = small_study(weights={"strategy": "famo"})
    given_weights = make_member(study, prepared, 0, study.centre(), weights=(1.0, 0.0))
    assert given_weights.weighting.strategy == "fixed"
    assert given_weights.weights == (1.0, 0.0)
    assert make_member(study, prepared, 0, study.centre()).weighting.strategy == "famo"


def test_a_searched_strategy_gives_each_trial_its_own(prepared: Prepared) -> None:
    study = small_study(weights={"strategy": {"choices": ["fixed", "dwa"]}})
    values = {**study.centre(), "weights.values.size": 10.0}
    fixed, dwa = (
        make_member(study, prepared, 0, {**values, "weights.strategy": name})
        for name in ("fixed", "dwa")
    )
    assert fixed.weights == pytest.approx((2 / 11, 20 / 11))
    assert dwa.weights == (1.0, 1.0)
    assert replace(dwa, weights=fixed.weights, weighting=fixed.weighting) == fixed
