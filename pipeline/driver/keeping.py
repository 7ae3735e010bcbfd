"""The models of a study's best trials: kept on disk at once, logged to MLflow at the end."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.data.prepared import Prepared
from pipeline.driver.choice import choose, configurations
from pipeline.driver.records import TrialRecord, best_trials
from pipeline.driver.study_folder import StudyFolder
from pipeline.driver.trials import end_of, make_predictor
from pipeline.study.search_spec import FinalistsSpec
from pipeline.tracking.tracker import Tracker
from pipeline.training.members import Member, Trained


class BestModels:
    """Keeps the models of the best trials and no others.

    Args:
        folder: The study's files.
        prepared: Its data.
        count: How many.
        finalists: How the best are retrained.
    """

    def __init__(
        self,
        folder: StudyFolder,
        prepared: Prepared,
        count: int,
        finalists: FinalistsSpec | None = None,
    ) -> None:
        self._folder = folder
        self._prepared = prepared
        self._count = count
        self._finalists = finalists

    def keep(
        self, members: Sequence[Member], trained: Sequence[Trained], records: Sequence[TrialRecord]
    ) -> None:
        """Saves those of a cohort's models that are among the best, before its outcome is."""
        best = best_trials([*self._folder.trials(), *records], self._count)
        chosen = {record.number for record in best}
        for member, result in zip(members, trained, strict=True):
            if member.number in chosen:
                predictor = make_predictor(member, result, self._prepared)
                self._folder.save_model(f"trial-{member.number}", predictor)

    def drop(self) -> None:
        """Deletes the models that nobody will ask for."""
        for key in self.unwanted():
            self._folder.drop_model(key)

    def unwanted(self) -> list[str]:
        """Returns the keys of the models on disk that nobody will ask for."""
        return sorted(set(self._folder.models()) - self._wanted())

    def publish(self, tracker: Tracker) -> None:
        """Logs the best trials' models and the shipped one, and drops those no longer kept."""
        self.drop()
        best = best_trials(self._folder.trials(), self._count)
        choice = choose(self._folder, self._finalists)
        shown = {record.key: record for record in (*best, *([choice.shipped] if choice else []))}
        record = self._folder.record()
        logged: dict[str, str] = record.get("models", {})
        for key, trial in shown.items():
            predictor = self._folder.load_model(key)
            if key not in logged and predictor is not None:
                logged[key] = tracker.log_model(trial.run_id, predictor, end=end_of(trial))
                self._folder.save_record({**record, "models": logged})
        for gone in set(logged) - {*shown}:
            if tracker.drop_model(logged[gone]):  # else the registry needs it, and it stays
                del logged[gone]
                self._folder.save_record({**record, "models": logged})

    def _wanted(self) -> set[str]:
        """Returns the keys of the best trials, and of the chosen finalists or all candidates."""
        kept = best_trials(self._folder.trials(), self._count)
        choice = choose(self._folder, self._finalists)
        if choice is not None and choice.retrained:
            kept += choice.seeds
        else:  # those that are there must last until the others are trained
            for trial in configurations(self._folder, self._finalists):
                kept += self._folder.finalists(trial.number) or []
        return {record.key for record in kept}
