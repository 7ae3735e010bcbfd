"""Mending of what a crash left of a study: files first, then its journals, then MLflow."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pipeline.damage.caches import cache_damage
from pipeline.damage.files import TORN, file_damage
from pipeline.damage.finding import Damage
from pipeline.damage.journals import journal_damage, waiting
from pipeline.damage.runs import model_damage, stale_runs
from pipeline.data.cache import is_whole
from pipeline.driver.resume import check_resume, launch_settings
from pipeline.driver.rows import RowPlan, baseline_rows, tuned_row
from pipeline.driver.searched import SearchedRow
from pipeline.driver.study_folder import StudyFolder
from pipeline.errors import InputError
from pipeline.stages.recording import study_lock, tracking
from pipeline.stages.session import DEFAULT_STORE, Session, Tables, open_session
from pipeline.study.loading import Study
from pipeline.tracking.parent import find_parent
from pipeline.tracking.store import Store, open_store
from pipeline.tracking.tracker import NullTracker, Tracker


def repair(
    study: Study,
    dry_run: bool = False,
    store: Store | Path | str = DEFAULT_STORE,
    tables: Tables | None = None,
    tracking_uri: str | None = None,
) -> dict[str, Any]:
    """Finds and mends what a crash left of a study; a search mends most of it itself.

    Nothing of a study is touched that a living process drives: its lock says so, which the system
    takes from a process that ends, however it ends.

    Args:
        study: The study, launched before.
        dry_run: Tell what is wrong, and change nothing.
        store: Where the study is recorded.
        tables: Data frames in place of paths.
        tracking_uri: A server in place of the store's database.

    Returns:
        `{"study", "dry_run", "found": [{"what", "where", "remedy", "can_mend"}], "mended": n,
        "notes": [sentence]}`

    Raises:
        InputError: The study was not launched in this store.
        StoreError: A living process drives it, or its record is damaged.
        ResumeError: The study's settings or data are not those of the search.
    """
    place = store.folder if isinstance(store, Store) else Path(store)
    name = study.spec.name
    folder = StudyFolder(place / "studies", name)
    if not folder.exists():
        raise InputError(
            f"The study {name} was not launched in {place}. Name its store with `--store DIR`."
        )
    opened = store if isinstance(store, Store) else open_store(place, tracking_uri)
    with study_lock(opened, name):
        mending = _Mending(dry_run)
        mending.take(file_damage(folder))
        digest = folder.record().get("settings", {}).get("the prepared data", "")
        mending.take(cache_damage(opened.cache, digest))
        if dry_run and (_hides_outcomes(mending.found) or not is_whole(opened.cache / digest)):
            mending.notes.append(
                "Journals and runs were not looked at: what is damaged must be mended before."
            )
        else:
            _mend_records(open_session(study, opened, tables), mending)
    return mending.to_json(name)


def _hides_outcomes(found: Iterable[Damage]) -> bool:
    return any(one.what == TORN for one in found)


@dataclass
class _Mending:
    """What was found so far; mended at once, unless nothing may change."""

    dry_run: bool
    found: list[Damage] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def take(self, damage: Iterable[Damage]) -> None:
        """Notes damage that can be mended one by one, and mends it."""
        for one in list(damage):
            self.found.append(one)
            if one.mend is not None and not self.dry_run:
                one.mend()

    def take_together(self, damage: Iterable[Damage], mend: Callable[[], None]) -> None:
        """Notes damage that is mended by one action, and does it."""
        together = [replace(one, mend=mend) for one in damage]
        self.found += together
        if together and not self.dry_run:
            mend()

    def to_json(self, name: str) -> dict[str, Any]:
        """Returns what the command prints."""
        can_mend = sum(one.mend is not None for one in self.found)
        return {
            "study": name,
            "dry_run": self.dry_run,
            "found": [one.to_json() for one in self.found],
            "mended": 0 if self.dry_run else can_mend,
            "notes": self.notes,
        }


def _mend_records(session: Session, mending: _Mending) -> None:
    """Mends journals and left models, then what MLflow has of the study."""
    record = session.folder.record()
    if "settings" in record and session.folder.cohorts():
        launched = launch_settings(session.study, session.prepared)
        check_resume(session.name, record["settings"], launched)
    rows = list(_rows(session, NullTracker()))
    for row in rows:
        mending.take(journal_damage(row))
        mending.take(_unwanted_models(row))
        mending.notes += [note] if (note := waiting(row)) else []
    mending.take(model_damage(session.store, session.folder))
    run_id = record.get("run_id") or _parent_of(session)
    stale = stale_runs(session.store, run_id, [row.folder for row in rows])

    def mend() -> None:
        with tracking(session) as tracker:
            stale.mend(tracker, [(row.folder, row.runs) for row in _rows(session, tracker)])

    mending.take_together(stale.damage(), mend)


def _rows(session: Session, tracker: Tracker) -> Iterator[SearchedRow]:
    """Yields the study's own trials, and each of its baselines that was begun."""
    study, prepared = session.study, session.prepared

    def searched(folder: StudyFolder, plan: RowPlan) -> SearchedRow:
        keep = study.spec.search.keep if plan.is_tuned else 1
        return SearchedRow(study, prepared, folder, tracker, plan, keep)

    yield searched(session.folder, tuned_row(study, prepared))
    for plan in baseline_rows(study, prepared):
        folder = session.folder.row(plan.name)
        if folder.exists():
            yield searched(folder, plan)


def _unwanted_models(row: SearchedRow) -> Iterator[Damage]:
    for key in row.models.unwanted():
        where = str(row.folder.model_path(key).relative_to(row.folder.path.parent))
        what = "is a model that is not among the best"
        yield Damage(what, where, "deleted", _dropping(row, key))


def _dropping(row: SearchedRow, key: str) -> Callable[[], None]:
    return lambda: row.folder.drop_model(key)


def _parent_of(session: Session) -> str | None:
    """Finds the run of a study that was killed before it could note it."""
    client = session.store.client()
    found = client.get_experiment_by_name(session.name)
    return None if found is None else find_parent(client, found.experiment_id, session.name)
