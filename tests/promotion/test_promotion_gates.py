import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from promotion_cases import ALONE, change, contest, facts

from pipeline.promotion.contest import Contest
from pipeline.promotion.decision import Decision
from pipeline.promotion.gates import Facts, Gate, evaluate_gates, refusals
from pipeline.promotion.standalone import Standalone
from pipeline.study.promote_spec import GatesSpec

STANDALONE = ["loads_alone", "no_pickle", "same_answers", "max_latency_ms", "max_size_mb"]
LAST = [*STANDALONE, "signature", "clean_git"]


def gates(found: Facts, **spec: Any) -> dict[str, Gate]:
    return {gate.name: gate for gate in evaluate_gates(found, GatesSpec(**spec))}


def failed(found: Facts, **spec: Any) -> list[str]:
    return [name for name, gate in gates(found, **spec).items() if not gate.passed]


def test_a_first_champion_is_compared_with_nobody() -> None:
    found = gates(facts())
    assert list(found) == ["complete_trial", "beats_constant", "min_gain", *LAST]
    assert all(gate.passed for gate in found.values())
    assert found["beats_constant"].value == 0.3
    assert found["min_gain"].value is None
    assert "no champion yet" in found["min_gain"].note


def test_every_gate_is_evaluated_when_all_fail() -> None:
    broken = Standalone(error="ImportError", pickles=("model.pkl",), size_mb=9.0)
    found = facts(
        state="complete", rivals={"constant": change(-0.1)}, standalone=broken, dirty=True,
        contest=contest(-0.2, a=-0.1, b=-0.3), narrowed=["it needs the column `x`"],
    )  # fmt: skip
    spec = {"clean_git": True, "max_latency_ms": 1.0, "max_size_mb": 1.0}
    expected = ["beats_constant", "min_gain", "max_task_loss.a", "max_task_loss.b", *LAST]
    assert list(gates(found, **spec)) == ["complete_trial", *expected]
    assert failed(found, **spec) == expected
    assert len(refusals(evaluate_gates(found, GatesSpec(**spec)))) == len(expected)


def test_of_a_trial_that_did_not_complete_nothing_else_is_said() -> None:
    found = evaluate_gates(Facts("pruned"), GatesSpec())
    assert not any(gate.passed for gate in found if gate.name not in ("clean_git",
                   "max_latency_ms", "max_size_mb"))  # fmt: skip
    assert refusals(found) == ["complete_trial: the trial did not complete"]


def test_a_gain_must_be_sure_not_only_seen() -> None:
    assert failed(facts(contest=contest(0.02, low=-0.001))) == ["min_gain"]
    assert failed(facts(contest=contest(0.02, low=0.001))) == []
    assert failed(facts(contest=contest(0.02, low=0.001)), min_gain=0.01) == ["min_gain"]
    # No better, but surely not much worse.
    assert failed(facts(contest=contest(0.0, low=-0.004)), min_gain=-0.005) == []
    gate = gates(facts(contest=contest(0.02, low=-0.001)))["min_gain"]
    assert (gate.value, gate.bound, gate.threshold) == (0.02, -0.001, 0.0)
    assert refusals([gate]) == [
        "min_gain is 0.02, surely -0.001 or more, and must be at least 0 (100 of 100 rows)"
    ]


def test_a_better_mean_does_not_excuse_a_task_that_lost() -> None:
    found = facts(contest=contest(0.39, a=-0.02, b=0.8))
    assert failed(found) == ["max_task_loss.a"]
    gate = gates(found)["max_task_loss.a"]
    assert (gate.value, gate.threshold) == (-0.02, -0.01)
    assert failed(found, max_task_loss=0.02) == []


def test_thresholds_are_included() -> None:
    found = facts(contest=contest(0.05, low=0.81 - 0.80, a=0.80 - 0.81))
    assert failed(found, min_gain=0.01, max_task_loss=0.01) == []


def test_the_champion_itself_passes_again_whatever_gain_is_asked_for() -> None:
    found = gates(facts(is_champion=True), min_gain=0.1)
    assert all(gate.passed for gate in found.values())
    assert "champion already" in found["min_gain"].note


def test_a_champion_that_saw_every_test_row_cannot_be_compared() -> None:
    seen = Contest(n_rows=50, n_compared=0, n_trained=40, n_chosen=10)
    assert failed(facts(contest=seen)) == ["min_gain"]
    text = refusals(evaluate_gates(facts(contest=seen), GatesSpec()))[0]
    assert text == "min_gain: 0 of 50 rows (left out: 40 trained on, 10 chosen on)"


def test_rows_that_are_named_must_be_beaten_and_others_are_warned_of() -> None:
    found = facts(
        rivals={"constant": change(0.3), "linear": change(0.01, low=-0.002)},
        others={"boosting": -0.01, "equal_weights": 0.02},
    )
    assert failed(found, beat=["linear"]) == ["beats_linear"]
    assert gates(found)["beats_boosting"].warns
    assert gates(found)["beats_boosting"].note == "boosting scores higher"
    assert not gates(found)["beats_equal_weights"].warns


def test_a_row_that_must_be_beaten_and_was_not_measured_refuses() -> None:
    assert failed(facts(), beat=["linear"]) == ["beats_linear"]


def test_limits_of_time_and_size_are_optional() -> None:
    assert failed(facts(), max_latency_ms=2.0) == ["max_latency_ms"]
    assert failed(facts(), max_latency_ms=3.0, max_size_mb=1.5) == []
    assert failed(facts(), max_size_mb=1.0) == ["max_size_mb"]
    assert gates(facts())["max_latency_ms"].value == ALONE.latency_ms


def test_changes_that_are_not_committed_warn_or_refuse() -> None:
    assert gates(facts(dirty=True))["clean_git"].warns
    assert failed(facts(dirty=True)) == []
    assert failed(facts(dirty=True), clean_git=True) == ["clean_git"]
    assert failed(facts(dirty=None), clean_git=True) == ["clean_git"]
    assert failed(facts(dirty=None)) == []
    assert failed(facts(dirty=False), clean_git=True) == []


@pytest.mark.parametrize("gap", [None, math.inf, 0.01])
def test_answers_that_differ_refuse(gap: float | None) -> None:
    assert failed(facts(standalone=Standalone(gap=gap))) == ["same_answers"]


def test_no_number_passes_no_gate() -> None:
    found = facts(
        rivals={"constant": change(math.nan, math.nan)},
        contest=contest(math.nan, math.nan, a=math.nan),
    )
    assert failed(found) == ["beats_constant", "min_gain", "max_task_loss.a"]
    decision = Decision("refused", "m", None, "1", evaluate_gates(found, GatesSpec()))
    text = json.dumps(decision.to_json(), allow_nan=False)
    assert json.loads(text)["gates"][1]["value"] is None


number = st.floats(-1, 1)


@given(number, number, number, st.floats(0, 1))
def test_a_higher_gain_closes_no_gate(gain: float, low: float, loss: float, more: float) -> None:
    before = facts(contest=contest(gain, low, a=loss), rivals={"constant": change(gain, low)})
    after = facts(contest=contest(gain + more, low + more, a=loss + more),
                  rivals={"constant": change(gain + more, low + more)})  # fmt: skip
    assert {*failed(after)} <= {*failed(before)}


def test_the_record_has_the_keys_of_the_contract() -> None:
    gate = Gate("min_gain", True, 0.1, 0.0, 0.02, "100 of 100 rows")
    decision = Decision("promoted", "adult", "3", "2", (gate,), {"alias": "champion"})
    assert decision.to_json() == {
        "decision": "promoted",
        "model": "adult",
        "version": "3",
        "previous": "2",
        "gates": [{"name": "min_gain", "passed": True, "value": 0.1, "threshold": 0.0,
                   "bound": 0.02, "note": "100 of 100 rows", "warns": False}],
        "alias": "champion",
    }  # fmt: skip
