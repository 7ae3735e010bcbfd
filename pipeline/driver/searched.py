"""One row while it is searched: asks trials, keeps how they ended, tells it.

What a kill can interrupt is ordered so that nothing is lost or doubled: trials are noted before
the first of them is asked; their models and outcomes are on disk before the journal is told.
Whatever was not reached runs again on resume.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.data.prepared import Prepared
from pipeline.driver.journal import TrialJournal
from pipeline.driver.keeping import BestModels
from pipeline.driver.pruners import Curves, TaskCurves
from pipeline.driver.records import Cohort, TrialRecord
from pipeline.driver.rows import RowPlan, objectives_of
from pipeline.driver.runs import TrialRuns
from pipeline.driver.study_folder import StudyFolder
from pipeline.driver.trials import task_curves
from pipeline.study.loading import Study
from pipeline.study.spec import Params
from pipeline.tracking.tracker import Tracker
from pipeline.training.members import Member, Trained


@dataclass(frozen=True)
class AskedCohort:
    """A cohort that was asked and may train.

    Attributes:
        cohort: Its numbers.
        params: Values of each trial.
        members: One a trial, in number order.
    """

    cohort: Cohort
    params: dict[int, Params]
    members: list[Member]


class SearchedRow:
    """A row's Optuna study, files, runs and best models.

    Args:
        study: The study.
        prepared: Its data.
        folder: The row's files.
        tracker: Records the row's runs.
        row: What is searched.
        keep: Best trials whose models are kept.
    """

    def __init__(
        self,
        study: Study,
        prepared: Prepared,
        folder: StudyFolder,
        tracker: Tracker,
        row: RowPlan,
        keep: int,
    ) -> None:
        self.row = row
        self.folder = folder
        self.runs = TrialRuns(study, prepared, folder, tracker, row)
        self.models = BestModels(folder, prepared, keep, study.spec.search.finalists)
        self._study = study
        self._prepared = prepared
        self._journal: TrialJournal | None = None

    @property
    def journal(self) -> TrialJournal:
        """The row's Optuna study, opened when it is first needed."""
        if self._journal is None:
            self.folder.journal.parent.mkdir(parents=True, exist_ok=True)
            self._journal = self.journal_at(self.folder.journal)
        return self._journal

    def journal_at(self, path: Path) -> TrialJournal:
        """Opens a file as the row's Optuna study, such as a copy to look at."""
        spec = self._study.spec
        name = spec.name if self.row.is_tuned else f"{spec.name}/{self.row.name}"
        return TrialJournal(
            path, name, spec.seed, spec.search.sampler, self.row.ranges,
            n_objectives=max(1, len(objectives_of(self._study, self.row))),
        )  # fmt: skip

    def rebuild_journal(self, asked: Mapping[int, Params] | None = None) -> None:
        """Makes the journal anew from the outcomes that are kept; the old one is put aside.

        Trials that have ended are asked with the values that they had and told how they ended.
        Others are asked as they were, or are left to the search where they cannot be: what is
        asked depends on all cohorts before, of which one may have to run again.

        Args:
            asked: Values that trials were asked with, as far as they are known.
        """
        if self.folder.journal.exists():
            aside = self.folder.journal.with_name(f"{self.folder.name}.damaged.journal")
            self.folder.journal.replace(aside)
        self._journal = None
        ended = {trial.number: trial for trial in self.folder.trials()}
        values = {**(asked or {}), **{number: trial.params for number, trial in ended.items()}}
        with self.journal.together():
            all_told = True
            for cohort in self.folder.cohorts():
                for number in cohort.numbers:
                    if number not in values and not all_told and number > max(ended, default=-1):
                        return
                    first = self.row.centre(self._study) if number == 0 else None
                    self.journal.ask(number, values.get(number, first))
                self.tell([ended[number] for number in cohort.numbers if number in ended])
                all_told &= ended.keys() >= {*cohort.numbers}

    def next_cohort(self, n_trials: int) -> Cohort | None:
        """Returns the cohort that a killed driver left open, or a new one; None when done.

        Args:
            n_trials: Finished trials at the end.
        """
        asked = {trial.number: trial for trial in self.journal.asked()}
        n_finished = sum(trial.finished for trial in asked.values())
        begun = self.folder.cohorts()
        for cohort in begun:
            told = all(n in asked and asked[n].finished for n in cohort.numbers)
            if not told and (n_finished < n_trials or self.folder.outcome(cohort) is not None):
                return cohort
        start = begun[-1].stop if begun else 0
        if start >= n_trials or n_finished >= n_trials:
            return None
        size = self._study.spec.search.cohort
        return Cohort(start, min(n_trials, (start // size + 1) * size))

    def ask(self, cohort: Cohort) -> AskedCohort:
        """Notes a cohort, and asks for its trials in number order."""
        self.folder.begin(cohort)
        params = self.ask_trials(cohort.numbers)
        return AskedCohort(cohort, params, self.members(params))

    def ask_trials(self, numbers: Iterable[int]) -> dict[int, Params]:
        """Asks for trials that were noted, or adopts those that an earlier driver asked."""
        params = {}
        with self.journal.together():
            for number in numbers:
                first = self.row.centre(self._study) if number == 0 else None
                params[number] = self.journal.ask(number, first).params
        return params

    def members(self, params: Mapping[int, Params]) -> list[Member]:
        """Returns the members that train trials, given each one's values by number."""
        return [
            self.row.member(self._study, self._prepared, number, found)
            for number, found in params.items()
        ]

    def told(self, cohort: Cohort, last: Sequence[TrialRecord] = ()) -> Curves:
        """Returns the curves of the trials of earlier cohorts.

        Later ones are left out: a cohort whose outcome was lost runs again as it ran before them.

        Args:
            cohort: Before which.
            last: Of the latest cohort, where it is not kept yet.
        """
        found = (*self.folder.trials(), *last)
        return {trial.number: trial.curve for trial in found if trial.number < cohort.start}

    def told_tasks(
        self, cohort: Cohort | None = None, last: Sequence[TrialRecord] = ()
    ) -> TaskCurves:
        """Returns each task's curve of the trials of earlier cohorts, or of all; see `told`."""
        return {
            trial.number: task_curves(trial, self._prepared)
            for trial in (*self.folder.trials(), *last)
            if cohort is None or trial.number < cohort.start
        }

    def start_runs(self, asked: AskedCohort) -> None:
        """Opens the runs of a cohort."""
        self.runs.start(asked.members, asked.params)

    def records(self, asked: AskedCohort, trained: Sequence[Trained]) -> list[TrialRecord]:
        """Returns how a cohort ended."""
        return self.runs.records(asked.members, trained, asked.params)

    def keep(
        self, asked: AskedCohort, trained: Sequence[Trained], records: list[TrialRecord]
    ) -> None:
        """Keeps how a cohort ended: models, then the outcome; its runs end."""
        self.models.keep(asked.members, trained, records)
        self.folder.save_outcome(asked.cohort, records)
        self.settle(records)

    def keep_each(
        self, members: Sequence[Member], trained: Sequence[Trained], params: Mapping[int, Params]
    ) -> list[TrialRecord]:
        """Keeps how trials ended that end one by one."""
        records = self.runs.records(members, trained, params)
        self.models.keep(members, trained, records)
        self.folder.append_outcomes(records)
        self.settle(records)
        return records

    def settle(self, records: Sequence[TrialRecord]) -> None:
        """Does what may wait until outcomes are kept: drops models, ends runs."""
        self.models.drop()
        self.runs.end(records)

    def tell(self, trials: Sequence[TrialRecord]) -> None:
        """Tells the row's Optuna study how trials ended."""
        with self.journal.together():
            for trial in trials:
                self.journal.tell(trial.number, trial.state, trial.values, trial.best_epoch)
