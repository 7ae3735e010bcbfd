"""The rows that a study must beat: constant, linear and gradient boosting, one model a task.

Each gives head outputs, so that the same decoding, metrics and bootstrap apply to it as to a
trained network. Linear models and boosting try a fixed grid, at most 10 settings a task, and the
valid score chooses; whatever loss the study file names, they minimise squared error or log loss.
"""

import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.svm import LinearSVC
from threadpoolctl import threadpool_limits

from pipeline.comparison.inputs import binned, one_hot
from pipeline.comparison.text_inputs import has_words
from pipeline.data.prepared import Part, Prepared
from pipeline.data.text_encoding import Progress
from pipeline.evaluation.evaluate import constant_outputs, evaluate_one, tuned
from pipeline.tasks.base import Kind, labelled
from pipeline.tasks.estimators import Problem, problems_of

Array = NDArray[Any]
Settings = Mapping[str, float]
HeldOut = Mapping[str, Array]
"""Part (`valid`, `test`) to what a model gives for all its rows."""

HELD_OUT = ("valid", "test")
STRENGTHS = (0.001, 0.01, 0.1, 1.0, 10.0)
"""`C` of logistic regression, weak to strong so that each fit starts from the one before."""
PENALTIES = (0.1, 1.0, 10.0, 100.0, 1000.0)
"""`alpha` of ridge regression."""
TEXT_STRENGTHS = (0.1, 0.3, 1.0, 3.0, 10.0)
"""`C` of the linear support vector machine on term weights."""
TEXT_PENALTIES = (0.01, 0.1, 1.0, 10.0, 100.0)
"""`alpha` of ridge regression on term weights, whose rows have length 1 or 2."""
LEAVES = (8, 31)
"""Most leaves of a boosted tree."""
ROUNDS = (25, 50, 100)
"""Boosting rounds, all read off one fit."""

_MAX_ITER = 200


@dataclass(frozen=True)
class BaselineResult:
    """One row of the comparison.

    Attributes:
        row: `constant`, `linear` or `boosting`.
        outputs: Part (`valid`, `test`) to task to (N, width) head outputs of all its rows.
        settings: Task to the settings that valid chose.
        n_settings: Settings tried for each task.
    """

    row: str
    outputs: Mapping[str, Mapping[str, Array]]
    settings: Mapping[str, Settings]
    n_settings: int


_Fit = tuple[Settings, HeldOut]
Learner = Callable[[Any, Problem, Mapping[str, Any]], Iterator[_Fit]]
"""(train inputs, problem, held-out inputs) -> each setting with its raw predictions: (N,) for
numbers and two classes, (N, C) for more."""


def fit_constant(prepared: Prepared, progress: Progress | None = None) -> BaselineResult:
    """Answers every row alike: the shares of the labels, the mean of a number.

    Args:
        prepared: The data.
        progress: As for the other rows; there is nothing to tell.
    """
    kinds = prepared.kinds()
    outputs = {part: constant_outputs(kinds, len(prepared.parts[part])) for part in HELD_OUT}
    return BaselineResult("constant", outputs, {info.name: {} for info in prepared.tasks}, 1)


def fit_linear(prepared: Prepared, progress: Progress | None = None) -> BaselineResult:
    """Fits logistic and ridge regressions on numbers and one-hot codes.

    Texts give sparse term weights, for which a linear support vector machine takes the place of
    logistic regression: as good or better, and twenty times faster on ten thousand documents.

    Args:
        prepared: The data.
        progress: Told how many fits of each task are done.
    """
    learner = _linear_of_terms if has_words(prepared) else _linear
    _tell_inputs("linear", progress)
    return _fit_row("linear", prepared, one_hot(prepared), learner, len(STRENGTHS), progress)


def fit_boosting(prepared: Prepared, progress: Progress | None = None) -> BaselineResult:
    """Fits scikit-learn's histogram gradient boosting on numbers and category codes.

    Args:
        prepared: The data.
        progress: Told how many fits of each task are done.
    """
    _tell_inputs("boosting", progress)
    matrices = binned(prepared)
    n_inputs, n_codes = matrices["train"].shape[1], prepared.parts["train"].codes.shape[1]
    is_category = np.arange(n_inputs) >= n_inputs - n_codes

    def learner(inputs: Any, problem: Problem, held_out: Mapping[str, Any]) -> Iterator[_Fit]:
        return _boosting(is_category, inputs, problem, held_out)

    return _fit_row("boosting", prepared, matrices, learner, len(LEAVES) * len(ROUNDS), progress)


def _tell_inputs(row: str, progress: Progress | None) -> None:
    if progress is not None:
        progress(f"{row.capitalize()}, encoding of the inputs", 0, 1)


def _fit_row(
    row: str,
    prepared: Prepared,
    inputs: Mapping[str, Any],
    learner: Learner,
    n_settings: int,
    progress: Progress | None,
) -> BaselineResult:
    """Fits every task on `inputs` (part to matrix); valid chooses among the settings."""
    held_out = {part: inputs[part] for part in HELD_OUT}
    outputs: dict[str, dict[str, Array]] = {part: {} for part in HELD_OUT}
    settings: dict[str, Settings] = {}
    for number, kind in enumerate(prepared.kinds(), start=1):
        task = kind.info.name
        target = np.asarray(prepared.parts["train"].targets[task])
        if not kind.has_estimators:
            settings[task] = {}
            for part in HELD_OUT:
                outputs[part] |= constant_outputs([kind], len(prepared.parts[part]))
            continue
        rows = np.flatnonzero(labelled(target))
        problems = problems_of(kind, target[rows])
        done = _Fits(
            f"{row.capitalize()}, {task} (task {number} of {len(prepared.tasks)}), fits",
            n_settings * len(problems), progress,
        )  # fmt: skip
        learned = [
            done.counted(learner(inputs["train"][rows], problem, held_out)) for problem in problems
        ]
        tried = [_joined(kind, estimators) for estimators in zip(*learned, strict=True)]
        valid = prepared.parts["valid"]
        settings[task], chosen = max(tried, key=lambda fit: _valid_score(kind, fit[1], valid))
        for part in HELD_OUT:
            outputs[part][task] = chosen[part]
    n_tried = n_settings if any(settings.values()) else 0  # a task that writes has no fit
    return BaselineResult(row, outputs, settings, n_tried)


class _Fits:
    """Tells how many fits of a task are done, over its settings and its estimators.

    Args:
        what: What is told.
        total: Fits in all.
        progress: Who is told.
    """

    def __init__(self, what: str, total: int, progress: Progress | None) -> None:
        self._what, self._total, self._progress = what, total, progress
        self._done = 0
        self._tell()

    def counted(self, fits: Iterator[_Fit]) -> Iterator[_Fit]:
        for fit in fits:
            self._done += 1
            self._tell()
            yield fit

    def _tell(self) -> None:
        if self._progress is not None:
            self._progress(self._what, self._done, self._total)


def _joined(kind: Kind, estimators: tuple[_Fit, ...]) -> _Fit:
    """Turns the raw predictions of a task's estimators into (N, width) head outputs."""
    settings = estimators[0][0]
    joined = {}
    for part in HELD_OUT:
        raw = np.stack([held_out[part] for _, held_out in estimators], axis=1)  # (N, L, ...)
        if raw.ndim == 3:
            joined[part] = raw[:, 0]
        elif kind.width == 2 and len(estimators) == 1:  # multiclass with two classes
            joined[part] = np.column_stack([np.zeros(len(raw)), raw])
        else:
            joined[part] = raw
    return settings, joined


def _valid_score(kind: Kind, outputs: HeldOut, valid: Part) -> float:
    of_task = {kind.info.name: outputs["valid"]}
    targets = {kind.info.name: np.asarray(valid.targets[kind.info.name])}
    return evaluate_one(tuned([kind], of_task, targets), of_task, targets, "valid").mean


def _linear(inputs: Any, problem: Problem, held_out: Mapping[str, Any]) -> Iterator[_Fit]:
    if problem.is_number:
        for alpha in PENALTIES:
            ridge = Ridge(alpha=alpha).fit(inputs, problem.target)
            yield {"alpha": alpha}, {part: ridge.predict(x) for part, x in held_out.items()}
        return
    model = LogisticRegression(max_iter=_MAX_ITER, warm_start=True)
    for strength in STRENGTHS:
        model.set_params(C=strength)
        with warnings.catch_warnings():
            # The last digits of a weakly penalised fit may stay open: valid judges it as it is.
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(inputs, problem.target, sample_weight=problem.weight)
        yield {"C": strength}, {part: model.decision_function(x) for part, x in held_out.items()}


def _linear_of_terms(inputs: Any, problem: Problem, held_out: Mapping[str, Any]) -> Iterator[_Fit]:
    if problem.is_number:
        for alpha in TEXT_PENALTIES:
            ridge = Ridge(alpha=alpha, solver="sparse_cg").fit(inputs, problem.target)
            yield {"alpha": alpha}, {part: ridge.predict(x) for part, x in held_out.items()}
        return
    for strength in TEXT_STRENGTHS:
        # The random state orders the coordinates of the dual; the solution is one.
        model = LinearSVC(C=strength, random_state=0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(inputs, problem.target, sample_weight=problem.weight)
        yield {"C": strength}, {part: model.decision_function(x) for part, x in held_out.items()}


def _boosting(
    is_category: NDArray[np.bool_], inputs: Any, problem: Problem, held_out: Mapping[str, Any]
) -> Iterator[_Fit]:
    fit = partial(_boosted, is_category, inputs, problem, held_out)
    with ThreadPoolExecutor(min(len(LEAVES), os.cpu_count() or 1)) as pool:
        fitted = list(pool.map(fit, LEAVES))
    for leaves, at_rounds in zip(LEAVES, fitted, strict=True):
        for rounds in ROUNDS:
            settings = {"max_leaf_nodes": leaves, "max_iter": rounds}
            yield settings, {part: _flat(raw[rounds]) for part, raw in at_rounds.items()}


def _boosted(
    is_category: NDArray[np.bool_],
    inputs: Any,
    problem: Problem,
    held_out: Mapping[str, Any],
    leaves: int,
) -> dict[str, dict[int, Array]]:
    """Fits one machine, on one thread; returns its outputs at each of `ROUNDS`.

    The library's own threads wait for each other in a loop at every node: where something else
    runs too, they take ten times as long as one.
    """
    estimator = (
        HistGradientBoostingRegressor if problem.is_number else HistGradientBoostingClassifier
    )
    with threadpool_limits(1, user_api="openmp"):
        model = estimator(
            max_iter=max(ROUNDS),
            max_leaf_nodes=leaves,
            early_stopping=False,
            categorical_features=is_category,
            random_state=0,
        ).fit(inputs, problem.target, sample_weight=problem.weight)
        staged = model.staged_predict if problem.is_number else model.staged_decision_function
        return {
            part: {i: raw for i, raw in enumerate(staged(x), start=1) if i in ROUNDS}
            for part, x in held_out.items()
        }


def _flat(raw: Array) -> Array:
    """Drops the class axis that staged predictions of two classes keep."""
    return raw[:, 0] if raw.ndim == 2 and raw.shape[1] == 1 else raw
