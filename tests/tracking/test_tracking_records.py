from hypothesis import given
from hypothesis import strategies as st
from mlflow.utils.validation import _validate_metric_name

from pipeline.tracking.records import STATUS, TrialEnd, metric_name


def test_the_table_of_states() -> None:
    assert STATUS == {
        "complete": "FINISHED",
        "pruned": "KILLED",
        "diverged": "KILLED",
        "failed": "FAILED",
        "interrupted": "KILLED",
    }


def test_names_of_tasks_made_per_value_are_kept() -> None:
    assert metric_name("valid", "score:school 7", "r2") == "valid/score:school 7/r2"


@given(st.lists(st.text(max_size=20), min_size=1, max_size=4))
def test_mlflow_takes_every_name(parts: list[str]) -> None:
    _validate_metric_name(metric_name(*parts))


def test_durations_are_metrics() -> None:
    end = TrialEnd("complete", metrics={"score": 0.5}, seconds={"train": 2.0})
    assert end.all_metrics() == {"score": 0.5, "seconds/train": 2.0}
