"""The journal file with one writer: stock Optuna reads it, and a kill leaves no half."""

from __future__ import annotations

from pathlib import Path

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from pipeline.driver.journal import TrialJournal
from pipeline.driver.journal_file import OwnedJournalFile
from pipeline.study.ranges import Choices, Range

RANGES = {"lr": Range(1e-4, 1e-1, log=True), "size": Choices(([64], [32, 32]))}


def opened(path: Path, sampler: str = "tpe") -> TrialJournal:
    return TrialJournal(path, "study", 3, sampler, RANGES)


def run(journal: TrialJournal, numbers: range) -> list[dict[str, object]]:
    asked = []
    for number in numbers:
        params = dict(journal.ask(number).params)
        journal.tell(number, "complete", [float(params["lr"])], 1)  # type: ignore[arg-type]
        asked.append(params)
    return asked


def test_stock_optuna_reads_the_file(tmp_path: Path) -> None:
    path = tmp_path / "study.journal"
    params = run(opened(path), range(12))
    storage = JournalStorage(JournalFileBackend(str(path)))
    trials = optuna.load_study(study_name="study", storage=storage).trials
    assert [trial.params for trial in trials] == params
    assert [trial.value for trial in trials] == [p["lr"] for p in params]


def test_what_stock_optuna_wrote_is_read(tmp_path: Path) -> None:
    path = tmp_path / "study.journal"
    opened(path).ask(0)
    storage = JournalStorage(JournalFileBackend(str(path)))
    optuna.load_study(study_name="study", storage=storage).tell(0, 1.0)
    assert [trial.finished for trial in opened(path).asked()] == [True]


def test_nothing_of_a_batch_is_on_disk_before_its_end(tmp_path: Path) -> None:
    path = tmp_path / "study.journal"
    journal = opened(path)
    before = path.read_bytes()
    with journal.together():
        first = journal.ask(0)
        with journal.together():
            second = journal.ask(1)
        assert path.read_bytes() == before
        assert [one.number for one in journal.asked()] == [0, 1]
        killed = opened(tmp_path / "copy.journal")  # what a driver finds that starts instead
    assert path.read_bytes() != before
    again = [killed.ask(number) for number in (0, 1)]
    assert [one.params for one in again] == [first.params, second.params]


def test_an_error_inside_a_batch_keeps_what_was_added(tmp_path: Path) -> None:
    file = OwnedJournalFile(tmp_path / "file")

    def fail() -> None:
        with file.together():
            file.append_logs([{"a": 1}])
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert (tmp_path / "file").read_bytes() == b'{"a":1}\n'
    assert list(OwnedJournalFile(tmp_path / "file").read_logs(0)) == [{"a": 1}]


@pytest.mark.parametrize("sampler", ["tpe", "random", "nsgaii", "qmc"])
def test_a_journal_opened_for_each_trial_asks_what_one_kept_open_asks(
    tmp_path: Path, sampler: str
) -> None:
    # Kept open it remembers what is searched in common; opened anew it finds it again.
    kept = run(opened(tmp_path / "kept.journal", sampler), range(14))
    anew = [
        run(opened(tmp_path / "anew.journal", sampler), range(number, number + 1))[0]
        for number in range(14)
    ]
    assert anew == kept
