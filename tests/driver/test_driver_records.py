"""Trials as they are kept: what a record says, and which are the best."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.driver.records import Cohort, TrialRecord, best_trials
from pipeline.driver.trials import end_of


def test_a_record_survives_its_way_through_json(records: list[TrialRecord]) -> None:
    for record in records:
        text = json.dumps(record.to_json(), allow_nan=False)
        assert TrialRecord.from_json(json.loads(text)) == record


def test_a_record_says_how_the_trial_ended(records: list[TrialRecord]) -> None:
    complete, pruned = records
    assert (complete.state, complete.epochs) == ("complete", 3)
    assert complete.evaluation is not None
    assert complete.evaluation.mean == pytest.approx(complete.score)
    assert complete.curve == (0.1,)  # up to where it was a number
    assert (pruned.state, pruned.epochs, pruned.reason) == ("pruned", 1, "below the median")
    assert pruned.evaluation is None
    assert sum(complete.weights.values()) == pytest.approx(len(complete.weights))


def test_the_end_that_is_tracked_says_the_same(records: list[TrialRecord]) -> None:
    complete, pruned = records
    assert end_of(complete) == end_of(complete)  # told again after a crash, nothing changes
    assert end_of(complete).metrics["score"] == complete.score
    assert end_of(complete).timestamp_ms == 17
    assert end_of(pruned).reason == "below the median"
    failed = replace(pruned, state="failed", reason="Traceback: ...", score=None)
    assert end_of(failed).traceback == "Traceback: ..."
    assert "score" not in end_of(failed).metrics


def test_a_cohort_names_its_trials() -> None:
    assert list(Cohort(4, 7).numbers) == [4, 5, 6]


@given(st.data())
def test_the_best_trials_are_the_complete_ones_with_the_highest_scores(
    records: list[TrialRecord], data: st.DataObject
) -> None:
    ends = data.draw(
        st.lists(
            st.tuples(
                st.sampled_from(["complete", "complete", "pruned", "failed"]),
                st.none() | st.integers(-3, 3).map(float),
            ),
            max_size=12,
        )
    )
    trials = [
        replace(records[0], number=number, state=state, score=score)
        for number, (state, score) in enumerate(ends)
    ]
    count = data.draw(st.integers(1, 6))
    best = best_trials(data.draw(st.permutations(trials)), count)
    eligible = [t for t in trials if t.state == "complete" and t.score is not None]
    assert len(best) == min(count, len(eligible))
    worst = min((t.score for t in best), default=0.0)
    for trial in eligible:
        if trial not in best:
            assert trial.score <= worst
            assert all(t.number < trial.number for t in best if t.score == trial.score)
    assert [t.score for t in best] == sorted((t.score for t in best), reverse=True)
