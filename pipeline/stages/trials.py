"""Trials of a searched study by their names; their models, trained again where none was kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pipeline.driver.backend import one_thread
from pipeline.driver.choice import Choice, choose
from pipeline.driver.records import TrialRecord
from pipeline.driver.rows import RowPlan, tuned_row
from pipeline.driver.trials import make_predictor
from pipeline.errors import InputError, TrainingError
from pipeline.serving.predictor import Predictor
from pipeline.stages.describing import comparison_path, known_comparison
from pipeline.stages.session import Session
from pipeline.stages.telling import Say
from pipeline.training.devices import TOO_LARGE, is_out_of_memory
from pipeline.training.loop import Stops, train
from pipeline.training.members import EpochResult, Member, Stop, Trained


def comparison_file(session: Session, part: str) -> Path:
    """Returns where the comparison of the model that the study ends with is kept."""
    return comparison_path(session.folder, find_choice(session), part)


def read_comparison(session: Session, part: str) -> Mapping[str, Any] | None:
    """Returns the comparison of that model on this data; None before it was made."""
    data = session.prepared.data_digest
    return known_comparison(session.folder, find_choice(session), part, data)


def find_choice(session: Session) -> Choice:
    """Returns what the study ends with: the shipped model among the seeds of its configuration.

    Raises:
        InputError: No trial is complete.
    """
    found = choose(session.folder, session.study.spec.search.finalists)
    if found is None:
        raise InputError(
            f"No trial of {session.name} is complete; `mtl show` tells how they ended."
        )
    return found


def find_trial(session: Session, trial: int | str) -> TrialRecord:
    """Returns a finished trial by number, or for `best` the record of the model that is shipped.

    Raises:
        InputError: The study has no such trial.
    """
    if trial == "best":
        return find_choice(session).shipped
    trials = session.folder.trials()
    found = next((one for one in trials if str(one.number) == str(trial)), None)
    if found is None:
        raise InputError(
            f"The study {session.name} has no finished trial {trial}: "
            f"its trials are 0 to {trials[-1].number}."
        )
    return found


def model_of(
    session: Session, record: TrialRecord, say: Say, row: RowPlan | None = None
) -> Predictor:
    """Returns a trial's or finalist's model, trained again from its record where it was not kept.

    A pruned trial is trained as far as it came: its model is that of its best epoch until then.

    Args:
        session: The study.
        record: How the trial ended.
        say: Told what is trained.
        row: The row that it belongs to; the study's own trials by default.

    Raises:
        InputError: The trial diverged or failed, so that it has no model.
        TrainingError: Trained again, it does not complete.
    """
    row = row or tuned_row(session.study, session.prepared)
    folder = session.folder if row.is_tuned else session.folder.row(row.name)
    kept = folder.load_model(record.key) or session.retrained.get((row.name, record.key))
    if kept is not None:
        return kept
    name = f"trial {record.label.removeprefix('#')}"
    name = name if row.is_tuned else f"{row.name} {name}"
    if record.state not in ("complete", "pruned"):
        raise InputError(
            f"{name.capitalize()} of {session.name} {record.state} and has no model. "
            f"`mtl show --trial {record.number}` tells why; choose another trial."
        )
    say(f"The model of {name} was not kept: training it again from its record.")
    predictor = _train_again(session, record, row, name.capitalize())
    session.retrained[row.name, record.key] = predictor
    return predictor


def train_alone(
    session: Session,
    member: Member,
    on_epoch: Callable[[list[EpochResult]], Stops],
    first_epoch: int = 1,
) -> Trained:
    """Trains one member where the session trains.

    Raises:
        TrainingError: The memory of the device is too small for it.
    """
    with one_thread():
        try:
            return train([member], session.prepared, on_epoch, first_epoch, session.placed)[0]
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            raise TrainingError(TOO_LARGE) from error


def _train_again(session: Session, record: TrialRecord, row: RowPlan, name: str) -> Predictor:
    member = row.member(
        session.study, session.prepared, record.number, record.params, record.replicate
    )

    def as_far(results: list[EpochResult]) -> Stops:
        ended = results[0].epoch >= record.epochs
        return {record.number: Stop("complete", record.reason)} if ended else {}

    trained = train_alone(session, member, as_far, record.first_epoch)
    if trained.state != "complete":
        raise TrainingError(f"{name} ended as {trained.state}: {trained.reason}.")
    return make_predictor(member, trained, session.prepared)
