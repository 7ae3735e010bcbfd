"""Fitting a linear model of term weights for each task, as an input of that task's own head.

A network that reads a reduction loses rare terms that tell a class at once; learned beside it,
by Adam, their weights brought nothing (see studies/LOG.md). Here they are fitted on train: a
support vector machine for classes, ridge regression for numbers. What is said of a train row
comes from models that did not see its group (Wolpert, 1992, "Stacked generalization"), so that
the network trusts it no more than it will deserve elsewhere.
"""

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from pipeline.data.linear_terms import LinearTerms
from pipeline.evaluation.evaluate import evaluate_one, tuned
from pipeline.tasks.base import Kind, labelled
from pipeline.tasks.estimators import Problem, problems_of

Array = NDArray[Any]

STRENGTHS = (0.3, 1.0, 3.0)
"""`C` of the support vector machine: the middle of what the linear row of a comparison tries."""
PENALTIES = (1.0, 4.0, 16.0)
"""`alpha` of ridge regression."""
FOLDS = 5


def fit_linear_terms(
    matrix: sparse.csr_matrix,
    kinds: Sequence[Kind],
    targets: dict[str, Array],
    groups: Array | None,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[LinearTerms, NDArray[np.float32]]:
    """Fits the models of all tasks that have one.

    Args:
        matrix: (N, V) term weights of train.
        kinds: The tasks; those that write have none.
        targets: Task to its labels of the N rows.
        groups: (N,) group of each row where the split is grouped.
        progress: Told how many tasks are done.

    Returns:
        The models, and the (N, W) values of train rows, each from models of other groups.
    """
    able = [kind for kind in kinds if kind.has_estimators]
    folds = _folds(np.arange(matrix.shape[0]) if groups is None else groups)
    found = []
    for done, kind in enumerate(able):
        found.append(_fit_task(matrix, kind, targets[kind.info.name], folds))
        if progress is not None:
            progress(done + 1, len(able))
    models = LinearTerms(
        {kind.info.name: kind.width for kind in able},
        np.concatenate([weight for weight, _, _ in found], axis=1).astype(np.float16),
        np.concatenate([bias for _, bias, _ in found]).astype(np.float32),
    )
    return models, np.concatenate([said for _, _, said in found], axis=1).astype(np.float32)


def _folds(groups: Array) -> NDArray[np.int64]:
    """Returns the fold of each row; a group is in one."""
    names, place = np.unique(groups, return_inverse=True)
    turn = np.random.default_rng(0).permutation(len(names))
    return np.asarray(turn[place] % FOLDS)


def _fit_task(
    matrix: sparse.csr_matrix, kind: Kind, target: Array, folds: NDArray[np.int64]
) -> tuple[Array, Array, Array]:
    """Returns weight, bias and what is said of train rows, of one scale for all outputs."""
    rows = np.flatnonzero(labelled(target))
    number = kind.number(target[rows]) is not None
    tried = []
    for strength in PENALTIES if number else STRENGTHS:
        crossed = _crossed(matrix, kind, target, folds, strength)
        tried.append((_score(kind, crossed[rows], target[rows]), -strength, crossed))
    _, minus, said = max(tried, key=lambda one: one[:2])
    weight, bias = _fit(matrix[rows], kind, target[rows], -minus)
    mean, spread = said[rows].mean(), said[rows].std() or 1.0
    return weight / spread, (bias - mean) / spread, (said - mean) / spread


def _crossed(
    matrix: sparse.csr_matrix, kind: Kind, target: Array, folds: NDArray[np.int64], strength: float
) -> Array:
    known = labelled(target)
    said = np.zeros((len(target), kind.width))
    for fold in range(FOLDS):
        inside, others = folds == fold, np.flatnonzero(known & (folds != fold))
        if inside.any() and len(others):
            weight, bias = _fit(matrix[others], kind, target[others], strength)
            said[inside] = matrix[np.flatnonzero(inside)] @ weight + bias
    return said


def _score(kind: Kind, outputs: Array, target: Array) -> float:
    name = kind.info.name
    return evaluate_one(
        tuned([kind], {name: outputs}, {name: target}), {name: outputs}, {name: target}, "train"
    ).mean


def _fit(
    matrix: sparse.csr_matrix, kind: Kind, target: Array, strength: float
) -> tuple[Array, Array]:
    """Returns (V, width) weights and (width,) biases of the outputs of a task's head."""
    n_classes = kind.width if target.ndim == 1 else 1
    fitted = [_estimate(matrix, one, n_classes, strength) for one in problems_of(kind, target)]
    return (np.concatenate([weight for weight, _ in fitted], axis=1),
            np.concatenate([bias for _, bias in fitted]))  # fmt: skip


def _estimate(
    matrix: sparse.csr_matrix, problem: Problem, width: int, strength: float
) -> tuple[Array, Array]:
    from sklearn.linear_model import Ridge
    from sklearn.svm import LinearSVC

    if problem.is_number:
        ridge = Ridge(alpha=strength, solver="sparse_cg").fit(matrix, problem.target)
        return ridge.coef_[:, None], np.array([ridge.intercept_])
    n_classes = max(width, 2)
    weight, bias = np.zeros((matrix.shape[1], n_classes)), np.full(n_classes, -1.0)
    classes = np.unique(problem.target)
    if len(classes) == 1:  # of a fold: nothing speaks for another
        bias[classes] = 1.0
    else:
        # The random state orders the coordinates of the dual; the solution is one.
        model = LinearSVC(C=strength, random_state=0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the last digits of a fit may stay open
            model.fit(matrix, problem.target, sample_weight=problem.weight)
        sides = np.array([[-1.0], [1.0]]) if len(classes) == 2 else np.ones((len(classes), 1))
        weight[:, classes], bias[classes] = (sides * model.coef_).T, sides[:, 0] * model.intercept_
    return (weight[:, 1:], bias[1:]) if width == 1 else (weight, bias)
