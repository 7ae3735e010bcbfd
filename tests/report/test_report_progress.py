"""Progress: a line a cohort where there is no terminal, one changing line where there is."""

import io
import time

import pytest
from report_cases import trial
from rich.console import Console

from pipeline.report.progress import Progress, duration
from pipeline.training.members import EpochResult


def progress_of(terminal: bool, width: int = 80) -> tuple[Progress, io.StringIO]:
    file = io.StringIO()
    return Progress(Console(file=file, force_terminal=terminal, width=width)), file


def result(number: int, epoch: int, last: bool = False) -> EpochResult:
    return EpochResult(number, epoch, {}, {}, 0.5, last)


def run_cohorts(progress: Progress) -> None:
    progress.search_started(4, [])
    for start in (0, 2):
        progress.trials_started([start, start + 1])
        progress.epochs_done([result(start, 1), result(start + 1, 1)])
        progress.epochs_done([result(start, 2, last=True)])
        progress.trials_done(
            [trial(start, score=0.5 + start / 10), trial(start + 1, "pruned", 0.1)]
        )
    progress.search_ended()


def test_without_a_terminal_each_cohort_is_a_line() -> None:
    progress, file = progress_of(terminal=False)
    run_cohorts(progress)
    first, second = file.getvalue().splitlines()
    assert first.startswith("2 of 4 trials: 1 complete, 1 pruned | best #0 0.5000 (left 0.6000, ")
    assert first.endswith(" left"), "the expected time is told after the first cohort"
    assert second.startswith("4 of 4 trials: 2 complete, 2 pruned | best #2 0.7000 (left 0.8000, ")
    assert not second.endswith(" left")


def test_on_a_terminal_the_running_cohort_is_shown() -> None:
    progress, file = progress_of(terminal=True, width=200)
    progress.search_started(4, [])
    progress.trials_started([2, 3])
    progress.epochs_done([result(2, 1), result(3, 1)])
    progress.epochs_done([result(2, 2, last=True)])
    for _ in range(40):  # it is drawn four times a second
        if "epoch 2" in file.getvalue():
            break
        time.sleep(0.05)
    progress.search_ended()
    assert "0 of 4 trials: 0 complete | #2 to #3 train (1 on, epoch 2)" in file.getvalue()


def test_on_a_terminal_the_last_state_stays() -> None:
    progress, file = progress_of(terminal=True, width=200)
    run_cohorts(progress)
    last = file.getvalue().splitlines()[-1]
    assert last.rpartition("\x1b[2K")[2].startswith("4 of 4 trials: 2 complete, 2 pruned | best #2")


def test_a_resumed_search_says_how_far_it_was() -> None:
    progress, file = progress_of(terminal=False)
    progress.search_started(4, [trial(0), trial(1)])
    progress.trials_done([trial(2), trial(3)])
    progress.search_ended()
    first, second = file.getvalue().splitlines()
    assert first == "Resuming: 2 trials are finished."
    assert second.startswith("4 of 4 trials: 4 complete")


def test_a_search_that_is_done_says_nothing() -> None:
    progress, file = progress_of(terminal=False)
    progress.search_started(2, [trial(0), trial(1)])
    progress.search_ended()
    assert file.getvalue() == ""


def test_finalists_are_shown_while_they_train() -> None:
    progress, file = progress_of(terminal=False)
    progress.search_started(1, [])
    progress.trials_done([trial(0, score=0.5)])
    progress._said -= 11
    for epoch in (3, 4):
        progress.finalists_trained("Finalists of tuned #0, 5 models, epoch", epoch, 20)
    progress.search_ended()
    first, second = file.getvalue().splitlines()
    assert "Finalists" not in first
    assert " | Finalists of tuned #0, 5 models, epoch 3 of 20 | best #0 0.5000" in second


def test_names_are_no_markup() -> None:
    progress, file = progress_of(terminal=False)
    progress.search_started(1, [])
    odd = trial(0)
    assert odd.evaluation is not None
    object.__setattr__(odd.evaluation, "scores", {"score:[/b]": 0.5})
    progress.trials_done([odd])
    assert "score:[/b] 0.5000" in file.getvalue()


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.4, "0 s"), (89, "89 s"), (90, "2 min"), (600, "10 min"), (5400, "1.5 h")],
)
def test_durations_are_as_people_say_them(seconds: float, said: str) -> None:
    assert duration(seconds) == said
