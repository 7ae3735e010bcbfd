"""The best trials of rows, retrained under fresh seeds as members of common arrays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from pipeline.data.prepared import Prepared
from pipeline.data.text_encoding import Progress, named_progress
from pipeline.driver.backend import Backend
from pipeline.driver.choice import missing_finalists
from pipeline.driver.lanes import Lane, train_lanes
from pipeline.driver.pruners import Never
from pipeline.driver.records import TrialRecord
from pipeline.driver.rows import RowPlan, listed
from pipeline.driver.runs import TrialRuns
from pipeline.driver.study_folder import StudyFolder
from pipeline.driver.trials import make_predictor
from pipeline.errors import Interrupted
from pipeline.study.loading import Study
from pipeline.study.search_spec import FinalistsSpec
from pipeline.tracking.tracker import Tracker
from pipeline.training.members import Member, Trained


@dataclass(frozen=True)
class _Configuration:
    """One trial that is retrained, its members numbered by replicate."""

    name: str
    folder: StudyFolder
    trial: TrialRecord
    members: list[Member]
    runs: TrialRuns

    def start(self) -> None:
        self.runs.start(self.members, {member.number: self.trial.params for member in self.members})

    def keep_models(self, trained: Sequence[Trained], prepared: Prepared) -> list[TrialRecord]:
        """Keeps the models; returns the records that make them count."""
        params = {member.number: self.trial.params for member in self.members}
        records = self.runs.records(self.members, trained, params)
        for member, result, record in zip(self.members, trained, records, strict=True):
            if result.state == "complete":
                self.folder.save_model(record.key, make_predictor(member, result, prepared))
        return records


def train_finalists(
    study: Study,
    prepared: Prepared,
    tracker: Tracker,
    rows: Sequence[tuple[RowPlan, StudyFolder]],
    backend: Backend,
    population: int,
    stopping: Callable[[], bool],
    progress: Progress | None = None,
) -> None:
    """Retrains the best trials of rows that were not retrained before.

    Members of one replicate have their batches in common, whatever their row, and share arrays.
    None is pruned.

    Args:
        study: The study.
        prepared: Its data.
        tracker: Records a run for each finalist.
        rows: Each with its files.
        backend: Where members run.
        population: Most members in one array.
        stopping: Asked between epochs; True ends everything with `Interrupted`.
        progress: Told at which epoch they are.

    Raises:
        Interrupted: `stopping` said so; what was not kept is trained again.
    """
    spec = study.spec.search.finalists
    if spec is None:
        return
    missing = [
        _configuration(study, prepared, tracker, row, folder, trial, spec)
        for row, folder in rows
        for trial in missing_finalists(folder, spec)
    ]
    if not missing:
        return

    def start() -> None:
        for found in missing:
            found.start()

    lanes = [Lane(found.members, {}, found.runs.epochs) for found in missing]
    try:
        trained = train_lanes(
            backend, lanes, population, Never(study.spec.train.epochs, study.spec.seed), stopping,
            start, named_progress(progress, _what(missing)),
        )  # fmt: skip
    except Exception as error:
        why = "it was stopped" if isinstance(error, Interrupted) else f"it failed: {error}"
        for found in missing:
            found.runs.interrupt(why)
        raise
    records = [
        found.keep_models(results, prepared)
        for found, results in zip(missing, trained, strict=True)
    ]
    # Soon after each other: what one of them lacks would train again, in other arrays than now.
    for found, own in zip(missing, records, strict=True):
        found.folder.save_finalists(found.trial.number, own)
        found.runs.end(own)


def _what(missing: Sequence[_Configuration]) -> str:
    n_models = sum(len(found.members) for found in missing)
    return f"Finalists of {listed([found.name for found in missing])}, {n_models} models, epoch"


def _configuration(
    study: Study,
    prepared: Prepared,
    tracker: Tracker,
    row: RowPlan,
    folder: StudyFolder,
    trial: TrialRecord,
    spec: FinalistsSpec,
) -> _Configuration:
    members = [
        replace(
            row.member(study, prepared, trial.number, trial.params, replicate), number=replicate
        )
        for replicate in range(1, spec.seeds + 1)
    ]
    runs = TrialRuns(study, prepared, folder, tracker, row, finalists_of=trial.number)
    return _Configuration(f"{row.name} #{trial.number}", folder, trial, members, runs)
