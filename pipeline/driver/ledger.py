"""What both orders do with a trial: ask it, show it, keep how it ended, tell it.

Whatever a trial leaves is written in an order that survives a kill: its model, its outcome, and
only then the journal. MLflow follows on its own thread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from pipeline.data.prepared import Prepared
from pipeline.driver.journal import TrialJournal
from pipeline.driver.keeping import BestModels
from pipeline.driver.launch import Phases
from pipeline.driver.observers import Observer
from pipeline.driver.records import TrialRecord
from pipeline.driver.runs import TrialRuns
from pipeline.driver.trials import make_member
from pipeline.study.loading import Study
from pipeline.study.spec import Params
from pipeline.training.members import EpochResult, Member, Trained

Save = Callable[[list[TrialRecord]], None]
"""Puts outcomes on disk."""


class Ledger:
    """The trials of one launch.

    Args:
        study: The study.
        prepared: Its data.
        journal: Optuna's side of it.
        models: Keeps the best models.
        runs: MLflow's side of it.
        observers: Told of everything.
        phases: Gets the seconds spent.
    """

    def __init__(
        self,
        study: Study,
        prepared: Prepared,
        journal: TrialJournal,
        models: BestModels,
        runs: TrialRuns,
        observers: Sequence[Observer],
        phases: Phases,
    ) -> None:
        self.journal = journal
        self.phases = phases
        self._study = study
        self._prepared = prepared
        self._models = models
        self._runs = runs
        self._observers = observers
        self._params: dict[int, Params] = {}

    def ask(self, numbers: Iterable[int]) -> list[Member]:
        """Asks for trials, or adopts those that an earlier driver asked; in number order."""
        members = []
        with self.phases.of("ask"), self.journal.together():
            for number in numbers:
                first = self._study.centre() if number == 0 else None
                params = self.journal.ask(number, first).params
                self._params[number] = params
                members.append(make_member(self._study, self._prepared, number, params))
        return members

    def announce(self, members: Sequence[Member]) -> None:
        """Tells the observers that trials start to train."""
        for observer in self._observers:
            observer.trials_started([member.number for member in members])

    def open_runs(self, members: Sequence[Member]) -> None:
        """Opens a run for each member; it must have one before its first epoch is noted."""
        self._runs.start(members, self._params)

    def epochs(self, results: Sequence[EpochResult]) -> None:
        """Notes what members did in an epoch."""
        self._runs.epochs(results)
        for observer in self._observers:
            observer.epochs_done(results)

    def end(
        self, members: Sequence[Member], trained: Sequence[Trained], save: Save
    ) -> list[TrialRecord]:
        """Keeps how trials ended; returns their records, to be told."""
        records = self._runs.records(members, trained, self._params)
        self._models.keep(members, trained, records)
        save(records)
        self._models.drop()
        with self.phases.of("track"):
            self._runs.end(records)
        for member in members:
            del self._params[member.number]
        return records

    def again(self, members: Sequence[Member]) -> None:
        """Gives members that start again runs of their own, so that no epoch is there twice."""
        with self.phases.of("track"):
            self._runs.discard(members)
            self.open_runs(members)

    def tell(self, trials: Sequence[TrialRecord], known: bool = False) -> None:
        """Tells the sampler and the observers how trials ended.

        Args:
            trials: Their records; kept already.
            known: An earlier driver kept them, so that the observers were shown them.
        """
        with self.phases.of("tell"), self.journal.together():
            for trial in trials:
                self.journal.tell(trial.number, trial.state, trial.score, trial.best_epoch)
        for observer in () if known else self._observers:
            observer.trials_done(trials)
