import itertools
import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from training_data import member, only

from pipeline.data.prepared import Prepared
from pipeline.evaluation.evaluate import evaluate_one
from pipeline.models.build import load_member
from pipeline.tasks.registry import kind_of
from pipeline.training.ends import active_score
from pipeline.training.loop import (
    Answer,
    EpochEnd,
    Epochs,
    train,
    train_epochs,
)
from pipeline.training.members import EpochResult, Stop, Trained, architecture_of
from pipeline.training.predict import predict_member, predict_part

NAMES = ["bought", "colour", "price", "tags"]


class Recorder:
    """Keeps every epoch's results; stops a member after the epoch that a test names."""

    def __init__(self, stops: dict[int, int] | None = None) -> None:
        self.epochs: dict[int, list[EpochResult]] = {}
        self.stops = stops or {}

    def __call__(self, results: list[EpochResult]) -> dict[int, Stop]:
        for result in results:
            self.epochs.setdefault(result.number, []).append(result)
        return {
            result.number: Stop("pruned", "below the median")
            for result in results
            if self.stops.get(result.number) == result.epoch
        }


def assert_equal(ours: Trained, theirs: Trained) -> None:
    assert ours.parameters.keys() == theirs.parameters.keys()
    for name, array in ours.parameters.items():
        np.testing.assert_array_equal(array, theirs.parameters[name])


def test_the_best_epoch_is_given_back_and_evaluated(prepared: Prepared) -> None:
    # A rate that is too high: the valid score goes up and down.
    one = member(0, lr=0.1, epochs=30, norm="batch", dropout=0.2, schedule="constant")
    seen = Recorder()
    (trained,) = train([one], prepared, seen)
    scores = [result.score for result in seen.epochs[0]]
    assert trained.state == "complete"
    assert trained.best_epoch == int(np.argmax(scores)) + 1 < 30
    assert trained.score == pytest.approx(max(scores), abs=1e-9)

    part = prepared.parts["valid"]
    outputs = predict_member(architecture_of(one, prepared), trained.parameters, part)
    again = evaluate_one([kind_of(t) for t in trained.tasks], outputs, part.targets, "valid")
    assert again == trained.evaluation
    # What an application loads answers the same: the statistics of batch norm among it.
    model = load_member(architecture_of(one, prepared), trained.parameters)
    for task, values in predict_part(model, part).items():
        np.testing.assert_allclose(values[0], outputs[task], rtol=0, atol=1e-6)


def test_the_best_epoch_is_that_of_a_run_which_ends_there(prepared: Prepared) -> None:
    one = member(0, lr=0.3, epochs=12, norm="batch", schedule="constant")
    (whole,) = train([one], prepared)
    (until,) = train([replace(one, train=replace(one.train, epochs=whole.best_epoch))], prepared)
    assert until.best_epoch == whole.best_epoch < 12
    assert sum("running_" in name for name in whole.parameters) == 4
    assert_equal(until, whole)  # the statistics of batch norm among it


def test_each_member_stops_by_its_own_patience(prepared: Prepared) -> None:
    members = [
        member(0, lr=0.1, epochs=12, patience=1),
        member(1, lr=0.1, epochs=12, patience=4, seed=100),
        member(2, lr=0.1, epochs=12, patience=None, seed=100),
        member(3, lr=1e-3, epochs=12, patience=12),
    ]
    seen = Recorder()
    trained = train(members, prepared, seen)
    for one, result in zip(members, trained, strict=True):
        scores = [epoch.score for epoch in seen.epochs[one.number]]
        assert result.epochs == len(scores)
        patience = one.train.patience or 12
        first_stop = next(
            (e for e in range(1, 13) if e - (int(np.argmax(scores[:e])) + 1) >= patience), 12
        )
        assert result.epochs == first_stop
        assert result.best_epoch == int(np.argmax(scores)) + 1
        assert [epoch.last for epoch in seen.epochs[one.number]] == [False] * (
            result.epochs - 1
        ) + [True]
    assert trained[0].epochs < 12
    # The same run with more patience goes on from where the less patient one stopped.
    shorter = [result.score for result in seen.epochs[0]]
    longer = [result.score for result in seen.epochs[2]]
    np.testing.assert_allclose(shorter, longer[: len(shorter)], rtol=0, atol=1e-6)


def test_pruned_members_leave_and_the_rest_are_as_if_alone(prepared: Prepared) -> None:
    values = [
        {"dropout": 0.4},
        {"lr": 3e-2, "norm": "none"},
        {"weights": (4.0, 0.0, 0.0, 0.0), "dropout": 0.2},
        {"label_smoothing": 0.2, "mixup": 0.4},
        {"clip": 0.1, "noise": 0.3},
    ]
    members = [member(10 + number, **chosen) for number, chosen in enumerate(values)]
    seen = Recorder(stops={10: 1, 13: 2})
    trained = train(members, prepared, seen)
    assert [one.number for one in trained] == [10, 11, 12, 13, 14]
    assert [one.state for one in trained] == [
        "pruned", "complete", "complete", "pruned", "complete",
    ]  # fmt: skip
    assert (trained[0].epochs, trained[3].epochs) == (1, 2)
    assert trained[0].reason == "below the median"
    assert trained[0].parameters == {}
    assert trained[0].evaluation is None
    assert trained[0].n_parameters == trained[1].n_parameters > 0
    for k in (1, 2, 4):
        (alone,) = train([members[k]], prepared)
        assert alone.best_epoch == trained[k].best_epoch
        for name, array in alone.parameters.items():
            # One member is updated in fused rows, more of them elementwise: float32 rounding.
            np.testing.assert_allclose(trained[k].parameters[name], array, rtol=1e-4, atol=2e-5)


def drive(epochs: Epochs, answers: dict[int, Answer]) -> Iterator[EpochEnd]:
    """Yields what a population tells, and gives it the answers by its epoch."""
    try:
        yield next(epochs)
        for epoch in itertools.count(1):
            yield epochs.send(answers.get(epoch, Answer()))
    except StopIteration as stop:
        yield EpochEnd([], stop.value)


def test_members_join_while_others_leave_and_count_their_own_epochs(prepared: Prepared) -> None:
    members = [member(0, dropout=0.4), member(1), member(2, lr=0.1), member(3, warmup_epochs=1.0)]
    answers = {
        1: Answer({0: Stop("pruned", "early")}, members[2:3]),
        4: Answer({2: Stop("pruned", "late")}, members[3:]),
    }
    ends = list(drive(train_epochs(members[:2], prepared), answers))
    assert [[(result.number, result.epoch) for result in end.results] for end in ends] == [
        [(0, 1), (1, 1)], [(1, 2), (2, 1)], [(1, 3), (2, 2)], [(1, 4), (2, 3)],
        [(3, 1)], [(3, 2)], [(3, 3)], [(3, 4)], [],
    ]  # fmt: skip
    told = [[(one.number, one.state) for one in end.trained] for end in ends]
    assert told == [
        [], [(0, "pruned")], [], [(1, "complete")], [(2, "pruned")], [], [], [(3, "complete")], [],
    ]  # fmt: skip
    found = {one.number: one for end in ends for one in end.trained}
    assert [found[number].first_epoch for number in range(4)] == [1, 1, 2, 5]
    for number, first in ((1, 1), (3, 5)):
        (alone,) = train([members[number]], prepared, first_epoch=first)
        assert found[number].best_epoch == alone.best_epoch
        for name, array in alone.parameters.items():
            np.testing.assert_allclose(found[number].parameters[name], array, rtol=1e-4, atol=2e-5)


def test_a_diverged_member_leaves_with_its_reason_and_touches_no_other(
    prepared: Prepared,
) -> None:
    wild = [member(0), member(1, lr=1e30), member(2, dropout=0.3), member(3)]
    calm = [member(0), member(1), member(2, dropout=0.3), member(3)]
    seen = Recorder()
    trained = train(wild, prepared, seen)
    assert trained[1].state == "diverged"
    assert trained[1].reason.endswith("at epoch 1")
    assert "finite" in trained[1].reason or "rose" in trained[1].reason
    assert trained[1].parameters == {}
    assert [len(epochs) for epochs in seen.epochs.values()] == [4, 1, 4, 4]
    assert seen.epochs[1][0].last
    assert math.isnan(seen.epochs[1][0].score)
    # Compared in arrays of one size, so that every bit is the same.
    others = train(calm, prepared, Recorder(stops={1: 1}))
    for k in (0, 2, 3):
        assert trained[k].state == "complete"
        assert_equal(trained[k], others[k])


def test_an_exploding_loss_is_a_divergence(prepared: Prepared) -> None:
    one = member(0, optimizer="sgd", momentum=0.9, lr=30.0, weights=(0.0, 0.0, 4.0, 0.0))
    (trained,) = train([one], prepared)
    assert trained.state == "diverged"
    assert trained.reason.startswith(("the train loss rose from", "the train loss of price is not",
                                      "a parameter is not finite"))  # fmt: skip


def test_all_members_may_diverge(prepared: Prepared) -> None:
    trained = train([member(0, lr=1e30), member(1, lr=1e32)], prepared)
    assert [one.state for one in trained] == ["diverged", "diverged"]
    assert all(one.score is None and one.best_epoch == 0 for one in trained)


def test_the_score_is_the_mean_over_the_tasks_that_are_trained(prepared: Prepared) -> None:
    weights = (3.0, 0.0, 1.0, 0.0)
    seen = Recorder()
    (trained,) = train([member(0, weights=weights)], prepared, seen)
    assert trained.evaluation is not None
    scores = trained.evaluation.scores
    assert trained.score == pytest.approx((scores["bought"] + scores["price"]) / 2)
    assert active_score(trained.evaluation, NAMES, weights) == trained.score
    last = seen.epochs[0][-1]
    assert last.score == pytest.approx((last.valid["bought"] + last.valid["price"]) / 2)
    assert set(last.valid) == set(NAMES)
    assert [math.isnan(last.losses[task]) for task in NAMES] == [False, True, False, True]


def test_a_task_trained_alone_learns(prepared: Prepared) -> None:
    data = only(prepared, "price")
    (trained,) = train([member(0, weights=(1.0,), epochs=20, lr=3e-2)], data)
    assert trained.score is not None
    assert trained.score > 0.6


def test_a_run_repeats_itself(prepared: Prepared) -> None:
    members = [member(0, dropout=0.3, mixup=0.3), member(1, noise=0.2, drop=0.1)]
    for ours, theirs in zip(train(members, prepared), train(members, prepared), strict=True):
        assert_equal(ours, theirs)


def test_valid_rows_are_never_augmented(prepared: Prepared) -> None:
    # At a rate of nothing the model stays as it was, whatever happens to train rows.
    seen = Recorder()
    train(
        [member(0, lr=1e-300, noise=9.0, drop=0.9, mixup=1.0, dropout=0.9, epochs=2)],
        prepared, seen,
    )  # fmt: skip
    plain = Recorder()
    train([member(0, lr=1e-300, epochs=2)], prepared, plain)
    assert [e.valid for e in seen.epochs[0]] == [e.valid for e in plain.epochs[0]]
    assert seen.epochs[0][0].losses != plain.epochs[0][0].losses


@pytest.mark.parametrize("n_rows", [1, 511, 512, 513, 1100])
def test_predictions_do_not_depend_on_the_chunks(prepared: Prepared, n_rows: int) -> None:
    one = member(0)
    (trained,) = train([replace(one, train=replace(one.train, epochs=1))], prepared)
    part = prepared.parts["train"]
    rows = np.arange(n_rows) % len(part)
    longer = replace(part, numeric=part.numeric[rows], codes=part.codes[rows])
    shape = architecture_of(one, prepared)
    short = predict_member(shape, trained.parameters, part)
    for task, outputs in predict_member(shape, trained.parameters, longer).items():
        assert outputs.dtype == np.float32
        np.testing.assert_allclose(outputs, short[task][rows], rtol=0, atol=1e-5)


def test_predicting_leaves_the_model_in_training(prepared: Prepared) -> None:
    model = load_member(architecture_of(member(0, norm="batch"), prepared),
                        train([member(0, norm="batch")], prepared)[0].parameters)  # fmt: skip
    model.train()
    before = [buffer.clone() for buffer in model.buffers()]
    predict_part(model, prepared.parts["valid"])
    assert model.training
    assert all(torch.equal(a, b) for a, b in zip(before, model.buffers(), strict=True))
