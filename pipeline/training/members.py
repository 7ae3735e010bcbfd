"""What goes into training and what comes out of it."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import pairwise
from typing import Any, Literal

from numpy.typing import NDArray

from pipeline.data.prepared import Prepared
from pipeline.data.text_encoding import TextEncoder
from pipeline.evaluation.evaluate import Evaluation
from pipeline.models.architecture import Architecture
from pipeline.study.catalogue import entry, load_network, names
from pipeline.study.encoder_spec import EncoderSpec
from pipeline.study.model_spec import ModelSpec
from pipeline.study.own import is_own, is_stock
from pipeline.study.task_spec import TaskSpec
from pipeline.study.train_spec import TrainSpec
from pipeline.study.weights_spec import WeightsSpec
from pipeline.tasks.base import Kind, TaskInfo
from pipeline.training.diagnostics import Gradients

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
        weights: Loss weight of each prepared task, in order; 0 for a task that it does not train.
            Of those above 0 only the strategies `fixed` and `equal` read the size.
        weighting: Section of the study, with this trial's values: how losses are put together.
    """

    number: int
    seed: int
    stream: int
    model: ModelSpec
    train: TrainSpec
    tasks: Mapping[str, TaskSpec]
    weights: tuple[float, ...]
    weighting: WeightsSpec = field(default_factory=WeightsSpec)


@dataclass(frozen=True)
class EpochResult:
    """What one member did in one epoch.

    Attributes:
        number: Of the member.
        epoch: From 1.
        losses: Mean train loss of each task; NaN where the member does not train it.
        valid: Primary metric of each task on valid, in its own units.
        score: Mean score on valid of the tasks with non-zero weight.
        scores: Score of each task on valid: `valid`, oriented so that higher is better.
        last: The member ended by itself (epochs or patience used up, or diverged).
        weights: Mean weight of each task over the epoch's steps that trained it, where the
            strategy moves weights; else empty.
        gradients: How the tasks' gradients lie to each other; None where nobody looked.
    """

    number: int
    epoch: int
    losses: Mapping[str, float]
    valid: Mapping[str, float]
    score: float
    last: bool = False
    scores: Mapping[str, float] = field(default_factory=dict)
    weights: Mapping[str, float] = field(default_factory=dict)
    gradients: Gradients | None = None


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
        seconds: From its start to its end.
        first_epoch: Epoch of its population in which it began, from 1: decides the batch order
            and the noise of its epochs.
        cosines: Task to later task to the mean cosine of their gradients; empty without looks.
        device: Kind of device where it trained, `cpu` or `cuda`; empty where it did not.
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
    first_epoch: int = 1
    cosines: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    device: str = ""


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
        readers=reader_shapes(model.encoder, prepared.encoder.text),
        linear=_linear_tasks(prepared.encoder.text),
        options=sharing_options(model),
    )


def reader_shapes(spec: EncoderSpec, text: TextEncoder | None) -> dict[str, dict[str, Any]]:
    """Returns encoder to the shape of its network, for those that prepared tokens."""
    parts = {part.name: part for part in (() if text is None else text.parts)}
    return {
        kind: {**load_network(kind).shape_of(spec, parts[kind].vocabulary[kind]),
               **parts[kind].shape}
        for kind in spec.kinds
        if kind in parts and kind in parts[kind].vocabulary
    }  # fmt: skip


def _linear_tasks(text: TextEncoder | None) -> tuple[str, ...]:
    """Returns the tasks that have a linear model of term weights."""
    return () if text is None or text.linear is None else tuple(text.linear.tasks)


def sharing_options(model: ModelSpec) -> dict[str, Any]:
    """Returns the keys of the section that only its way of sharing reads, such as `experts`."""
    if is_own(model.sharing):
        return dict(model.options)
    return {option: getattr(model, option) for option in entry("sharing", model.sharing).options}


def read_settings(model: ModelSpec) -> dict[str, Any]:
    """Returns the section without the keys that only other ways of sharing read."""
    entries = [entry("sharing", name) for name in names("sharing")]
    options = {option for other in entries for option in other.options} | {"options"}
    unread = options - {*entry("sharing", model.sharing).options}
    return {key: value for key, value in asdict(model).items() if key not in unread}


def kinds_of(member: Member, prepared: Prepared) -> list[Kind]:
    """Returns the tasks' kinds, bound to what this member's trial chose for them."""
    return [kind.with_spec(member.tasks[kind.info.declared]) for kind in prepared.kinds()]


def structure_of(member: Member) -> tuple[Any, ...]:
    """Returns what members must have in common to train as one population."""
    model, train = member.model, member.train
    tasks = tuple(
        (name, task.loss, task.delta, str(task.class_weights), str(task.options))
        for name, task in member.tasks.items()
    )
    return (
        member.stream, model.sharing, str(sharing_options(model)), tuple(model.layers),
        tuple(model.head_layers), model.activation, model.norm, model.embedding, train.optimizer,
        train.schedule, train.epochs, train.batch_size, train.exponent, train.precision, tasks,
        member.weighting.strategy, str(replace(model.encoder, dropout=0.0)),
    )  # fmt: skip


def gains_nothing(member: Member) -> bool:
    """Tells whether members run one after the other: a stock module, or pretrained layers."""
    encoder = member.model.encoder
    return is_stock(member.model.sharing) or encoder.trains_pretrained or encoder.for_decoder


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
        # Its members keep no worker waiting.
        size = 1 if gains_nothing(group[0]) else most
        n_arrays = -(-len(group) // size)
        bounds = [len(group) * index // n_arrays for index in range(n_arrays + 1)]
        arrays += [group[low:high] for low, high in pairwise(bounds)]
    return arrays
