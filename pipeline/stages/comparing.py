"""The comparison of a study's best trial with the rows that it must beat."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipeline.comparison.compare import Scored, compare_rows, score_rows
from pipeline.comparison.readings import Readings
from pipeline.comparison.rows import collect_rows
from pipeline.driver.json_files import read_json, write_json
from pipeline.driver.records import TrialRecord
from pipeline.driver.trials import evaluation_metrics
from pipeline.stages.evaluating import known_reading, track_test
from pipeline.stages.session import (
    DEFAULT_STORE,
    Say,
    Session,
    Tables,
    find_trial,
    model_of,
    open_searched,
    recording,
    say_on_stderr,
)
from pipeline.study.loading import Study
from pipeline.tracking.records import TrialEnd, TrialStart
from pipeline.tracking.store import Store
from pipeline.tracking.tracker import Tracker


def compare(
    study: Study,
    part: str = "test",
    read_only: bool = False,
    store: Store | Path | str = DEFAULT_STORE,
    tables: Tables | None = None,
    tracking_uri: str | None = None,
    say: Say = say_on_stderr,
) -> dict[str, Any]:
    """Compares the best trial with the other rows, training those that are missing.

    Args:
        study: The study, searched before.
        part: `test` for the end, `valid` while the search goes on.
        read_only: Train and record nothing: rows that are missing, or were not read on test
            before, are left out.
        store: Where the study is recorded.
        tables: Data frames in place of paths.
        tracking_uri: A server in place of the store's database.
        say: Told what is being trained.

    Returns:
        The JSON contract of `mtl compare`.

    Raises:
        InputError: The study has no complete trial.
        ResumeError: The study's settings or data are not those of the search.
    """
    session = open_searched(study, store, tables, tracking_uri)
    best = find_trial(session, "best")
    n_trials = len(session.folder.trials())
    file = session.folder.path / "comparisons" / f"{part}-{best.number}-of-{n_trials}.json"
    known = read_json(file)
    if known is not None and known["data"] == session.prepared.data_digest:
        return {**known, "test_reads": len(Readings(session.folder).all())}
    if read_only:
        scored = _score(session, best, part, True, say)
        return _document(session, scored, part)
    with recording(session) as tracker:
        scored = _score(session, best, part, False, say)
        if part == "test":
            if known_reading(session, best) is None:
                track_test(tracker, best.run_id, best.epochs, scored[0].evaluation)
            _note_readings(session, scored)
        _track_rows(session, tracker, scored, part)
        document: dict[str, Any] = _document(session, scored, part)
        write_json(file, document)
    return document


def _score(
    session: Session, best: TrialRecord, part: str, read_only: bool, say: Say
) -> list[Scored]:
    predictor = model_of(session, best, say)
    rows = collect_rows(
        session.study, session.prepared, session.folder, best, predictor, say, read_only
    )
    if read_only and part == "test":
        readings, data = Readings(session.folder), session.prepared.data_digest
        rows = [row for row in rows if readings.get(row.key, data) is not None]
    return score_rows(rows, session.prepared, part, session.study.spec.seed)


def _document(session: Session, scored: Sequence[Scored], part: str) -> dict[str, Any]:
    n_reads = len(Readings(session.folder).all())
    seed = session.study.spec.seed
    return compare_rows(session.name, scored, session.prepared, part, n_reads, seed)


def _note_readings(session: Session, scored: Sequence[Scored]) -> None:
    readings = Readings(session.folder)
    for one in scored:
        readings.add(one.row.key, session.prepared.data_digest, one.evaluation)


def _track_rows(session: Session, tracker: Tracker, scored: Sequence[Scored], part: str) -> None:
    """Records each row but the tuned one, which is a trial, as a run with the tag `row`."""
    record = session.folder.record()
    runs: dict[str, str] = record.get("rows", {})
    fresh = [one for one in scored if one.row.kind != "tuned" and one.row.key not in runs]
    starts = [
        TrialStart(
            number=number,
            name=one.row.name,
            params={
                f"{task}.{name}": value
                for task, settings in one.row.settings.items()
                for name, value in settings.items()
            },
            row=one.row.kind,
        )
        for number, one in enumerate(fresh)
    ]
    started = tracker.start_trials(starts)
    runs |= {one.row.key: started[number] for number, one in enumerate(fresh)}
    session.folder.save_record({**record, "rows": runs})
    # What a run shows of a part stays: the row is the same whenever it is compared again.
    shown: list[str] = record.get("rows_shown", [])
    for one in scored:
        if one.row.kind != "tuned" and f"{one.row.key} {part}" not in shown:
            tracker.finish(runs[one.row.key], _row_end(one, part))
            shown.append(f"{one.row.key} {part}")
    session.folder.save_record({**record, "rows": runs, "rows_shown": shown})


def _row_end(one: Scored, part: str) -> TrialEnd:
    score = {"score" if part == "valid" else f"{part}/score": one.evaluation.mean}
    return TrialEnd("complete", metrics={**evaluation_metrics(one.evaluation), **score})
