import threading

import pytest

from pipeline.errors import StoreError
from pipeline.tracking.writer import Writer


def test_jobs_run_in_order_in_another_thread() -> None:
    seen: list[tuple[int, str]] = []
    writer = Writer()
    for number in range(50):
        writer.submit("A job", lambda n=number: seen.append((n, threading.current_thread().name)))
    writer.close()
    assert seen == [(number, "tracking") for number in range(50)]


def test_a_busy_store_is_tried_again() -> None:
    tries: list[int] = []

    def job() -> None:
        tries.append(1)
        if len(tries) < 3:
            raise OSError("busy")

    writer = Writer(pause_seconds=0)
    writer.submit("A job", job)
    writer.flush()
    assert len(tries) == 3
    writer.close()


def test_an_error_is_raised_once_by_what_waits_and_later_jobs_still_run() -> None:
    done: list[int] = []

    def job() -> None:
        raise OSError("no space left")

    writer = Writer(pause_seconds=0)
    writer.submit("Logging trial 3", job)
    writer.submit("Logging trial 4", lambda: done.append(4))
    with pytest.raises(StoreError, match="Logging trial 3 failed: no space left"):
        writer.flush()
    assert done == [4]
    writer.close()


def test_a_refused_value_is_not_tried_again() -> None:
    from mlflow.exceptions import MlflowException

    tries: list[int] = []

    def job() -> None:
        tries.append(1)
        raise MlflowException.invalid_parameter_value("a name with *")

    writer = Writer(pause_seconds=0)
    with pytest.raises(StoreError, match="a name with"):
        writer.call("A job", job)
    assert len(tries) == 1
    writer.close()


def test_a_mistake_in_a_job_does_not_stop_the_thread() -> None:
    writer = Writer(pause_seconds=0)
    writer.submit("A job", lambda: 1 / 0)
    with pytest.raises(StoreError, match="ZeroDivisionError"):
        writer.flush()
    assert writer.call("Another", lambda: 5) == 5
    writer.close()
    writer.close()
    with pytest.raises(RuntimeError, match="closed"):
        writer.submit("A job", lambda: None)
