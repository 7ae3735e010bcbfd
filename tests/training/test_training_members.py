import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from training_data import SPECS, member

from pipeline.data.prepared import Prepared
from pipeline.models.build import load_members
from pipeline.study.task_spec import TaskSpec
from pipeline.study.weights_spec import WeightsSpec
from pipeline.training.members import Member, architecture_of, arrays_of, structure_of
from pipeline.training.state import FlatState
from pipeline.training.weighting import alone_weights, task_weights

SHAPES = [{}, {"layers": [4]}, {"batch_size": 16}, {"optimizer": "sgd"}, {"norm": "layer"}]


@st.composite
def cohorts(draw: st.DrawFn) -> list[Member]:
    shapes = draw(st.lists(st.sampled_from(SHAPES), min_size=1, max_size=20))
    return [member(number, lr=1e-3 * (number + 1), **shape) for number, shape in enumerate(shapes)]


@given(cohorts(), st.integers(1, 8))
def test_arrays_part_the_members_by_structure_in_equal_sizes(
    members: list[Member], most: int
) -> None:
    arrays = arrays_of(members, most)
    numbers = [one.number for array in arrays for one in array]
    assert sorted(numbers) == [one.number for one in members]
    sizes: dict[object, list[int]] = {}
    for array in arrays:
        structures = {structure_of(one) for one in array}
        assert len(structures) == 1
        assert 1 <= len(array) <= most
        assert [one.number for one in array] == sorted(one.number for one in array)
        sizes.setdefault(structures.pop(), []).append(len(array))
    for found in sizes.values():
        assert max(found) - min(found) <= 1
        assert len(found) == -(-sum(found) // most)


@given(cohorts(), st.integers(1, 8), st.randoms(use_true_random=False))
def test_array_sizes_do_not_depend_on_the_order(
    members: list[Member], most: int, random: object
) -> None:
    shuffled = sorted(members, key=lambda _: random.random())  # type: ignore[attr-defined]

    def sizes(cohort: list[Member]) -> list[tuple[str, int]]:
        return sorted((str(structure_of(a[0])), len(a)) for a in arrays_of(cohort, most))

    assert sizes(members) == sizes(shuffled)


@pytest.mark.parametrize(
    "values",
    [{"lr": 1.0}, {"dropout": 0.5}, {"weights": (0.0, 0.0, 0.0, 4.0)}, {"seed": 9}, {"clip": 1.0},
     {"mixup": 0.1}, {"label_smoothing": 0.1}, {"patience": 3}, {"warmup_epochs": 1.0},
     {"temperature": 3.0}, {"mu": 0.1}],
)  # fmt: skip
def test_settings_of_a_member_do_not_change_its_structure(values: dict[str, object]) -> None:
    assert structure_of(member(0)) == structure_of(member(1, **values))


@pytest.mark.parametrize(
    "values",
    [{"layers": [3]}, {"head_layers": [3]}, {"activation": "tanh"}, {"norm": "batch"},
     {"embedding": 5}, {"optimizer": "sgd"}, {"schedule": "constant"}, {"epochs": 5},
     {"batch_size": 8}, {"stream": 8}, {"strategy": "dwa"}],
)  # fmt: skip
def test_what_shapes_the_arrays_is_structure(values: dict[str, object]) -> None:
    assert structure_of(member(0)) != structure_of(member(0, **values))


def test_the_loss_of_a_task_is_structure() -> None:
    one = member(0)
    huber = {**SPECS, "price": TaskSpec(kind="regression", target="price", loss="huber")}
    other = Member(**{**one.__dict__, "tasks": huber})
    assert structure_of(one) != structure_of(other)


# --- weights -------------------------------------------------------------------------------------


@given(st.lists(st.floats(0.0, 10.0), min_size=4, max_size=4).filter(any))
def test_weights_keep_their_ratios_and_sum_to_the_number_of_tasks(weights: list[float]) -> None:
    tasks = [_named(task) for task in SPECS]
    scaled = task_weights(WeightsSpec(values=dict(zip(SPECS, weights, strict=True))), tasks)
    assert sum(scaled) == pytest.approx(4)
    for ours, given_weight in zip(scaled, weights, strict=True):
        assert ours * sum(weights) == pytest.approx(4 * given_weight)


def _named(task: str, declared: str | None = None):  # type: ignore[no-untyped-def]
    from pipeline.tasks.base import TaskInfo

    return TaskInfo(task, declared or task, "regression", "r2", (task,))


def test_tasks_without_weights_count_alike_and_parts_of_one_like_it() -> None:
    tasks = [_named("a"), _named("b:x", "b"), _named("b:y", "b")]
    assert task_weights(WeightsSpec(strategy="equal"), tasks) == (1, 1, 1)
    scaled = task_weights(WeightsSpec(values={"a": 1.0, "b": 2.5}), tasks)
    assert scaled == pytest.approx((0.5, 1.25, 1.25))


def test_only_a_strategy_that_reads_values_weighs_by_them() -> None:
    tasks = [_named("a"), _named("b")]
    assert task_weights(WeightsSpec(strategy="dwa", values={"a": 1.0, "b": 3.0}), tasks) == (1, 1)
    assert task_weights(WeightsSpec(values={"a": 1.0, "b": 3.0}), tasks) == (0.5, 1.5)


def test_alone_is_one_weight() -> None:
    assert alone_weights(3, 1) == (0.0, 1.0, 0.0)


# --- the flat state ------------------------------------------------------------------------------


@pytest.mark.parametrize("values", [{}, {"norm": "batch", "head_layers": [5]}])
def test_a_snapshot_restores_everything(prepared: Prepared, values: dict[str, object]) -> None:
    shape = architecture_of(member(0, **values), prepared)
    state = FlatState(shape, [1, 2, 3])
    part = prepared.parts["valid"]
    rows = torch.from_numpy(part.numeric), torch.from_numpy(part.codes)
    snapshot = state.snapshot()
    state.model.eval()
    before = {task: out.detach().clone() for task, out in state.model(*rows).items()}
    state.model.train()
    state.model(*rows)  # moves running statistics
    state.parameters.add_(1.0)  # the model's parameters are views of it
    state.model.eval()
    assert not torch.allclose(state.model(*rows)["price"], before["price"])
    state.restore(snapshot)
    for task, out in state.model(*rows).items():
        assert torch.equal(out, before[task])
    again = load_members(shape, [state.named(row) for row in snapshot])
    for task, out in again(*rows).items():
        assert torch.equal(out, before[task])


@pytest.mark.parametrize("shape", [{}, {"head_layers": [5]}])
def test_segments_name_the_owner_of_every_parameter(
    prepared: Prepared, shape: dict[str, object]
) -> None:
    # The loss of a task has a slope in what all share and in its own head, and nowhere else.
    one = member(0, activation="tanh", **shape)
    state = FlatState(architecture_of(one, prepared), [1])
    segments, owners = state.segments()
    assert owners == [None, 0, 1, 2, 3]
    part = prepared.parts["train"]
    outputs = state.model(torch.from_numpy(part.numeric), torch.from_numpy(part.codes))
    for task, out in enumerate(outputs.values()):
        out.square().sum().backward(retain_graph=True)
        moved = state.collect_gradient()[0] != 0
        assert set(segments[moved].tolist()) == {0, task + 1}
        assert bool(moved[segments == task + 1].all())


def test_members_that_stay_keep_their_parameters(prepared: Prepared) -> None:
    state = FlatState(architecture_of(member(0, norm="batch"), prepared), [1, 2, 3])
    snapshot = state.snapshot()
    state.keep(torch.tensor([2, 0]))
    assert state.n_members == state.model.n_members == 2
    assert torch.equal(state.snapshot(), snapshot[[2, 0]])
    state.parameters.zero_()
    assert all(not bool(parameter.any()) for parameter in state.model.parameters())
