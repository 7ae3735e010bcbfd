"""The comparison of a study's best model with the rows that it must beat."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipeline.comparison.compare import Scored, compare_rows, score_rows
from pipeline.comparison.readings import Readings
from pipeline.comparison.rows import collect_rows
from pipeline.data.text_encoding import Progress
from pipeline.driver.beside import RowsBeside
from pipeline.driver.json_files import write_json
from pipeline.driver.trials import evaluation_metrics
from pipeline.evaluation.evaluate import Evaluation
from pipeline.stages.evaluating import track_test
from pipeline.stages.recording import recording
from pipeline.stages.samples import track_samples
from pipeline.stages.session import DEFAULT_STORE, Session, Tables, open_searched
from pipeline.stages.telling import LongWork, Say, say_on_stderr
from pipeline.stages.trials import comparison_file, find_choice, model_of, read_comparison
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
    n_workers: int | None = None,
    say: Say = say_on_stderr,
    device: str = "auto",
) -> dict[str, Any]:
    """Compares the best model with the other rows, searching those that are missing.

    Args:
        study: The study, searched before.
        part: `test` for the end, `valid` while the search goes on.
        read_only: Train and record nothing: rows that are missing, or were not read on test
            before, are left out.
        store: Where the study is recorded.
        tables: Data frames in place of paths.
        tracking_uri: A server in place of the store's database.
        n_workers: Local processes; by default one a core. It changes no parameter.
        say: Told what is being trained.
        device: Where to train: `cpu`, `cuda`, or `auto` for a GPU where there is one.

    Returns:
        The JSON contract of `mtl compare`.

    Raises:
        InputError: The study has no complete trial.
        ResumeError: The study's settings or data are not those of the search.
        TrainingError: No trial of a row is complete.
        Interrupted: Ctrl-C; the same command goes on.
    """
    session = open_searched(study, store, tables, tracking_uri, device)
    find_choice(session)  # or there is nothing to compare
    known = _known(session, part)
    if known is not None:
        return known
    if read_only:
        with LongWork() as progress:
            return _document(session, _score(session, part, True, say, progress), part)
    with recording(session) as tracker, LongWork() as progress:
        train_rows(session, tracker, n_workers, say, progress)
        known = _known(session, part)  # finalists that were missing have changed the choice
        if known is not None:
            return known
        scored = _score(session, part, False, say, progress)
        if part == "test":
            _note_readings(session, tracker, scored)
        _track_rows(session, tracker, scored, part)
        document: dict[str, Any] = _document(session, scored, part)
        track_samples(tracker, find_choice(session).shipped, part, document["samples"])
        tracker.flush()  # what is known is not written again
        write_json(comparison_file(session, part), document)
    return document


def train_rows(
    session: Session, tracker: Tracker, n_workers: int | None, say: Say, progress: Progress
) -> None:
    """Searches the baselines that are missing, and trains the finalists that are."""
    RowsBeside(
        session.study, session.prepared, session.folder, tracker, say, n_workers, session.device,
        progress,
    ).run()  # fmt: skip


def _known(session: Session, part: str) -> dict[str, Any] | None:
    """Returns a comparison that was made of the same models and data."""
    known = read_comparison(session, part)
    if known is None:
        return None
    return {**known, "test_reads": len(Readings(session.folder).all())}


def _score(
    session: Session, part: str, read_only: bool, say: Say, progress: Progress
) -> list[Scored]:
    rows = collect_rows(
        session.study, session.prepared, session.folder,
        lambda row, record: model_of(session, record, say, row), say, read_only, progress,
    )  # fmt: skip
    if read_only and part == "test":
        readings, data = Readings(session.folder), session.prepared.data_digest
        rows = [row for row in rows if all(readings.get(key, data) for key in row.keys)]
    return score_rows(rows, session.prepared, part, session.study.spec.seed, progress)


def _document(session: Session, scored: Sequence[Scored], part: str) -> dict[str, Any]:
    n_reads = len(Readings(session.folder).all())
    seed = session.study.spec.seed
    return compare_rows(session.name, scored, session.prepared, part, n_reads, seed)


def _note_readings(session: Session, tracker: Tracker, scored: Sequence[Scored]) -> None:
    """Keeps what was read of test for each model, and shows it on the model's run."""
    readings, data = Readings(session.folder), session.prepared.data_digest
    known = readings.all()
    fresh: dict[str, Evaluation] = {}
    for one in scored:
        for model in one.row.models:
            if f"{model.key}@{data}" not in known and model.key not in fresh:
                fresh[model.key] = one.readings[model.key]
                if model.run_id:
                    track_test(
                        session, tracker, model.key, model.run_id, model.epochs, fresh[model.key]
                    )
    readings.add_all(data, fresh)


def _track_rows(session: Session, tracker: Tracker, scored: Sequence[Scored], part: str) -> None:
    """Records each row that was fitted at once, not searched, as a run with the tag `row`."""
    record = session.folder.record()
    runs: dict[str, str] = record.get("rows", {})
    fitted = [one for one in scored if not one.row.models[0].run_id]
    fresh = [one for one in fitted if one.row.shipped not in runs]
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
    runs |= {one.row.shipped: started[number] for number, one in enumerate(fresh)}
    session.folder.save_record({**record, "rows": runs})
    # What a run shows of a part stays: the row is the same whenever it is compared again.
    shown: list[str] = record.get("rows_shown", [])
    for one in fitted:
        if f"{one.row.shipped} {part}" not in shown:
            tracker.finish(runs[one.row.shipped], _row_end(one, part))
            shown.append(f"{one.row.shipped} {part}")
    session.folder.save_record({**record, "rows": runs, "rows_shown": shown})


def _row_end(one: Scored, part: str) -> TrialEnd:
    score = {"score" if part == "valid" else f"{part}/score": one.evaluation.mean}
    return TrialEnd("complete", metrics={**evaluation_metrics(one.evaluation), **score})
