"""A study on disk: what it was launched with, its trials' outcomes, its best models.

Every file is written whole or not at all, and before the journal is told: what the journal says
is finished can always be shown. Only the driver that holds the study's lock writes.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Container, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.driver.json_files import JsonLines, read_json, write_json
from pipeline.driver.records import Cohort, TrialRecord

if TYPE_CHECKING:
    from pipeline.serving.predictor import Predictor


class StudyFolder:
    """The files of one study in a store.

    Args:
        studies: The store's folder of studies.
        name: Of the study.
    """

    def __init__(self, studies: Path, name: str) -> None:
        self.name = name
        self.path = studies / name
        self.journal = studies / f"{name}.journal"
        self._forget()

    def exists(self) -> bool:
        """Whether anything of the study is here."""
        return (self.path / "record.json").exists()

    def record(self) -> dict[str, Any]:
        """Returns what the study was launched with; empty before that."""
        return read_json(self.path / "record.json") or {}

    def save_record(self, record: Mapping[str, Any]) -> None:
        """Replaces the record."""
        write_json(self.path / "record.json", record)

    def cohorts(self) -> list[Cohort]:
        """Returns the cohorts that were begun, in order."""
        return [Cohort(*bounds) for bounds in self.record().get("cohorts", [])]

    def begin(self, cohort: Cohort) -> None:
        """Notes a cohort before its first trial is asked: it runs whole, or again whole."""
        record = self.record()
        bounds = record.setdefault("cohorts", [])
        if [cohort.start, cohort.stop] not in bounds:
            bounds.append([cohort.start, cohort.stop])
            self.save_record(record)

    def extend(self, stop: int) -> None:
        """Notes, before they are asked, trials below `stop` that end one by one: free order."""
        self.save_record({**self.record(), "cohorts": [[0, stop]]})

    def outcome(self, cohort: Cohort) -> list[TrialRecord] | None:
        """Returns how a cohort's trials ended; None until all have."""
        return self._read_trials(self._outcome_path(cohort))

    def save_outcome(self, cohort: Cohort, trials: Iterable[TrialRecord]) -> None:
        """Keeps how a cohort's trials ended."""
        write_json(self._outcome_path(cohort), [trial.to_json() for trial in trials], compact=True)

    def append_outcomes(self, trials: Iterable[TrialRecord]) -> None:
        """Keeps how trials ended that end one by one."""
        self._read_log()
        self._log.append(trial.to_json() for trial in trials)

    def _read_log(self) -> None:
        for stored in self._log.fresh():
            trial = TrialRecord.from_json(stored)
            self._ended[trial.number] = trial

    def trials(self) -> list[TrialRecord]:
        """Returns all trials whose end is kept, in number order."""
        self._read_log()
        outcomes = (self.outcome(cohort) for cohort in self.cohorts())
        together = [trial for outcome in outcomes if outcome for trial in outcome]
        return together + [self._ended[number] for number in sorted(self._ended)]

    def unfinished(self) -> list[int]:
        """Returns the numbers of the trials that were begun and whose end is not kept."""
        ended = {trial.number for trial in self.trials()}
        begun = (number for cohort in self.cohorts() for number in cohort.numbers)
        return [number for number in begun if number not in ended]

    def row(self, name: str) -> StudyFolder:
        """Returns the files of a row that is searched beside the study's own trials."""
        return StudyFolder(self.path / "rows", name)

    def finalists(self, number: int) -> list[TrialRecord] | None:
        """Returns how a trial ended under each fresh seed; None until all have."""
        return self._read_trials(self._finalists_path(number))

    def save_finalists(self, number: int, finalists: Iterable[TrialRecord]) -> None:
        """Keeps how a trial ended under each fresh seed."""
        write_json(self._finalists_path(number), [found.to_json() for found in finalists])

    def all_finalists(self) -> list[TrialRecord]:
        """Returns the finalists of all trials that were ever retrained."""
        paths = sorted((self.path / "finalists").glob("[0-9]*.json"))
        return [found for path in paths for found in self._read_trials(path) or []]

    def ended(self) -> list[TrialRecord]:
        """Returns the trials and the finalists."""
        return [*self.trials(), *self.all_finalists()]

    def model_path(self, key: str) -> Path:
        """Returns the folder of a model."""
        return self.path / "models" / key

    def save_model(self, key: str, predictor: Predictor) -> None:
        """Keeps a model under the key of its record."""
        target = self.model_path(key)
        temporary = target.with_name(f".{target.name}.{os.getpid()}")
        shutil.rmtree(temporary, ignore_errors=True)
        predictor.save(temporary)
        shutil.rmtree(target, ignore_errors=True)
        temporary.rename(target)

    def load_model(self, key: str) -> Predictor | None:
        """Returns a kept model; None where it was not kept."""
        # Here, because looking at a study must not wait for torch.
        from pipeline.serving.predictor import Predictor

        path = self.model_path(key)
        return Predictor.load(path) if path.exists() else None

    def models(self) -> list[str]:
        """Returns the keys of the models that are kept."""
        return sorted(path.name for path in (self.path / "models").glob("trial-*"))

    def drop_model(self, key: str) -> None:
        """Deletes a model."""
        shutil.rmtree(self.model_path(key), ignore_errors=True)

    @property
    def checkpoints(self) -> Path:
        """Where arrays that train for long keep how far they are."""
        return self.path / "checkpoints"

    def drop_checkpoints(self, owner: str, numbers: Container[int] | None = None) -> None:
        """Deletes those of an owner's arrays that were kept and will not run again.

        Args:
            owner: Name of a folder in `checkpoints`: the search, the rows beside it and grouping
                have one each, so that one's end leaves what another goes on from.
            numbers: Of the members of these arrays, while others may train; by default all.
        """
        if numbers is not None:
            for path in (self.checkpoints / owner).glob("*-*.safetensors"):
                if int(path.name.partition("-")[0]) in numbers:
                    with suppress(OSError):  # it is in nobody's way
                        path.unlink()
            return
        shutil.rmtree(self.checkpoints / owner, ignore_errors=True)
        with suppress(OSError):  # it does not exist, or another owner's are in it
            self.checkpoints.rmdir()

    def set_journal_aside(self) -> None:
        """Renames a journal to which no cohort belongs: a kill left it behind."""
        if self.journal.exists():
            self.journal.replace(self.journal.with_name(f"{self.name}.orphan.journal"))

    def archive(self, archived: str) -> None:
        """Moves the study out of the way, under another name."""
        # The folder first: without it, a journal that a kill left behind counts for nothing.
        if self.path.exists():
            self.path.rename(self.path.with_name(archived))
        if self.journal.exists():
            self.journal.rename(self.journal.with_name(f"{archived}.journal"))
        self._forget()

    def _forget(self) -> None:
        self._read: dict[Path, list[TrialRecord]] = {}  # an outcome is written once
        self._log = JsonLines(self.path / "trials.jsonl")
        self._ended: dict[int, TrialRecord] = {}  # what the log has shown

    def _read_trials(self, path: Path) -> list[TrialRecord] | None:
        if path not in self._read:
            stored = read_json(path)
            if stored is None:
                return None
            self._read[path] = [TrialRecord.from_json(trial) for trial in stored]
        return self._read[path]

    def _finalists_path(self, number: int) -> Path:
        return self.path / "finalists" / f"{number:06d}.json"

    def _outcome_path(self, cohort: Cohort) -> Path:
        return self.path / "cohorts" / f"{cohort.start:06d}-{cohort.stop:06d}.json"
