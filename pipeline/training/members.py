"""What goes into training and what comes out of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Literal

from numpy.typing import NDArray

from pipeline.data.prepared import Prepared
from pipeline.evaluation.evaluate import Evaluation
from pipeline.models.build import Architecture
from pipeline.study.spec import ModelSpec, TaskSpec, TrainSpec
from pipeline.tasks.base import Kind, TaskInfo

State = Literal["complete", "pruned", "diverged", "failed", "interrupted"]


@dataclass(frozen=True)
class Member:
    """A trial while it trains.

    Attributes:
        number: Trial number; names the member in every answer.
        seed: Of its initial parameters.
        stream: Seed of batch order, dropout and augmentation: common to a study's trials, so that
            they are compared under the same luck.
        model: Section of the study, with this trial's values.
        train: Likewise.
        tasks: Likewise, by declared name.
        weights: Loss weight of each prepared task, in order.
    """

    number: int
    seed: int
    stream: int
    model: ModelSpec
    train: TrainSpec
    tasks: Mapping[str, TaskSpec]
    weights: tuple[float, ...]


@dataclass(frozen=True)
class EpochResult:
    """What one member did in one epoch.

    Attributes:
        number: Of the member.
        epoch: From 1.
        losses: Mean train loss of each task; NaN where the member does not train it.
        valid: Primary metric of each task on valid, in its own units.
        score: Mean score on valid of the tasks with non-zero weight.
        last: The member ended by itself (epochs or patience used up, or diverged).
    """

    number: int
    epoch: int
    losses: Mapping[str, float]
    valid: Mapping[str, float]
    score: float
    last: bool = False


@dataclass(frozen=True)
class Stop:
    """The answer that a member must not go on."""

    state: State
    reason: str


@dataclass(frozen=True)
class Trained:
    """One member's end.

    Attributes:
        number: Of the member.
        state: How it ended.
        reason: Why, as a sentence; empty where it simply completed.
        epochs: Epochs trained.
        best_epoch: Epoch whose parameters are kept; 0 where there is none.
        score: Mean valid score of its active tasks at the best epoch; None where there is none.
        evaluation: All metrics on valid; None unless complete.
        parameters: Name to array, without the member axis; empty unless complete.
        tasks: The tasks as this member decodes them (tuned thresholds).
        n_parameters: Numbers in `parameters`, counted whether or not they are kept.
        seconds: From the start of its population to its end.
    """

    number: int
    state: State
    reason: str
    epochs: int
    best_epoch: int
    score: float | None
    evaluation: Evaluation | None
    parameters: Mapping[str, NDArray[Any]] = field(repr=False)
    tasks: tuple[TaskInfo, ...]
    n_parameters: int
    seconds: float


def architecture_of(member: Member, prepared: Prepared) -> Architecture:
    """Returns the shape of a member's network on this data."""
    model, kinds = member.model, kinds_of(member, prepared)
    shapes = {kind.info.name: kind.generator() for kind in kinds}
    return Architecture(
        sharing=model.sharing,
        layers=tuple(model.layers),
        activation=model.activation,
        norm=model.norm,
        head_layers=tuple(model.head_layers),
        embedding=model.embedding,
        n_numeric=prepared.encoder.n_numeric,
        n_codes=prepared.encoder.n_codes,
        heads={kind.info.name: kind.width for kind in kinds},
        generators={task: shape for task, shape in shapes.items() if shape is not None},
    )


def kinds_of(member: Member, prepared: Prepared) -> list[Kind]:
    """Returns the tasks' kinds, bound to what this member's trial chose for them."""
    return [kind.with_spec(member.tasks[kind.info.declared]) for kind in prepared.kinds()]


def structure_of(member: Member) -> tuple[Any, ...]:
    """Returns what members must have in common to train as one population."""
    model, train = member.model, member.train
    tasks = tuple(
        (name, task.loss, task.delta, str(task.class_weights))
        for name, task in member.tasks.items()
    )
    return (
        member.stream, model.sharing, tuple(model.layers), tuple(model.head_layers),
        model.activation, model.norm, model.embedding, train.optimizer, train.schedule,
        train.epochs, train.batch_size, tasks,
    )  # fmt: skip


def arrays_of(members: Sequence[Member], most: int) -> list[list[Member]]:
    """Groups members by structure into arrays of at most `most`, sizes as equal as may be.

    The grouping depends on the members alone, never on how many workers there are: arrays of one
    size give the same floating-point results wherever they run.
    """
    groups: dict[tuple[Any, ...], list[Member]] = {}
    for member in members:
        groups.setdefault(structure_of(member), []).append(member)
    arrays = []
    for group in groups.values():
        n_arrays = -(-len(group) // most)
        bounds = [len(group) * index // n_arrays for index in range(n_arrays + 1)]
        arrays += [group[low:high] for low, high in pairwise(bounds)]
    return arrays
