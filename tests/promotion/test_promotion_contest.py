"""A gain that is said to be sure: how often it is there, and how often it is found."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from promotion_cases import facts
from scipy.stats import norm, t

from pipeline.evaluation.bootstrap import bootstrap_models, n_units
from pipeline.evaluation.verdicts import Scores
from pipeline.promotion.contest import Change, Contest, paired_change
from pipeline.promotion.gates import evaluate_gates
from pipeline.study.promote_spec import GatesSpec
from pipeline.tasks.base import Kind, TaskInfo
from pipeline.tasks.registry import kind_of

N_ROWS, N_PAIRS = 400, 1000
TASKS = ("left", "right")
KINDS: list[Kind] = [
    kind_of(TaskInfo(task, task, "multiclass", "accuracy", (task,), ("no", "yes"), constant=(0, 0)))
    for task in TASKS
]
AGREE = 0.8  # share of the rows on which candidate and champion are right or wrong together
RIGHT = 0.7


def answers(
    draw: np.random.Generator, target: NDArray[Any], gain: float
) -> tuple[dict[str, NDArray[Any]], dict[str, NDArray[Any]]]:
    """Head outputs of a champion and a candidate whose true accuracy is higher by `gain`."""
    champion, candidate = {}, {}
    for task in TASKS:
        right = draw.random(N_ROWS) < RIGHT
        # Where they differ, the one is right and the other wrong: by a fair coin without a gain.
        differs = draw.random(N_ROWS) >= AGREE
        better = draw.random(N_ROWS) < 0.5 + gain / (2 * (1 - AGREE))
        hits = (np.where(differs, ~better, right), np.where(differs, better, right))
        for side, hit in zip((champion, candidate), hits, strict=True):
            said = np.where(hit, target, 1 - target)
            side[task] = np.stack([1 - said, said], axis=1)
    return champion, candidate


def standard_error() -> float:
    """Of the mean over two tasks of a paired difference of accuracies."""
    return float(np.sqrt((1 - AGREE) / N_ROWS / len(TASKS)))


def changes(gain: float, groups: NDArray[np.int64] | None = None, seed: int = 0) -> list[Change]:
    """What candidates gain, as a promotion measures it: all under the same draws of rows."""
    draw = np.random.default_rng(seed)
    target = draw.integers(2, size=N_ROWS).astype(np.float32)
    targets = dict.fromkeys(TASKS, target)
    pairs = [answers(draw, target, gain) for _ in range(N_PAIRS)]
    sides = [(KINDS, outputs) for pair in pairs for outputs in pair]
    drawn = bootstrap_models(sides, targets, groups, seed=seed)
    units = n_units(KINDS[0], targets, groups)

    def scores(outputs: dict[str, NDArray[Any]], samples: NDArray[Any]) -> dict[str, Scores]:
        return {
            task: Scores(
                np.array([np.mean(outputs[task].argmax(1) == target)]), samples[:, [i]].T, units
            )
            for i, task in enumerate(TASKS)
        }

    found = []
    for n, (champion, candidate) in enumerate(pairs):
        before, after = scores(champion, drawn[2 * n]), scores(candidate, drawn[2 * n + 1])
        change = paired_change(after, before, GatesSpec().confidence)
        assert change is not None
        found.append(change)
    return found


def n_promoted(found: list[Change], **spec: Any) -> int:
    return sum(
        all(
            gate.passed
            for gate in evaluate_gates(
                facts(contest=Contest(N_ROWS, N_ROWS, change=change)), GatesSpec(**spec)
            )
        )
        for change in found
    )


@pytest.mark.slow
def test_one_in_twenty_is_promoted_without_a_gain_and_most_with_one() -> None:
    without = changes(0.0)
    # 50 are expected; 64 are two standard deviations more.
    assert n_promoted(without, max_task_loss=1.0) <= 64
    assert n_promoted(without) <= 64
    assert n_promoted(without, max_task_loss=1.0) >= 36
    of_gains = changes(2.5 * standard_error(), seed=1)
    assert np.mean([one.gain for one in of_gains]) == pytest.approx(
        2.5 * standard_error(), abs=3 * standard_error() / N_PAIRS**0.5
    )
    assert n_promoted(of_gains, max_task_loss=1.0) >= 0.8 * N_PAIRS


def gaussian(gain: float, error: float, seed: int, n_draws: int = 1000) -> Change:
    """A task whose difference is normal with this standard error, in test rows and in draws."""
    draw = np.random.default_rng(seed)
    found = gain + error * draw.normal()
    samples = found + error * draw.normal(size=(1, n_draws))
    still = Scores(np.zeros(1), np.zeros((1, n_draws)), 10_000)
    change = paired_change({"a": Scores(np.array([found]), samples, 10_000)}, {"a": still}, 0.95)
    assert change is not None
    return change


def test_the_share_that_is_promoted_is_the_one_that_was_asked_for() -> None:
    for gain, expected in ((0.0, 0.05), (2.5, norm.cdf(2.5 - norm.ppf(0.95)))):
        found = [gaussian(gain, 1.0, seed) for seed in range(2000)]
        share = np.mean([change.low > 0 for change in found])
        assert share == pytest.approx(expected, abs=3 * (expected * (1 - expected) / 2000) ** 0.5)


def test_the_bound_is_that_of_students_t() -> None:
    draw = np.random.default_rng(0)
    samples = 0.02 + 0.01 * draw.normal(size=(1, 500))
    mine = Scores(np.array([0.02]), samples, 30)
    theirs = Scores(np.array([0.0]), np.zeros((1, 500)), 30)
    change = paired_change({"a": mine}, {"a": theirs}, 0.9)
    assert change is not None
    error = samples.std() * (30 / 29) ** 0.5
    assert change.low == pytest.approx(0.02 - error * t.ppf(0.9, 29))
    assert change.tasks["a"] == pytest.approx((0.02, change.low, 0.04 - change.low))


def test_whole_groups_make_a_gain_less_sure() -> None:
    def spread(groups: NDArray[np.int64] | None) -> float:
        draw = np.random.default_rng(3)
        target = draw.integers(2, size=N_ROWS).astype(np.float32)
        # All rows of a block of ten are right or wrong together.
        hit = np.repeat(draw.random(N_ROWS // 10) < RIGHT, 10)
        said = np.where(hit, target, 1 - target)
        sides = [(KINDS[:1], {"left": np.stack([1 - said, said], axis=1)})]
        return float(bootstrap_models(sides, {"left": target}, groups)[0].std())

    blocks = np.repeat(np.arange(N_ROWS // 10), 10)
    assert spread(blocks) > 2.5 * spread(None)


def test_only_tasks_that_both_answer_count() -> None:
    one = Scores(np.array([0.5]), np.full((1, 9), 0.5), 9)
    two = Scores(np.array([0.4]), np.full((1, 9), 0.4), 9)
    change = paired_change({"a": one, "b": one}, {"a": two, "c": one}, 0.95)
    assert change is not None
    assert (change.gain, change.low, list(change.tasks)) == (
        pytest.approx(0.1), pytest.approx(0.1), ["a"],
    )  # fmt: skip
    assert paired_change({"a": one}, {"c": one}, 0.95) is None


def test_a_contest_says_which_rows_count() -> None:
    assert Contest(10, 10).note == "10 of 10 rows"
    assert Contest(10, 4, n_trained=3, n_chosen=2, n_own=1).note == (
        "4 of 10 rows (left out: 3 trained on, 2 chosen on, 1 in our train)"
    )
    assert "does not tell" in Contest(10, 10, knows_rows=False).note
