"""What a promotion measures: a model beside its rivals on test, and in a clean process."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.comparison.compare import Scored, score_rows
from pipeline.comparison.rows import FITTED, Model, Outputs, Row, fitted_rows, searched_rows
from pipeline.data.prepare import read_part
from pipeline.data.prepared import Part
from pipeline.driver.records import TrialRecord
from pipeline.errors import InputError, StoreError
from pipeline.evaluation.bootstrap import bootstrap_models, n_units
from pipeline.evaluation.evaluate import Evaluation, evaluate_one
from pipeline.evaluation.verdicts import Scores
from pipeline.promotion.contest import Change, Contest, paired_change
from pipeline.promotion.registry import Champion
from pipeline.promotion.standalone import Standalone, check_standalone
from pipeline.serving.bundle import bundle
from pipeline.serving.loading import load_predictor, model_folder
from pipeline.serving.predictor import Predictor
from pipeline.stages.session import Session, Tables
from pipeline.stages.telling import LongWork, Say
from pipeline.stages.trials import model_of, read_comparison
from pipeline.tasks.abstractive import Abstractive
from pipeline.tasks.base import Kind, TaskInfo, labelled
from pipeline.tracking.environment import read_git
from pipeline.training.predict import predict_member

_N_ASKED = 64  # rows for the clean process: enough to differ, few enough to answer one by one


@dataclass(frozen=True)
class Rivals:
    """A candidate among the rows of the comparison that it must beat.

    Attributes:
        candidate: Its scores on all test rows.
        constant: Those of the constant.
        changes: Row to what the candidate gains over it.
        others: Rows that it need not beat to how far its mean is above theirs.
        readings: All metrics of the rivals on test, by the key of the model.
    """

    candidate: Scored
    constant: Scored
    changes: Mapping[str, Change | None]
    others: Mapping[str, float]
    readings: Mapping[str, Evaluation]


def outputs_of(session: Session, predictor: Predictor) -> Outputs:
    """Returns a model's head outputs for the valid and the test rows."""
    return {
        part: predict_member(
            predictor.architecture, predictor.parameters, session.prepared.parts[part]
        )
        for part in ("valid", "test")
    }


def measure_rivals(session: Session, record: TrialRecord, outputs: Outputs, say: Say) -> Rivals:
    """Scores a candidate beside the constant and the rows that the study names.

    Raises:
        InputError: A row that the study names was not searched yet.
    """
    gates = session.study.spec.promote.gates
    named = list(dict.fromkeys(["constant", *gates.beat]))
    ours = Row("tuned", (Model(record.key, outputs, record.run_id, record.epochs),), 1, 0)
    rows = [ours, *_rival_rows(session, named, say)]
    scored = score_rows(rows, session.prepared, "test", session.study.spec.seed)
    candidate, *rivals = scored
    by_kind = {one.row.kind: one for one in rivals}
    return Rivals(
        candidate,
        by_kind["constant"],
        {
            kind: paired_change(candidate.scores, by_kind[kind].scores, gates.confidence)
            for kind in named
        },
        _others(session, candidate.evaluation.mean, named, say),
        {key: found for one in rivals for key, found in one.readings.items()},
    )


def _rival_rows(session: Session, named: Sequence[str], say: Say) -> list[Row]:
    fitted = [kind for kind in named if kind in FITTED]
    with LongWork() as progress:
        rows = fitted_rows(session.prepared, session.folder, say, kinds=fitted, progress=progress)
    searched = [kind for kind in named if kind not in FITTED]
    if not searched:
        return rows
    found = searched_rows(
        session.study, session.prepared, session.folder,
        lambda row, record: model_of(session, record, say, row), read_only=True,
        kinds=searched,
    )  # fmt: skip
    by_kind = {row.kind: row for row in found}
    for kind in searched:
        if kind not in by_kind:
            raise InputError(
                f"`promote.gates.beat` names {kind}, which was not searched yet. "
                "Run `mtl compare` on the study first, or leave it out."
            )
    return rows + [by_kind[kind] for kind in searched]


def _others(session: Session, mean: float, named: Sequence[str], say: Say) -> dict[str, float]:
    """Returns how far a mean test score is above the rows of a comparison that was made."""
    known = read_comparison(session, "test")
    if known is None:
        say("Not compared with rows that it need not beat: `mtl compare` does, on the same test.")
        return {}
    rows = [row for row in known["rows"] if row["kind"] not in ("tuned", *named)]
    return {row["kind"]: mean - row["mean"] for row in rows if row["mean"] is not None}


def load_champion(session: Session, champion: Champion) -> Predictor:
    """Loads today's champion, which must answer what the study asks.

    Raises:
        StoreError: Its files are gone or damaged.
        InputError: It answers other tasks or labels than this study's, or from other texts.
    """
    where = f"Version {champion.version} of {champion.model}"
    try:
        predictor = load_predictor(champion.model_id, session.store.tracking_uri)
    except StoreError as error:
        raise StoreError(
            f"{where}, today's champion, cannot be read, so that nothing can be compared with it. "
            f"{error} Restore its files, go back with `mtl rollback {champion.model}`, or give "
            "`promote.model` another name."
        ) from error
    differences = _differences(predictor.tasks, session.prepared.tasks)
    if differences:
        raise InputError(
            f"{where} answers other tasks or labels, or from other texts, so the two cannot be "
            f"compared: {'; '.join(differences)}. Give `promote.model` another name to register "
            "this study's model beside it."
        )
    return predictor


def _differences(theirs: Sequence[TaskInfo], ours: Sequence[TaskInfo]) -> list[str]:
    old, new = ({task.name: task for task in tasks} for tasks in (theirs, ours))
    found = [f"only the champion answers `{name}`" for name in old if name not in new]
    found += [f"only this study answers `{name}`" for name in new if name not in old]
    for name in (name for name in new if name in old):
        was, now = old[name], new[name]
        if was.kind != now.kind:
            found.append(f"`{name}` is {now.kind} and was {was.kind}")
        elif was.classes != now.classes:
            labels = (", ".join(task.classes) for task in (now, was))
            found.append(f"`{name}` has the labels {next(labels)} and had {next(labels)}")
        elif was.options.get("text") != now.options.get("text"):
            now_text, was_text = (task.options["text"] for task in (now, was))
            found.append(f"`{name}` reads the text `{now_text}` and read `{was_text}`")
    return found


def hold_contest(
    session: Session,
    ours: tuple[Predictor, Outputs],
    theirs: Predictor,
    data: str,
    tables: Tables | None,
) -> Contest:
    """Evaluates a candidate and the champion on the test rows that neither has seen.

    Args:
        session: The study.
        ours: The candidate, and its outputs.
        theirs: The champion.
        data: Digest of the data that the champion was trained on.
        tables: Data frames in place of paths.

    Raises:
        DataError: The champion needs a column that no source of this study has.
    """
    test = session.prepared.parts["test"]
    if data == session.prepared.data_digest:  # one split: it says which rows are whose
        contest, kept = Contest(len(test), len(test)), np.ones(len(test), dtype=bool)
    else:
        contest, kept = _unseen(test, ours[0], theirs)
    infos = session.prepared.tasks
    if not all(labelled(test.targets[info.name][kept]).any() for info in infos):
        return contest
    targets = {name: values[kept] for name, values in test.targets.items()}
    groups = None if test.groups is None else test.groups[kept]
    read = as_encoded_by(theirs, session, tables)
    outputs = predict_member(theirs.architecture, theirs.parameters, read)
    # Its own thresholds and scales, but the metrics that this study goes by.
    sides = [
        (_kinds_as(session, predictor.tasks), {task: of[task][kept] for task in targets})
        for predictor, of in ((ours[0], ours[1]["test"]), (theirs, outputs))
    ]
    drawn = bootstrap_models(sides, targets, groups, seed=session.study.spec.seed)
    candidate, champion = (evaluate_one(*side, targets, "test") for side in sides)
    scores = [
        {
            kind.info.name: Scores(
                np.array([found.scores[kind.info.name]]), samples[:, [i]].T,
                n_units(kind, targets, groups),
            )
            for i, kind in enumerate(kinds)
        }
        for (kinds, _), found, samples in zip(sides, (candidate, champion), drawn, strict=True)
    ]  # fmt: skip
    change = paired_change(scores[0], scores[1], session.study.spec.promote.gates.confidence)
    return replace(contest, change=change, candidate=candidate, champion=champion)


def _kinds_as(session: Session, infos: Sequence[TaskInfo]) -> list[Kind]:
    """Returns a model's kinds in this study's order, with this study's metrics."""
    theirs = {info.name: info for info in infos}
    ours = session.prepared.tasks
    return session.prepared.kinds(replace(theirs[one.name], metric=one.metric) for one in ours)


def _unseen(test: Part, ours: Predictor, theirs: Predictor) -> tuple[Contest, NDArray[np.bool_]]:
    """Returns which test rows count, whole groups where the split is grouped."""
    seen = [
        test.known_in(marks)
        for marks in (
            theirs.seen.get("train", np.empty(0, np.uint64)),
            theirs.seen.get("valid", np.empty(0, np.uint64)),
            np.concatenate([np.empty(0, np.uint64), *ours.seen.values()]),
        )
    ]
    if test.groups is not None:
        seen = [np.isin(test.groups, test.groups[rows]) for rows in seen]
    trained, chosen, own = seen
    kept = ~(trained | chosen | own)
    return Contest(
        n_rows=len(test),
        n_compared=int(kept.sum()),
        n_trained=int(trained.sum()),
        n_chosen=int((chosen & ~trained).sum()),
        n_own=int((own & ~trained & ~chosen).sum()),
        knows_rows=len(theirs.seen.get("train", ())) > 0 and test.marks is not None,
    ), kept


def as_encoded_by(predictor: Predictor, session: Session, tables: Tables | None) -> Part:
    """Returns the test rows as a model reads them that may have been trained on other rows.

    A task that writes reads words by the number that they have in its own vocabulary.
    """
    test = session.prepared.parts["test"]
    words = {
        kind.info.name: kind.reread(test.targets[kind.info.name])
        for kind in session.prepared.kinds(predictor.tasks)
        if isinstance(kind, Abstractive)
    }
    test = replace(test, targets={**test.targets, **words})
    if predictor.encoder.to_json() == session.prepared.encoder.to_json():
        return test
    study = session.study
    raw = read_part(
        study.spec, study.folder, "test", study.data_dir, tables, predictor.encoder.columns
    )
    found = predictor.encoder.encode_all(raw)
    return replace(test, numeric=found.numeric, codes=found.codes, texts=found.texts)


def ask_standalone(
    session: Session, predictor: Predictor, model_id: str, tables: Tables | None
) -> Standalone:
    """Asks a model in a clean process for some test rows.

    Args:
        session: The study.
        predictor: The model.
        model_id: As it is logged; empty for one that is not, which is bundled for this.
        tables: Data frames in place of paths.
    """
    study = session.study
    raw = read_part(study.spec, study.folder, "test", study.data_dir, tables, predictor.columns)
    rows = raw.iloc[np.unique(np.linspace(0, len(raw) - 1, _N_ASKED).astype(int))]
    with _folder_of(session, predictor, model_id) as folder:
        return check_standalone(
            folder, rows.reindex(columns=list(predictor.columns)), predictor.predict
        )


@contextmanager
def _folder_of(session: Session, predictor: Predictor, model_id: str) -> Iterator[Path]:
    made = model_folder(session.store.client(), model_id) if model_id else bundle(predictor)
    with made as folder:
        yield folder


def is_dirty(session: Session, record: TrialRecord) -> bool | None:
    """Tells whether code that is not committed trained a model, or promotes it now.

    None where neither was in a repository.
    """
    tags = session.store.client().get_run(record.run_id).data.tags
    git = read_git(Path.cwd())
    states = [tags.get("git.dirty"), None if git is None else str(git.dirty).lower()]
    known = [state for state in states if state is not None]
    return "true" in known if known else None
