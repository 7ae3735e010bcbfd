"""Runs and models of a study in MLflow that say something else than its files."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from pipeline.damage.finding import Damage
from pipeline.driver.records import TrialRecord
from pipeline.driver.runs import TrialRuns
from pipeline.driver.study_folder import StudyFolder
from pipeline.serving.connection import store_errors
from pipeline.tracking.models import ModelRecord, drop_model, left_files, models_of
from pipeline.tracking.records import RunRecord, TrialEnd
from pipeline.tracking.runs import children, read_run
from pipeline.tracking.store import Store
from pipeline.tracking.tracker import Tracker

_KILLED = "its process was killed"
_OWN_ROWS = (None, "finalist")


@dataclass(frozen=True)
class StaleRuns:
    """Runs of one study that have not ended though nobody drives it.

    Attributes:
        parent: Whether the parent run has not.
        behind: Records of trials that have ended, whose runs say something else.
        lost: Runs of attempts without a record, which are made again where they count.
    """

    parent: bool
    behind: tuple[TrialRecord, ...]
    lost: tuple[RunRecord, ...]

    def damage(self) -> Iterator[Damage]:
        """Yields what is wrong, to be mended all at once: see `mend`."""
        if self.parent:
            yield Damage("has not ended though nobody drives the study", "the study's run",
                         "ended, with its table and page")  # fmt: skip
        for record in self.behind:
            yield Damage(f"is behind: the trial ended as {record.state}", f"run {record.run_id}",
                         "written to its end")  # fmt: skip
        for run in self.lost:
            yield Damage("has not ended though nobody trains it", f"run {run.run_id}",
                         "ended as interrupted")  # fmt: skip

    def mend(self, tracker: Tracker, rows: Sequence[tuple[StudyFolder, TrialRuns]]) -> None:
        """Writes runs to their ends; the caller opens and ends the parent run.

        Args:
            tracker: Of the study.
            rows: The study's own trials and its baselines, each with what writes their runs.
        """
        behind = {record.run_id for record in self.behind}
        for folder, runs in rows:
            own = folder.ended()
            runs.write_again([record for record in own if record.run_id in behind])
        for run in self.lost:
            tracker.finish(run.run_id, TrialEnd("interrupted", _KILLED))


def stale_runs(store: Store, run_id: str | None, folders: Sequence[StudyFolder]) -> StaleRuns:
    """Compares the runs of a study with its files.

    Args:
        store: Where it is recorded.
        run_id: The parent run, as the study notes it.
        folders: The study's own files and those of its rows.
    """
    client = store.client()
    with store_errors("Reading the runs of the study"):
        parent = None if run_id is None else read_run(client, run_id)
        if parent is None or parent.info.lifecycle_stage != "active":
            return StaleRuns(False, (), ())  # the next search opens another
        found = children(client, str(run_id))
    kept = {record.run_id: record for folder in folders
            for record in folder.ended()}  # fmt: skip
    behind = [kept[run.run_id] for run in found
              if run.run_id in kept and _is_behind(run, kept[run.run_id])]  # fmt: skip
    lost = [run for run in found if run.run_id not in kept and run.status == "RUNNING"]
    return StaleRuns(parent.info.status == "RUNNING", tuple(behind), tuple(lost))


def _is_behind(run: RunRecord, record: TrialRecord) -> bool:
    return run.status == "RUNNING" or run.state != record.state


def model_damage(store: Store, folder: StudyFolder) -> Iterator[Damage]:
    """Yields models that are half saved, that nobody knows of, or whose files are gone.

    What a version of the registry needs is left as it is, and told where it is broken.
    """
    client = store.client()
    with store_errors("Reading the models of the study"):
        found = models_of(client, folder.name)
        left = left_files(client, store.artifacts / folder.name) if store.is_local else []
    logged: Mapping[str, str] = folder.record().get("models", {})
    runs = {record.key: record.run_id for record in folder.ended()}
    whole = {model.model_id: model.run_id for model in found if model.is_ready and model.has_files}
    known = {model_id for key, model_id in logged.items()
             if model_id in whole and whole[model_id] == runs.get(key)}  # fmt: skip
    for key, model_id in logged.items():
        if model_id not in known:
            what = f"names a model of {key} that is gone, or of a run that counts no more"
            remedy = "forgotten; a trial among the best is saved again by the next `mtl search`"
            yield Damage(what, f"{folder.name}/record.json", remedy, partial(_forget, folder, key))
    for model in found:
        drop = partial(drop_model, client, model.model_id, store.artifacts)
        if model.model_id not in whole:
            yield _broken(model, drop)
        elif model.model_id not in known and _is_nobodys(model):
            yield Damage("is a model that the study does not know of", f"model {model.model_id}",
                         "deleted", drop)  # fmt: skip
    for path in left:
        yield Damage("are files of a model that was deleted", str(path.relative_to(store.folder)),
                     "deleted", partial(shutil.rmtree, path))  # fmt: skip


def _broken(model: ModelRecord, drop: Callable[[], object]) -> Damage:
    what = "has lost its files" if model.is_ready else "was not saved to its end"
    where, names = f"model {model.model_id}", ", ".join(model.versions)
    if names:
        remedy = f"{names} cannot be loaded: promote again, or delete the version."
        return Damage(f"{what}, and {names} needs it", where, remedy)
    return Damage(what, where, "deleted", drop)


def _is_nobodys(model: ModelRecord) -> bool:
    """Tells whether a model is one that studies log and drop, and no version needs it.

    Models that were trained by hand, or logged by others, stay.
    """
    is_own = "study" in model.tags and model.tags.get("row") in _OWN_ROWS
    return is_own and not model.versions


def _forget(folder: StudyFolder, key: str) -> None:
    record = folder.record()
    logged = {name: model for name, model in record.get("models", {}).items() if name != key}
    folder.save_record({**record, "models": logged})
