"""Promotion of a trial's model, and loading of what was promoted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline.comparison.readings import Readings
from pipeline.driver.records import TrialRecord
from pipeline.driver.trials import end_of
from pipeline.errors import InputError
from pipeline.evaluation.evaluate import Evaluation
from pipeline.evaluation.verdicts import mean_bounds
from pipeline.promotion.card import Card, CardTask
from pipeline.promotion.decision import Decision
from pipeline.promotion.gates import Facts
from pipeline.promotion.promote import Candidate, Place, current_champion, promote_model
from pipeline.promotion.registry import Champion
from pipeline.promotion.rollback import roll_back
from pipeline.promotion.signature import narrowed
from pipeline.report.tables import choice_line
from pipeline.serving.loading import LoadedModel
from pipeline.serving.loading import load_model as load_recorded
from pipeline.serving.predictor import Predictor
from pipeline.stages.evaluating import track_test
from pipeline.stages.measuring import (
    Rivals,
    ask_standalone,
    hold_contest,
    is_dirty,
    load_champion,
    measure_rivals,
    outputs_of,
)
from pipeline.stages.recording import recording
from pipeline.stages.session import DEFAULT_STORE, Session, Tables, open_searched
from pipeline.stages.telling import Say, say_on_stderr
from pipeline.stages.trials import find_choice, find_trial, model_of
from pipeline.study.loading import Study
from pipeline.tracking.store import Store, open_store
from pipeline.tracking.tracker import Tracker


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
        InputError: The study has no such trial, or the champion cannot be compared: it answers
            other tasks or labels, or its files are gone.
        ResumeError: The study's settings or data are not those of the search.
    """
    session = open_searched(study, store, tables, tracking_uri)
    spec = study.spec.promote
    model = spec.model or session.name
    record = find_trial(session, trial)
    if trial == "best":
        say(choice_line(find_choice(session)))
    with recording(session) as tracker:
        champion = current_champion(session.store, model, spec.alias)
        found = _Promotion(session, tracker, record, champion, tables, dry_run, say)
        candidate, facts = found.measured() if record.state == "complete" else found.unmeasured()
        tracker.flush()
        return promote_model(session.store, candidate, facts, Place(model, champion, spec, dry_run))


def rollback(
    model: str,
    alias: str = "champion",
    to: str | None = None,
    dry_run: bool = False,
    store: Store | Path | str = DEFAULT_STORE,
    tracking_uri: str | None = None,
) -> Decision:
    """Points a model's alias at the version before, which must still load, and records it.

    Args:
        model: Registered model.
        alias: That applications load.
        to: An earlier version of the alias to go back to; the last one by default.
        dry_run: Tell what would happen, and write nothing.
        store: Where the model was promoted.
        tracking_uri: A server in place of the store's database.

    Raises:
        InputError: There is no such model, alias or store, no version before, or it cannot be
            loaded.
        StoreError: The registry refused, or the alias was moved meanwhile.
    """
    return roll_back(_existing(store, tracking_uri), model, alias, to, dry_run)


@dataclass(frozen=True)
class _Promotion:
    """A trial that is to be promoted: what is measured of it before anything is decided."""

    session: Session
    tracker: Tracker
    record: TrialRecord
    champion: Champion | None
    tables: Tables | None
    dry_run: bool
    say: Say

    def unmeasured(self) -> tuple[Candidate, Facts]:
        """Returns a trial that did not complete: test is not read for it, it is refused anyway."""
        return self._candidate("", {}, self._card({})), Facts(self.record.state)

    def measured(self) -> tuple[Candidate, Facts]:
        """Measures a complete trial's model beside its rivals and in a clean process."""
        session, champion = self.session, self.champion
        predictor = model_of(session, self.record, self.say)
        theirs = None if champion is None else load_champion(session, champion)
        outputs = outputs_of(session, predictor)
        rivals = measure_rivals(session, self.record, outputs, self.say)
        self._note(rivals)
        model_id = self._model_id(predictor)
        is_champion = champion is not None and champion.model_id == model_id
        contest = None
        if theirs is not None and champion is not None and not is_champion:
            data = champion.tags.get("data", "")
            contest = hold_contest(session, (predictor, outputs), theirs, data, self.tables)
            if contest.champion is not None:
                key = self._key_of(champion)
                Readings(session.folder).add(key, session.prepared.data_digest, contest.champion)
        self.say("Asking the model in a clean process, which takes some seconds.")
        facts = Facts(
            state=self.record.state,
            rivals=rivals.changes,
            others=rivals.others,
            contest=contest,
            is_champion=is_champion,
            standalone=ask_standalone(
                session, predictor, "" if self.dry_run else model_id, self.tables
            ),
            narrowed=[] if theirs is None else narrowed(predictor, theirs),
            dirty=is_dirty(session, self.record),
        )
        test = {"candidate": rivals.candidate.evaluation, "constant": rivals.constant.evaluation}
        card = self._card(_card_tasks(session, rivals), predictor)
        return self._candidate(model_id, test, card), facts

    def _candidate(self, model_id: str, test: Mapping[str, Evaluation], card: Card) -> Candidate:
        return Candidate(
            study=self.session.name,
            trial=self.record.number,
            replicate=self.record.replicate,
            run_id=self.record.run_id,
            model_id=model_id,
            data=self.session.prepared.data_digest,
            test=test,
            card=card,
            test_reads=len(Readings(self.session.folder).all()),
        )

    def _note(self, rivals: Rivals) -> None:
        """Keeps what was read of test for the first time, the trial's on its run too."""
        readings, data = Readings(self.session.folder), self.session.prepared.data_digest
        found = rivals.candidate.readings[self.record.key]
        if readings.get(self.record.key, data) is None:
            track_test(
                self.session, self.tracker, self.record.key, self.record.run_id,
                self.record.epochs, found,
            )  # fmt: skip
        readings.add_all(data, {self.record.key: found, **rivals.readings})

    def _key_of(self, champion: Champion) -> str:
        """Returns what the champion is called among this study's readings."""
        folder = self.session.folder
        own = folder.ended()
        known = (one.key for one in own if one.run_id == champion.run_id)
        return next(known, champion.model_id)

    def _model_id(self, predictor: Predictor) -> str:
        """Returns the trial's logged model, logging it where it was not among the best."""
        folder, record = self.session.folder, self.record
        stored = folder.record()
        logged: dict[str, str] = stored.get("models", {})
        if record.key not in logged:
            if self.dry_run:
                return ""
            model_id = self.tracker.log_model(record.run_id, predictor, end=end_of(record))
            logged[record.key] = model_id
            folder.save_record({**stored, "models": logged})
        return logged[record.key]

    def _card(self, tasks: Mapping[str, CardTask], predictor: Predictor | None = None) -> Card:
        prepared, spec = self.session.prepared, self.session.study.spec
        report = prepared.report
        label = self.record.label.removeprefix("#")
        return Card(
            title=f"Trial {label} of the study **{self.session.name}**",
            data=prepared.data_digest,
            sources=[
                f"`{name}`: {found['n_rows']:,} rows. {spec.sources[name].about}".strip()
                for name, found in report.sources.items()
            ],
            n_rows=report.n_rows,
            tasks=tasks,
            inputs=() if predictor is None else predictor.columns,
            limits=_limits(self.session),
        )


def _card_tasks(session: Session, rivals: Rivals) -> dict[str, CardTask]:
    found = rivals.candidate.evaluation
    return {
        info.name: CardTask(
            kind=info.kind,
            classes=info.classes,
            score=found.scores[info.name],
            interval=mean_bounds(rivals.candidate.scores[info.name]),
            constant=rivals.constant.evaluation.scores[info.name],
            metrics=found.tasks[info.name],
            n_rows=(info.n_labelled.get("train", 0), info.n_labelled.get("test", 0)),
        )
        for info in session.prepared.tasks
    }


def _limits(session: Session) -> list[str]:
    """Returns what a user should not expect, as sentences."""
    report, group = session.prepared.report, session.study.spec.split.group
    n_read = len(Readings(session.folder).all())
    found = [
        "The test rows come of the same sources as the train rows: for other people, places or "
        "times nothing was measured.",
        "Intervals tell the luck of the test rows, not that of training; test was read for "
        f"{n_read} models of this study.",
        "A category that no train row has is read as unknown, a missing number as the median.",
    ]
    repeated = report.duplicates.get("train/test", 0)
    if repeated and not report.dropped:
        found.append(f"{repeated:,} test rows have inputs that also stand in train.")
    if group is not None:
        found.append(f"Rows of one `{group}` stand in one part of the split.")
    return found


def load_model(
    uri: str, store: Store | Path | str = DEFAULT_STORE, tracking_uri: str | None = None
) -> LoadedModel:
    """Loads a promoted model: `NAME@ALIAS`, `NAME/VERSION`, or the id of a run.

    Raises:
        InputError: There is no such model, or no store.
    """
    if tracking_uri is not None and not isinstance(store, Store):
        return load_recorded(uri, tracking_uri)  # nothing is kept in a folder here
    return load_recorded(uri, _existing(store).tracking_uri)


def _existing(store: Store | Path | str, tracking_uri: str | None = None) -> Store:
    """Returns a store that something was promoted in.

    Raises:
        InputError: There is none.
    """
    if isinstance(store, Store):
        return store
    if tracking_uri is None and not (Path(store) / "mlflow.db").exists():
        raise InputError(
            f"There is no store at {store}. Name the one that the model was promoted in with "
            "`--store DIR`."
        )
    return open_store(Path(store), tracking_uri)
