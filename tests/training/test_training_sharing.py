"""Every way of sharing, trained: members of an array, tasks that rest, structures of a study."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from training_data import make_prepared, member, with_train

from pipeline.data.prepared import Prepared
from pipeline.models.sharing import SHARED
from pipeline.study import catalogue
from pipeline.study.model_spec import ModelSpec
from pipeline.training.loop import train
from pipeline.training.members import arrays_of, read_settings, structure_of
from pipeline.training.population import Population
from pipeline.training.predict import predict_member

SHARINGS = catalogue.names("sharing")
each_sharing = pytest.mark.parametrize("sharing", SHARINGS)

DIFFERENT: list[dict[str, Any]] = [
    {},
    {"lr": 3e-2, "dropout": 0.5},
    {"weights": (4.0, 0.0, 0.0, 0.0), "dropout": 0.2},
    {"weights": (0.0, 2.0, 2.0, 0.0), "weight_decay": 0.1},
    {"label_smoothing": 0.2, "dropout_input": 0.3},
    {"clip": 0.1, "dropout_head": 0.4, "l1": 1e-3},
    {"noise": 0.5, "drop": 0.2, "l2": 1e-2},
    {"mixup": 0.4, "dropout": 0.1, "warmup_epochs": 1.5},
]


@each_sharing
@pytest.mark.parametrize("norm", ["none", "batch"])
def test_a_member_of_eight_equals_the_same_member_alone(
    prepared: Prepared, sharing: str, norm: str
) -> None:
    members = [
        member(number, sharing=sharing, norm=norm, layers=[6, 5], **values)
        for number, values in enumerate(DIFFERENT)
    ]
    together = Population(members, prepared, torch.float64)
    losses = [together.train_epoch(epoch) for epoch in (1, 2)]
    for k, one in enumerate(members):
        alone = Population([one], prepared, torch.float64)
        own = [alone.train_epoch(epoch) for epoch in (1, 2)]
        torch.testing.assert_close(
            together.state.snapshot()[k], alone.state.snapshot()[0], rtol=0, atol=1e-8
        )
        for ours, theirs in zip(losses, own, strict=True):
            torch.testing.assert_close(ours[k], theirs[0], rtol=0, atol=1e-8)


def owned(population: Population, task: int) -> torch.Tensor:
    """Returns which of the (P,) parameters belong to a task."""
    segments, owners = population.state.segments()
    return segments == owners.index(task)


@each_sharing
def test_a_task_of_weight_0_leaves_what_it_owns_untouched(prepared: Prepared, sharing: str) -> None:
    # Decay and momentum would move even parameters without gradient.
    rests = member(0, sharing=sharing, weights=(1.0, 0.0, 3.0, 0.0), weight_decay=0.1, l2=0.1)
    population = Population([rests, member(1, sharing=sharing)], prepared, torch.float64)
    before = population.state.parameters.clone()
    population.train_epoch(1)
    moved = population.state.parameters != before
    adam: Any = population.optimizer
    for task, is_trained in enumerate([True, False, True, False]):
        own = owned(population, task)
        assert bool(moved[0, own].any()) is is_trained
        assert bool(adam.square[0, own].any()) is is_trained
        assert bool(moved[1, own].any())


@each_sharing
def test_a_batch_without_labels_of_a_task_leaves_what_it_owns_untouched(
    complete: Prepared, sharing: str
) -> None:
    colour = np.full_like(complete.parts["train"].targets["colour"], np.nan)
    targets = {**complete.parts["train"].targets, "colour": colour}
    unlabelled = with_train(complete, targets=targets)
    population = Population([member(0, sharing=sharing, l2=0.1)], unlabelled, torch.float64)
    before = population.state.parameters.clone()
    population.train_epoch(1)
    moved = population.state.parameters != before
    assert not bool(moved[0, owned(population, 1)].any())
    assert all(bool(moved[0, owned(population, task)].any()) for task in (0, 2, 3))


OWNED = {
    "shared_bottom": set(),
    "mmoe": {"gates"},
    "cgc": {"levels.0.gates", "levels.0.experts"},
    "ple": {"levels.0.gates", "levels.1.gates", "levels.1.experts"},
    "cross_stitch": {"units.1"},
    "separate": {"networks"},
}


@each_sharing
def test_tasks_own_gates_experts_and_units(prepared: Prepared, sharing: str) -> None:
    model = Population([member(0, sharing=sharing)], prepared).model
    owners = {name: model.owners(name) for name, _ in model.named_parameters()}
    owned = {name for name, found in owners.items() if bool((found != SHARED).any())}
    inside = {name.removeprefix("sharing.") for name in owned if name.startswith("sharing.")}
    assert {".".join(name.split(".")[:-1]) for name in inside} == {
        ".".join(name.split(".")[1:-1])
        for name in owners
        if name.removeprefix("sharing.").startswith(tuple(OWNED[sharing]))
    }
    assert all(set(owners[name].flatten().tolist()) - {SHARED} == {0, 1, 2, 3}
               for name in owned if not name.startswith("heads."))  # fmt: skip
    assert ("embedding.table" in owned) is (sharing == "separate")


@pytest.mark.parametrize("task", [0, 1, 2, 3])
def test_separate_tasks_train_together_as_each_does_alone(prepared: Prepared, task: int) -> None:
    settings: dict[str, Any] = {"sharing": "separate", "dropout": 0.2, "weight_decay": 0.01}
    alone = tuple(float(index == task) for index in range(4))
    population = Population(
        [member(0, **settings), member(1, seed=100, weights=alone, **settings)],
        prepared, torch.float64,
    )  # fmt: skip
    for epoch in (1, 2):
        population.train_epoch(epoch)
    own = owned(population, task)
    torch.testing.assert_close(
        population.state.parameters[0, own], population.state.parameters[1, own], rtol=0, atol=1e-9
    )


def test_sharing_and_what_it_reads_part_members_into_arrays() -> None:
    values: list[dict[str, Any]] = [
        {"sharing": "shared_bottom"},
        {"sharing": "mmoe", "experts": 2},
        {"sharing": "mmoe", "experts": 3},
        {"sharing": "shared_bottom", "experts": 3},  # not read: no difference
        {"sharing": "mmoe", "experts": 2, "levels": 1},
        {"sharing": "ple", "levels": 1},
        {"sharing": "ple", "levels": 2},
    ]
    members = [member(number, **found) for number, found in enumerate(values)]
    arrays = [[one.number for one in array] for array in arrays_of(members, 16)]
    assert arrays == [[0, 3], [1, 4], [2], [5], [6]]
    assert structure_of(members[0]) == structure_of(members[3])


def test_a_run_shows_the_settings_that_its_sharing_reads() -> None:
    shown = {name: set(read_settings(ModelSpec(sharing=name))) for name in SHARINGS}
    options = {"experts", "task_experts", "shared_experts", "levels", "stitch"}
    assert {name: keys & options for name, keys in shown.items()} == {
        name: set(catalogue.entry("sharing", name).options) for name in SHARINGS
    }
    assert all({"sharing", "layers", "dropout"} <= keys for keys in shown.values())


@each_sharing
def test_a_trained_member_answers_as_it_was_evaluated(prepared: Prepared, sharing: str) -> None:
    from pipeline.evaluation.evaluate import evaluate_one
    from pipeline.tasks.registry import kind_of
    from pipeline.training.members import architecture_of

    one = member(0, sharing=sharing, norm="batch", epochs=2)
    (trained,) = train([one], prepared)
    assert trained.n_parameters == sum(
        array.size for name, array in trained.parameters.items() if "running_" not in name
    )
    shape = architecture_of(one, prepared)
    valid = prepared.parts["valid"]
    outputs = predict_member(shape, trained.parameters, valid)
    found = evaluate_one([kind_of(info) for info in trained.tasks], outputs, valid.targets, "valid")
    assert trained.evaluation is not None
    assert found.tasks == trained.evaluation.tasks


def test_a_study_of_one_task_trains_with_every_sharing() -> None:
    prepared = make_prepared(n_rows={"train": 60, "valid": 30, "test": 10})
    first = replace(prepared, tasks=prepared.tasks[:1])
    for sharing in SHARINGS:
        (trained,) = train([member(0, sharing=sharing, epochs=1, weights=(1.0,))], first)
        assert trained.state == "complete", sharing
