"""One row while it is searched: asks a cohort, keeps its outcome, tells it.

What a kill can interrupt is ordered so that nothing is lost or doubled: a cohort is noted before
its first trial is asked; its models and its outcome are on disk before the journal is told.
Whatever was not reached runs again on resume.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.data.prepared import Prepared
from pipeline.driver.journal import TrialJournal
from pipeline.driver.keeping import BestModels
from pipeline.driver.pruners import Curves
from pipeline.driver.records import Cohort, StudyFolder, TrialRecord
from pipeline.driver.rows import RowPlan
from pipeline.driver.runs import TrialRuns
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
            spec = self._study.spec
            name = spec.name if self.row.is_tuned else f"{spec.name}/{self.row.name}"
            self.folder.journal.parent.mkdir(parents=True, exist_ok=True)
            self._journal = TrialJournal(
                self.folder.journal, name, spec.seed, spec.search.sampler, self.row.ranges
            )
        return self._journal

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
        with self.journal.together():
            params = {}
            for number in cohort.numbers:
                first = self.row.centre(self._study) if number == 0 else None
                params[number] = self.journal.ask(number, first).params
        members = [
            self.row.member(self._study, self._prepared, number, params[number])
            for number in cohort.numbers
        ]
        return AskedCohort(cohort, params, members)

    def told(self) -> Curves:
        """Returns the curves of the trials of earlier cohorts."""
        return {trial.number: trial.curve for trial in self.folder.trials()}

    def start_runs(self, asked: AskedCohort) -> None:
        """Opens the runs of a cohort."""
        self.runs.start(asked.members, asked.params)

    def keep(self, asked: AskedCohort, trained: Sequence[Trained]) -> list[TrialRecord]:
        """Keeps how a cohort ended: models, then the outcome; its runs end."""
        records = self.runs.records(asked.members, trained, asked.params)
        self.models.keep(asked.members, trained, records)
        self.folder.save_outcome(asked.cohort, records)
        self.models.drop()
        self.runs.end(records)
        return records

    def tell(self, trials: Sequence[TrialRecord]) -> None:
        """Tells the row's Optuna study how a cohort ended."""
        with self.journal.together():
            for trial in trials:
                self.journal.tell(trial.number, trial.state, trial.score, trial.best_epoch)
