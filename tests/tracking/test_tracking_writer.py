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


def test_what_is_gathered_is_written_by_and_by_and_whole_at_the_end() -> None:
    called: list[bool] = []
    seen = threading.Event()

    def gathered(everything: bool) -> None:
        called.append(everything)
        if called.count(False) == 2:
            seen.set()

    writer = Writer(gathered, every_seconds=0.001)
    assert seen.wait(60)
    assert True not in called
    writer.flush()
    assert called.count(True) == 1
    writer.close()
    assert called.count(True) == 2
    writer.flush()
    writer.close()
    assert called.count(True) == 2


def test_a_mistake_in_what_is_gathered_is_told_and_the_thread_lives_on() -> None:
    writer = Writer(lambda everything: 1 / 0, every_seconds=60)  # type: ignore[arg-type, return-value]
    with pytest.raises(StoreError, match="ZeroDivisionError"):
        writer.flush()
    writer.submit("A job", lambda: None)
    with pytest.raises(StoreError, match="ZeroDivisionError"):
        writer.close()
    assert writer.closed


def test_an_attempt_keeps_its_error_and_gives_its_result() -> None:
    writer = Writer(pause_seconds=0)
    assert writer.attempt("A job", lambda: 5) == 5
    assert writer.attempt("Logging trial 3", lambda: 1 / 0) is None
    with pytest.raises(StoreError, match="Logging trial 3 failed: ZeroDivisionError"):
        writer.close()
