"""Promotion of a trial's model, and loading of what was promoted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from pipeline.comparison.baselines import fit_constant
from pipeline.comparison.readings import Readings
from pipeline.data.prepare import read_part
from pipeline.data.prepared import Part
from pipeline.driver.records import TrialRecord
from pipeline.driver.trials import end_of
from pipeline.errors import InputError
from pipeline.evaluation.evaluate import Evaluation, evaluate_one
from pipeline.promotion.gates import Decision
from pipeline.promotion.promote import Candidate, current_champion, promote_model
from pipeline.promotion.registry import Champion
from pipeline.report.tables import choice_line
from pipeline.serving.loading import LoadedModel, load_predictor
from pipeline.serving.loading import load_model as load_recorded
from pipeline.serving.predictor import Predictor
from pipeline.stages.evaluating import read_test
from pipeline.stages.session import (
    DEFAULT_STORE,
    Say,
    Session,
    Tables,
    find_choice,
    find_trial,
    model_of,
    open_searched,
    recording,
    say_on_stderr,
)
from pipeline.study.loading import Study
from pipeline.tracking.store import Store, open_store
from pipeline.tracking.tracker import Tracker
from pipeline.training.predict import predict_member


def promote(
    study: Study,
    trial: int | str = "best",
    dry_run: bool = False,
    store: Store | Path | str = DEFAULT_STORE,
    tables: Tables | None = None,
    tracking_uri: str | None = None,
    say: Say = say_on_stderr,
) -> Decision:
    """Registers a trial's model and moves the alias, if every gate passes.

    Args:
        study: The study, searched before.
        trial: Number of a trial, or `best` for the model that is shipped: see `driver.choice`.
        dry_run: Decide, and register nothing.
        store: Where the study is recorded.
        tables: Data frames in place of paths.
        tracking_uri: A server in place of the store's database.
        say: Told what is going on.

    Raises:
        GateRefused: A gate refused; the alias is where it was.
        InputError: The study has no such trial, or the champion cannot be compared: it was
            trained on other data.
        ResumeError: The study's settings or data are not those of the search.
    """
    session = open_searched(study, store, tables, tracking_uri)
    spec = study.spec.promote
    model = spec.model or session.name
    record = find_trial(session, trial)
    if trial == "best":
        say(choice_line(find_choice(session)))
    is_complete = record.state == "complete"
    with recording(session) as tracker:
        champion = current_champion(session.store, model, spec.alias)
        champion_test = _champion_scores(session, champion, tables) if champion else None
        # Refused anyway: test is not read for a trial that did not complete.
        found = read_test(session, tracker, record, say) if is_complete else _unread(session)
        needs_model = is_complete and not dry_run
        model_id = _model_id(session, tracker, record, say) if needs_model else ""
        tracker.flush()
        candidate = Candidate(
            study=session.name,
            trial=record.number,
            replicate=record.replicate,
            state=record.state,
            run_id=record.run_id,
            model_id=model_id,
            test=found,
            data=session.prepared.data_digest,
            metrics=found.tasks,
            test_reads=len(Readings(session.folder).all()),
        )
        return promote_model(
            session.store,
            candidate,
            model=model,
            alias=spec.alias,
            gates=spec.gates,
            constant=_constant(session),
            champion=champion,
            champion_test=champion_test,
            dry_run=dry_run,
        )


def _model_id(session: Session, tracker: Tracker, record: TrialRecord, say: Say) -> str:
    """Returns the trial's logged model, logging it where it was not among the best."""
    stored = session.folder.record()
    logged: dict[str, str] = stored.get("models", {})
    if record.key not in logged:
        predictor = model_of(session, record, say)
        model_id = tracker.log_model(record.run_id, predictor, end=end_of(record))
        logged[record.key] = model_id
        session.folder.save_record({**stored, "models": logged})
    return logged[record.key]


def _champion_scores(session: Session, champion: Champion, tables: Tables | None) -> Evaluation:
    """Evaluates today's champion on the test rows of this study, once as any other model.

    Raises:
        InputError: It answers other tasks or labels than this study's.
        DataError: It needs a column that this study's inputs lack.
    """
    folder = session.folder
    own = (*folder.trials(), *folder.all_finalists())
    key = next((one.key for one in own if one.run_id == champion.run_id), champion.model_id)
    readings, data = Readings(session.folder), session.prepared.data_digest
    known = readings.get(key, data)
    if known is not None:
        return known
    predictor = load_predictor(champion.model_id, session.store.tracking_uri)
    theirs, ours = (
        [(task.name, task.kind, task.classes) for task in tasks]
        for tasks in (predictor.tasks, session.prepared.tasks)
    )
    if theirs != ours:
        raise InputError(
            f"Version {champion.version} of {champion.model} answers other tasks or labels than "
            "this study, so the two cannot be compared. Give `promote.model` another name to "
            "register this study's model beside it."
        )
    test = _as_encoded_by(predictor, session, tables)
    outputs = predict_member(
        predictor.architecture, predictor.parameters, test, device=session.device
    )
    # Its own thresholds and scales, but the metrics that this study goes by.
    metrics = {task.name: task.metric for task in session.prepared.tasks}
    infos = [replace(info, metric=metrics[info.name]) for info in predictor.tasks]
    kinds = session.prepared.kinds(infos)
    found = evaluate_one(kinds, outputs, test.targets, "test")
    readings.add(key, data, found)
    return found


def _as_encoded_by(predictor: Predictor, session: Session, tables: Tables | None) -> Part:
    """Returns the test rows as a model reads them that may have been trained on other rows."""
    test = session.prepared.parts["test"]
    if predictor.encoder.to_json() == session.prepared.encoder.to_json():
        return test
    study = session.study
    raw = read_part(study.spec, study.folder, "test", study.data_dir, tables)
    found = predictor.encoder.encode_all(raw)
    return replace(test, numeric=found.numeric, codes=found.codes, texts=found.texts)


def _unread(session: Session) -> Evaluation:
    """Stands for test scores that there are none of."""
    scores = {info.name: float("nan") for info in session.prepared.tasks}
    return Evaluation("test", n_rows={}, tasks={}, scores=scores, mean=float("nan"))


def _constant(session: Session) -> Evaluation:
    """Evaluates the constant baseline on test."""
    outputs = fit_constant(session.prepared).outputs["test"]
    kinds = session.prepared.kinds()
    return evaluate_one(kinds, outputs, session.prepared.parts["test"].targets, "test")


def load_model(
    uri: str, store: Store | Path | str = DEFAULT_STORE, tracking_uri: str | None = None
) -> LoadedModel:
    """Loads a promoted model: `NAME@ALIAS`, `NAME/VERSION`, or the id of a run.

    Raises:
        InputError: There is no such model, or no store.
    """
    if isinstance(store, Store):
        return load_recorded(uri, store.tracking_uri)
    if tracking_uri is not None:  # nothing is kept in a folder here
        return load_recorded(uri, tracking_uri)
    if not (Path(store) / "mlflow.db").exists():
        raise InputError(
            f"There is no store at {store}. Name the one that the model was promoted in with "
            "`--store DIR`."
        )
    return load_recorded(uri, open_store(Path(store)).tracking_uri)
