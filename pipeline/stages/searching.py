"""The search of a study, launched or resumed."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.driver.choice import choose
from pipeline.driver.fork_server import start_ahead
from pipeline.driver.journal import sampler_faults
from pipeline.driver.launch import SearchOptions, SearchResult
from pipeline.driver.observers import Observer
from pipeline.driver.records import TrialRecord, best_trials
from pipeline.driver.search import Description, Search
from pipeline.errors import StudyError
from pipeline.report.pareto import pareto_json
from pipeline.report.refresh import ReportRefresh
from pipeline.report.tables import choice_json
from pipeline.stages.comparing import train_rows
from pipeline.stages.describing import describe as describe_study
from pipeline.stages.describing import report_files, running_material
from pipeline.stages.recording import driver_lock
from pipeline.stages.samples import track_samples, valid_samples
from pipeline.stages.session import DEFAULT_STORE, Session, Tables, open_session, workers_of
from pipeline.stages.telling import LongWork, Say, say_on_stderr
from pipeline.stages.trials import model_of
from pipeline.study.loading import Study
from pipeline.tracking.archive import archive_experiment
from pipeline.tracking.store import Store
from pipeline.tracking.study_tracker import StudyTracker
from pipeline.tracking.tracker import Tracker
from pipeline.training.devices import device_title


def search(
    study: Study,
    n_trials: int | None = None,
    timeout_seconds: float | None = None,
    n_workers: int | None = None,
    fresh: bool = False,
    baselines: bool = False,
    store: Store | Path | str = DEFAULT_STORE,
    tables: Tables | None = None,
    tracking_uri: str | None = None,
    observers: Sequence[Observer] = (),
    tracker: Tracker | None = None,
    say: Say = say_on_stderr,
    device: str = "auto",
) -> dict[str, Any]:
    """Launches a study's search, or goes on with it.

    Args:
        study: The study.
        n_trials: Finished trials at the end; by default what the file says.
        timeout_seconds: After this no further cohort starts, in the free order no further trial.
        n_workers: Local processes; by default one a core. It changes no parameter. A GPU is
            served by one.
        fresh: Archive what an earlier launch left and start again.
        baselines: Search equal weights and each task alone too; else `compare` does it.
        store: Where to record.
        tables: Data frames in place of paths.
        tracking_uri: A server in place of the store's database.
        observers: Told of everything that happens.
        tracker: In place of MLflow, to measure what tracking costs.
        say: Told what is going on.
        device: Where to train: `cpu`, `cuda`, or `auto` for a GPU where there is one. Batches
            and noise are the same everywhere, rounding is not.

    Returns:
        The JSON contract of `mtl search`.

    Raises:
        InputError: There is no such device here.
        StudyError: The sampler is unknown, or cannot search these ranges.
        ResumeError: The study was launched with other settings or data.
        Interrupted: Ctrl-C; the runs are closed and the search can be resumed.
    """
    # Optuna alone knows its samplers: a name it does not know must not reach the record.
    objective = study.spec.search.objective
    n_objectives = 1 if isinstance(objective, str) else len(objective)
    faults = sampler_faults(study.spec.search.sampler, study.ranges, n_objectives)
    if faults:
        raise StudyError(faults)
    start_ahead(n_workers, device)  # beside the preparation of the data
    session = open_session(study, store, tables, tracking_uri, device)
    say(f"Study {session.name}: {len(study.ranges)} ranges are searched.")
    for note in (*study.notes, *session.prepared.report.warnings):
        say(f"Note: {note}")
    if session.device.type != "cpu":
        say(f"Training on {device_title(session.device)}.")
    options = SearchOptions(
        n_trials or study.spec.search.trials,
        timeout_seconds,
        workers_of(session, n_workers, say),
        session.device,
        say,
    )
    with driver_lock(session):
        if fresh and session.folder.exists():
            say(f"The old study is kept as {_archive(session)}.")
        with tracker or StudyTracker(session.store) as recorder:

            def describe(trials: Sequence[TrialRecord], state: str) -> Description:
                return describe_study(session, recorder.experiment_id, trials, state)

            def report(trials: Sequence[TrialRecord]) -> Mapping[str, str]:
                return report_files(running_material(session, trials))

            watching = [*observers, ReportRefresh(report, recorder.refresh_files)]
            result = Search(
                study, session.prepared, session.folder, recorder, options, watching, describe
            ).run()
            _track_samples(session, recorder, say)
            if baselines:
                with LongWork() as progress:
                    train_rows(session, recorder, n_workers, say, progress)
            return _search_json(session, result, recorder.experiment_id)


def _track_samples(session: Session, tracker: Tracker, say: Say) -> None:
    """Shows on the shipped model's run what it makes of documents of valid, where there are any."""
    choice = choose(session.folder, session.study.spec.search.finalists)
    if choice is not None and session.prepared.documents:
        predictor = model_of(session, choice.shipped, say)
        track_samples(tracker, choice.shipped, "valid", valid_samples(session, predictor))


def _archive(session: Session) -> str:
    """Puts the old study aside; the experiment first, since its runs are found by the folder."""
    archived = f"{session.name}.archived-{time.strftime('%Y%m%dT%H%M%S')}"
    archive_experiment(session.store, session.name, archived)
    session.folder.archive(archived)
    return archived


def _search_json(session: Session, result: SearchResult, experiment_id: str) -> dict[str, Any]:
    counts = {
        state: sum(trial.state == state for trial in result.trials)
        for state in ("complete", "pruned", "diverged", "failed")
    }
    counts["pruned"] += counts["diverged"]  # as Optuna counts them; `diverged` is a part of it
    best = None
    for top in best_trials(result.trials, 1):
        best = {
            "trial": top.number,
            "score": top.score,
            "scores": dict(top.evaluation.scores) if top.evaluation else {},
            "params": dict(top.params),
            "run_id": top.run_id,
        }
    choice = choose(session.folder, session.study.spec.search.finalists)
    objective = session.study.spec.search.objective
    return {
        "study": session.name,
        "trials": counts,
        "best": best,
        **pareto_json(session.prepared, objective, result.trials),
        "shipped": choice_json(choice) if choice else None,
        "experiment_id": experiment_id,
        "run_id": result.run_id,
        "tracking_uri": session.store.tracking_uri,
        "seconds": result.seconds,
        "phases": {**session.seconds, **result.phases},
    }
