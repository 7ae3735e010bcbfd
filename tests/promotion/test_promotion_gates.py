import json
import math
from dataclasses import dataclass
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.promotion.gates import Decision, Gate, evaluate_gates, refusals
from pipeline.study.outcome import GatesSpec


@dataclass(frozen=True)
class Scores:
    scores: dict[str, float]

    @property
    def mean(self) -> float:
        return fmean(self.scores.values())


CONSTANT = Scores({"a": 0.5, "b": 0.0})
SPEC = GatesSpec(min_gain=0.0, max_task_loss=0.01)


def gates(
    candidate: dict[str, float],
    champion: dict[str, float] | None,
    state: str = "complete",
    spec: GatesSpec = SPEC,
) -> dict[str, Gate]:
    found = evaluate_gates(
        state, Scores(candidate), CONSTANT, Scores(champion) if champion else None, spec
    )
    return {gate.name: gate for gate in found}


def test_a_first_champion_needs_to_beat_the_constant_only() -> None:
    found = gates({"a": 0.8, "b": 0.2}, None)
    assert list(found) == ["complete_trial", "beats_constant", "min_gain"]
    assert all(gate.passed for gate in found.values())
    assert found["beats_constant"].value == pytest.approx(0.25)
    assert found["min_gain"].value is None


def test_as_good_as_the_constant_is_not_enough() -> None:
    assert not gates({"a": 0.5, "b": 0.0}, None)["beats_constant"].passed


def test_every_gate_is_evaluated_when_all_fail() -> None:
    found = gates({"a": 0.4, "b": 0.0}, {"a": 0.8, "b": 0.1}, state="pruned")
    assert list(found) == [
        "complete_trial", "beats_constant", "min_gain", "max_task_loss.a", "max_task_loss.b",
    ]  # fmt: skip
    assert not any(gate.passed for gate in found.values())
    # What a trial that did not complete scores says nothing: that it did not is the one reason.
    assert refusals(list(found.values())) == ["complete_trial: the trial did not complete"]
    complete = gates({"a": 0.4, "b": 0.0}, {"a": 0.8, "b": 0.1})
    assert len(refusals(list(complete.values()))) == 4


def test_a_better_mean_does_not_excuse_a_task_that_lost() -> None:
    found = gates({"a": 0.78, "b": 0.9}, {"a": 0.8, "b": 0.1})
    assert found["min_gain"].passed
    assert not found["max_task_loss.a"].passed
    assert found["max_task_loss.a"].value == pytest.approx(-0.02)
    assert found["max_task_loss.a"].threshold == -0.01
    assert found["max_task_loss.b"].passed


def test_thresholds_are_included() -> None:
    found = gates({"a": 0.80, "b": 0.13}, {"a": 0.81, "b": 0.1}, spec=GatesSpec(0.01, 0.01))
    assert found["min_gain"].passed
    assert found["max_task_loss.a"].passed


def test_the_champion_itself_passes_again() -> None:
    same = {"a": 0.8, "b": 0.1}
    assert all(gate.passed for gate in gates(same, same).values())


def test_a_task_that_only_the_champion_answers_cannot_be_lost() -> None:
    found = gates({"a": 0.9}, {"a": 0.8, "b": 0.1})
    assert not found["max_task_loss.b"].passed
    assert found["min_gain"].value == pytest.approx(0.1)


def test_a_new_task_is_no_loss() -> None:
    found = gates({"a": 0.8, "new": 0.3}, {"a": 0.8})
    assert all(gate.passed for gate in found.values())
    assert found["min_gain"].value == pytest.approx(0.0)


def test_nothing_in_common_with_the_champion_is_refused() -> None:
    found = gates({"new": 0.9}, {"a": 0.8})
    assert not found["min_gain"].passed
    assert found["min_gain"].value is None


def test_no_number_passes_no_gate() -> None:
    found = gates({"a": math.nan, "b": 0.5}, {"a": 0.8, "b": 0.1})
    assert not found["beats_constant"].passed
    assert not found["min_gain"].passed
    assert not found["max_task_loss.a"].passed
    decision = Decision("refused", "m", None, "1", tuple(found.values()))
    text = json.dumps(decision.to_json(), allow_nan=False)
    assert json.loads(text)["gates"][1]["value"] is None


score = st.floats(-1, 1)


@given(st.dictionaries(st.sampled_from("abc"), score, min_size=1), st.data())
def test_raising_a_score_closes_no_gate(champion: dict[str, float], data: st.DataObject) -> None:
    candidate = {task: data.draw(score) for task in champion}
    task = data.draw(st.sampled_from(sorted(champion)))
    better = {**candidate, task: candidate[task] + 0.5}
    before, after = gates(candidate, champion), gates(better, champion)
    assert all(after[name].passed for name, gate in before.items() if gate.passed)


def test_the_record_has_the_keys_of_the_contract() -> None:
    decision = Decision(
        "promoted", "adult", "3", "2", (Gate("min_gain", True, 0.1, 0.0),), {"alias": "champion"}
    )
    assert decision.to_json() == {
        "decision": "promoted",
        "model": "adult",
        "version": "3",
        "previous": "2",
        "gates": [{"name": "min_gain", "passed": True, "value": 0.1, "threshold": 0.0}],
        "alias": "champion",
    }
