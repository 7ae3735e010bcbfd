"""The rows of a comparison: each the models that answer for it, with their outputs.

Tuned, equal weights and each task alone are the finalists of their own search; linear, boosting
and constant come from `baselines` and are kept on a shelf.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from pipeline.comparison.baselines import (
    HELD_OUT,
    BaselineResult,
    fit_boosting,
    fit_constant,
    fit_linear,
)
from pipeline.comparison.shelf import Shelf
from pipeline.data.prepared import Prepared
from pipeline.data.text_encoding import Progress, within
from pipeline.driver.choice import Choice, choose
from pipeline.driver.records import TrialRecord
from pipeline.driver.rows import EQUAL, TUNED, RowPlan, baseline_rows, tuned_row
from pipeline.driver.study_folder import StudyFolder
from pipeline.errors import TrainingError
from pipeline.serving.predictor import Predictor
from pipeline.study.loading import Study
from pipeline.training.predict import predict_member

Outputs = Mapping[str, Mapping[str, NDArray[Any]]]
"""Part (valid, test) to task to (N, width) head outputs."""

ModelOf = Callable[[RowPlan, TrialRecord], Predictor]
"""Gives the model of a row's record."""


@dataclass(frozen=True)
class Model:
    """One model of a row.

    Attributes:
        key: Names it in the list of test readings.
        outputs: Head outputs of all held-out rows, for the tasks that it answers.
        run_id: Its run; empty where the row has one run for all.
        epochs: Epochs that it was trained.
    """

    key: str
    outputs: Outputs
    run_id: str = ""
    epochs: int = 0

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks that it answers."""
        return tuple(self.outputs["valid"])


@dataclass(frozen=True)
class Row:
    """One row before it is scored.

    Attributes:
        kind: tuned, equal_weights, single_task, linear, boosting or constant.
        models: For each task one or several, one a seed, in the order of the seeds.
        n_trials: Configurations that were tried to get it.
        member_epochs: Epochs that were trained to try them; 0 where there are none.
        finalist_epochs: Epochs that were trained over fresh seeds.
        settings: What was chosen: task or row to settings.
        shipped: Key of the model that stands for the row where one has to.
    """

    kind: str
    models: tuple[Model, ...]
    n_trials: int
    member_epochs: int
    finalist_epochs: int = 0
    settings: Mapping[str, Any] = field(default_factory=dict)
    shipped: str = ""

    @property
    def name(self) -> str:
        """As shown."""
        return NAMES[self.kind]

    @property
    def keys(self) -> tuple[str, ...]:
        """Keys of its models."""
        return tuple(model.key for model in self.models)


NAMES = {
    "tuned": "tuned",
    "equal_weights": "equal weights",
    "single_task": "each task alone",
    "linear": "linear",
    "boosting": "boosting",
    "constant": "constant",
}

SEARCHED = ("tuned", "equal_weights", "single_task")
"""Rows of networks, each searched with as many trials."""


def collect_rows(
    study: Study,
    prepared: Prepared,
    folder: StudyFolder,
    model_of: ModelOf,
    say: Callable[[str], None],
    read_only: bool = False,
    progress: Progress | None = None,
) -> list[Row]:
    """Returns the rows; those from `baselines` are fitted and kept where they are missing.

    Args:
        study: The study, whose rows were searched.
        prepared: Its data.
        folder: Its files.
        model_of: Gives the models of searched rows.
        say: Told what is being fitted.
        read_only: Fit nothing: rows that are missing are left out, as are searches with another
            number of trials than the study's own.
        progress: Told how far each row is: its models as they answer, its fits.

    Raises:
        TrainingError: No trial of a row is complete.
    """
    searched = searched_rows(study, prepared, folder, model_of, read_only, progress)
    rows = [*searched, *fitted_rows(prepared, folder, say, read_only, progress=progress)]
    return sorted(rows, key=lambda row: list(NAMES).index(row.kind))


def searched_rows(
    study: Study,
    prepared: Prepared,
    folder: StudyFolder,
    model_of: ModelOf,
    read_only: bool = False,
    progress: Progress | None = None,
    kinds: Sequence[str] = SEARCHED,
) -> list[Row]:
    """Returns tuned, equal weights and each task alone, or some of them; see `collect_rows`."""
    return _Collector(study, prepared, folder, model_of, progress).searched(read_only, kinds)


@dataclass(frozen=True)
class _Collector:
    study: Study
    prepared: Prepared
    folder: StudyFolder
    model_of: ModelOf
    progress: Progress | None

    def searched(self, read_only: bool, kinds: Sequence[str]) -> list[Row]:
        """Returns the rows of these kinds."""
        tuned = tuned_row(self.study, self.prepared)
        plans = baseline_rows(self.study, self.prepared)
        if not plans:  # one task: equal weights and the task alone are the study itself
            return [self._row(kind, [tuned]) for kind in SEARCHED if kind in kinds]
        rows = [self._row("tuned", [tuned])] if "tuned" in kinds else []
        n_trials = len(self.folder.trials())
        for kind, group in (
            ("equal_weights", [plan for plan in plans if plan.name == EQUAL]),
            ("single_task", [plan for plan in plans if plan.name != EQUAL]),
        ):
            if kind not in kinds:
                continue
            complete = all(self._is_searched(plan, n_trials) for plan in group)
            if complete or not read_only:
                rows.append(self._row(kind, group))
        return rows

    def _files(self, plan: RowPlan) -> StudyFolder:
        return self.folder if plan.is_tuned else self.folder.row(plan.name)

    def _is_searched(self, plan: RowPlan, n_trials: int) -> bool:
        folder = self._files(plan)
        choice = choose(folder, self.study.spec.search.finalists)
        ended = choice is not None and (
            choice.retrained or self.study.spec.search.finalists is None
        )
        return ended and len(folder.trials()) >= n_trials

    def _row(self, kind: str, plans: Sequence[RowPlan]) -> Row:
        choices = [(plan, self._choice(plan)) for plan in plans]
        trials = [trial for plan in plans for trial in self._files(plan).trials()]
        finalists = [found for plan in plans for found in self._files(plan).all_finalists()]
        seeds = [(plan, record) for plan, choice in choices for record in choice.seeds]
        models = []
        for number, (plan, record) in enumerate(seeds, start=1):
            task = f" {plan.tasks[0]}," if kind == "single_task" else ""
            of_all = f"(model {number} of {len(seeds)})"
            name = f"{NAMES[kind].capitalize()},{task} {record.label} {of_all}"
            models.append(self._model(plan, record, within(self.progress, name)))
        [shipped, *others] = [_key(plan, choice.shipped) for plan, choice in choices]
        return Row(
            kind, tuple(models), len(trials), sum(trial.epochs for trial in trials),
            sum(found.epochs for found in finalists),
            {plan.name: dict(choice.shipped.params) for plan, choice in choices},
            "" if others else shipped,
        )  # fmt: skip

    def _choice(self, plan: RowPlan) -> Choice:
        found = choose(self._files(plan), self.study.spec.search.finalists)
        if found is None:
            raise TrainingError(
                f"No trial of the row {plan.name} is complete, so there is nothing to compare "
                "with. Narrow the range of `train.lr`, or add trials."
            )
        return found

    def _model(self, plan: RowPlan, record: TrialRecord, progress: Progress | None) -> Model:
        if progress is not None:
            progress("Loading", 0, 1)
        predictor = self.model_of(plan, record)
        outputs = {}
        for part in HELD_OUT:
            rows = self.prepared.parts[part]
            found = predict_member(
                predictor.architecture,
                predictor.parameters,
                rows,
                within(progress, part),
                tasks=plan.tasks,
            )
            outputs[part] = {task: found[task] for task in plan.tasks}
        return Model(_key(plan, record), outputs, record.run_id, record.epochs)


def _key(plan: RowPlan, record: TrialRecord) -> str:
    return record.key if plan.name == TUNED else f"{plan.name}/{record.key}"


FITTED: Mapping[str, Callable[[Prepared, Progress | None], BaselineResult]] = {
    "constant": fit_constant,
    "linear": fit_linear,
    "boosting": fit_boosting,
}
"""Rows that are fitted at once and not searched."""


def fitted_rows(
    prepared: Prepared,
    folder: StudyFolder,
    say: Callable[[str], None],
    read_only: bool = False,
    kinds: Sequence[str] = tuple(FITTED),
    progress: Progress | None = None,
) -> list[Row]:
    """Returns constant, linear and boosting, or some of them; see `collect_rows`."""
    shelf = Shelf(folder.path / "rows", prepared.prepared_digest)
    rows = []
    for kind in kinds:
        found = shelf.load(kind)
        if found is None and not read_only:
            say(f"Fitting for the comparison: {NAMES[kind]}")
            found = shelf.save(FITTED[kind](prepared, progress))
        if found is not None:
            rows.append(fitted_row(found, shelf.key(kind)))
    return rows


def fitted_row(found: BaselineResult, key: str) -> Row:
    """Returns a row that was fitted and not searched."""
    n_models = found.n_settings * len(found.settings)
    model = Model(key, found.outputs)
    return Row(found.row, (model,), n_models, 0, settings=found.settings, shipped=key)
