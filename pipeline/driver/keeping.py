"""The models of a study's best trials: kept on disk at once, logged to MLflow at the end."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.data.prepared import Prepared
from pipeline.driver.records import StudyFolder, TrialRecord, best_trials
from pipeline.driver.trials import end_of, make_predictor
from pipeline.tracking.tracker import Tracker
from pipeline.training.members import Member, Trained


class BestModels:
    """Keeps the models of the best trials and no others.

    Args:
        folder: The study's files.
        prepared: Its data.
        count: How many.
    """

    def __init__(self, folder: StudyFolder, prepared: Prepared, count: int) -> None:
        self._folder = folder
        self._prepared = prepared
        self._count = count

    def keep(
        self, members: Sequence[Member], trained: Sequence[Trained], records: Sequence[TrialRecord]
    ) -> None:
        """Saves those of a cohort's models that are among the best, before its outcome is."""
        best = best_trials([*self._folder.trials(), *records], self._count)
        chosen = {record.number for record in best}
        for member, result in zip(members, trained, strict=True):
            if member.number in chosen:
                predictor = make_predictor(member, result, self._prepared)
                self._folder.save_model(member.number, predictor)

    def drop(self) -> None:
        """Deletes the models of trials that are no longer among the best."""
        best = best_trials(self._folder.trials(), self._count)
        for number in set(self._folder.models()) - {trial.number for trial in best}:
            self._folder.drop_model(number)

    def publish(self, tracker: Tracker) -> None:
        """Logs the kept models that MLflow has not, and drops those no longer kept."""
        self.drop()
        trials = {trial.number: trial for trial in self._folder.trials()}
        record = self._folder.record()
        logged: dict[str, str] = record.get("models", {})
        kept = self._folder.models()
        for number in kept:
            predictor = self._folder.load_model(number)
            if str(number) not in logged and predictor is not None:
                trial = trials[number]
                model_id = tracker.log_model(trial.run_id, predictor, end=end_of(trial))
                logged[str(number)] = model_id
                self._folder.save_record({**record, "models": logged})
        for gone in set(logged) - {str(number) for number in kept}:
            if tracker.drop_model(logged[gone]):  # else the registry needs it, and it stays
                del logged[gone]
                self._folder.save_record({**record, "models": logged})
