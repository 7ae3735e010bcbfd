"""What a study file may say: its sections, their keys, defaults and rules.

The sections are frozen dataclasses that pydantic validates. Here every value is a value: where the
file has a range, the section holds the range's centre (see `loading`), or, inside a trial, the
value that the trial chose (`Study.at`). `Searchable` marks the keys where a range may stand.
"""

from collections.abc import Mapping
from dataclasses import field
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, GetJsonSchemaHandler
from pydantic.dataclasses import dataclass
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema


class _Searchable:
    """Marks a key that may hold a range in place of a value."""

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {"anyOf": [handler(schema), RANGE_SCHEMA]}


RANGE_SCHEMA: JsonSchemaValue = {
    "description": "A range that the study searches.",
    "oneOf": [
        {
            "type": "object",
            "properties": {
                "low": {"type": "number"},
                "high": {"type": "number"},
                "log": {"type": "boolean", "default": False},
                "step": {"type": "number", "exclusiveMinimum": 0},
            },
            "required": ["low", "high"],
            "additionalProperties": False,
        },
        {
            "type": "object",
            "properties": {"choices": {"type": "array", "minItems": 1}},
            "required": ["choices"],
            "additionalProperties": False,
        },
    ],
}


SEARCHABLE = _Searchable()

_STRICT = ConfigDict(extra="forbid", allow_inf_nan=False)

Name = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$", max_length=60)]
StudyName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$", max_length=60)]
Share = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]
Label = bool | int | float | str


@dataclass(frozen=True, config=_STRICT)
class SplitSpec:
    """How rows become train, valid and test.

    Attributes:
        column: Ready-made split: a column that holds train, valid, test.
        train: Share of rows to train on (without `column`).
        valid: Share of rows to select on. With `column`, the share taken from its train rows
            where the column has no valid rows.
        test: Share of rows to test on (without `column`).
        stratify: Task or column whose labels each part has in equal shares.
        group: Column whose values never stand in two parts.
        time: Column by which rows are ordered: train first, test last.
        duplicates: What happens to a row whose inputs also stand in another part: `keep` counts
            it, `drop` keeps the one in test, else in valid.
    """

    column: str | None = None
    train: Share | None = None
    valid: Share | None = None
    test: Share | None = None
    stratify: str | None = None
    group: str | None = None
    time: str | None = None
    duplicates: Literal["keep", "drop"] = "keep"


@dataclass(frozen=True, config=_STRICT)
class SourceSpec:
    """One table of rows.

    Attributes:
        path: CSV, TSV, JSON Lines or Parquet, plain or gzipped; a path, a glob, or a list of them.
        builtin: A table that needs no file, by its catalogue name.
        about: Where the data comes from; printed when a file is missing.
        delimiter: Column separator of a CSV file; found out where it is not given.
        id: Column that names a row; without it a row is named by its content.
        drop: Columns to leave out.
        numeric: Columns to read as numbers, whatever they look like.
        categorical: Columns to read as categories, whatever they look like.
        boolean: Columns to read as yes and no, whatever they look like.
        split: Overrides the study's split for this source.
    """

    path: str | list[str] | None = None
    builtin: str | None = None
    about: str = ""
    delimiter: str | None = None
    id: str | None = None
    drop: list[str] = field(default_factory=list)
    numeric: list[str] = field(default_factory=list)
    categorical: list[str] = field(default_factory=list)
    boolean: list[str] = field(default_factory=list)
    split: SplitSpec | None = None


@dataclass(frozen=True, config=_STRICT)
class BudgetSpec:
    """How much of a document an extractive summary takes; one of the keys.

    Attributes:
        sentences: Sentences, or clauses with `unit: clause`.
        words: Most words; for Chinese, characters.
        share: Most of the document's words, as a share of them.
        reference: About as many words as the reference has, to compare at equal length; a served
            model, which has no reference, takes the mean share that references have on train.
    """

    sentences: Count | None = None
    words: Count | None = None
    share: Annotated[float, Field(gt=0, le=1)] | None = None
    reference: bool = False


@dataclass(frozen=True, config=_STRICT)
class TaskSpec:
    """One target to learn.

    Attributes:
        kind: What the target is; a catalogue name.
        target: Column of the labels; several 0/1 columns for `multilabel`.
        source: The task's source; implied where the study has one.
        metric: Primary metric; the kind's first where it is not given.
        per: Column of which each value makes a task of its own.
        positive: The label of a binary task that counts as 1; the rarer one where not given.
        separator: What stands between the labels of a one-column multilabel target.
        threshold: Probability from which a label is given, or `tuned` to choose it on valid: one
            for all labels where the metric is micro_f1, else one a label.
        class_weights: Weight of each label in the loss: `balanced`, or label to weight.
        loss: Loss of a regression.
        delta: Where the Huber loss turns linear, in standard deviations of the target.
        text: Column of the documents to summarise. `target` is then the column of their
            references: a text, or a list of texts of which the nearest counts.
        title: Column of the documents' titles, where they are known when predicting.
        mode: Of `summarisation`: `extractive`, the default, chooses sentences of the document;
            `abstractive` writes words, and is the kind `abstractive` by another name.
        unit: What is chosen: `sentence` by default, or `clause` (parts between commas), which
            suits titles.
        budget: How much is chosen; by default the mean share that references have on train.
        vocabulary: Words that can be written without copying them; 6000.
        read: Words of a document that are read; 120.
        write: Most words that are written; 24.
        width: Of the decoder's states; 96.
        beam: Texts kept while writing; 3. With 1 the likeliest word is taken each time.
    """

    kind: str
    target: str | list[str]
    source: str | None = None
    metric: str | None = None
    per: str | None = None
    positive: Label | None = None
    separator: str | None = None
    threshold: Annotated[float, Field(gt=0, lt=1)] | Literal["tuned"] | None = None
    class_weights: Literal["balanced"] | dict[Label, Positive] | None = None
    loss: Annotated[Literal["squared", "absolute", "huber"], SEARCHABLE] = "squared"
    delta: Annotated[Positive, SEARCHABLE] = 1.0
    text: str | None = None
    title: str | None = None
    mode: Literal["extractive", "abstractive"] | None = None
    unit: Literal["sentence", "clause"] | None = None
    budget: BudgetSpec | None = None
    vocabulary: Annotated[int, Field(ge=10, le=200_000)] | None = None
    read: Annotated[int, Field(ge=2, le=2000)] | None = None
    write: Annotated[int, Field(ge=2, le=500)] | None = None
    width: Count | None = None
    beam: Annotated[int, Field(ge=1, le=32)] | None = None


@dataclass(frozen=True, config=_STRICT)
class ModelSpec:
    """The network.

    Attributes:
        sharing: How tasks share; a catalogue name.
        layers: Width of each layer of the trunk.
        activation: Non-linearity after each layer.
        norm: Normalisation before each non-linearity.
        dropout: Share of activations dropped after each layer of the trunk.
        dropout_input: Share of input features dropped.
        dropout_head: Share of activations dropped before a head's layers.
        head_layers: Width of each hidden layer of a head; none by default, so that a head is one
            linear layer and the tasks share all else.
        embedding: Width of the vector learned for a category.
    """

    sharing: str = "shared_bottom"
    layers: Annotated[list[Count], SEARCHABLE] = field(default_factory=lambda: [64, 64])
    activation: Annotated[Literal["relu", "gelu", "silu", "tanh", "leaky_relu"], SEARCHABLE] = (
        "relu"
    )
    norm: Annotated[Literal["none", "layer", "batch"], SEARCHABLE] = "none"
    dropout: Annotated[Share, SEARCHABLE] = 0.0
    dropout_input: Annotated[Share, SEARCHABLE] = 0.0
    dropout_head: Annotated[Share, SEARCHABLE] = 0.0
    head_layers: Annotated[list[Count], SEARCHABLE] = field(default_factory=list)
    embedding: Annotated[Count, SEARCHABLE] = 8


@dataclass(frozen=True, config=_STRICT)
class WeightsSpec:
    """The loss weights.

    The first task is the reference; the others' ratios to it are searched on a log scale, then
    all weights are scaled to sum to the number of tasks.

    Attributes:
        strategy: How weights are set; a catalogue name.
        low: Smallest ratio of a task's weight to the first task's.
        high: Largest ratio.
        values: Weight of each task, in place of `low` and `high`.
    """

    strategy: str = "fixed"
    low: Positive | None = None
    high: Positive | None = None
    values: dict[str, Annotated[NonNegative, SEARCHABLE]] = field(default_factory=dict)


@dataclass(frozen=True, config=_STRICT)
class AugmentSpec:
    """Changes to train batches only.

    Attributes:
        noise: Standard deviation of Gaussian noise on standardised numbers.
        drop: Chance of hiding an input of a row: a number becomes its mean, a category `missing`.
        mixup: Parameter a of Beta(a, a), which mixes pairs of rows and their losses (Zhang et
            al., 2018); 0 mixes none.
    """

    noise: Annotated[NonNegative, SEARCHABLE] = 0.0
    drop: Annotated[Share, SEARCHABLE] = 0.0
    mixup: Annotated[NonNegative, SEARCHABLE] = 0.0


@dataclass(frozen=True, config=_STRICT)
class TrainSpec:
    """How a member is trained.

    Attributes:
        optimizer: A catalogue name.
        lr: Learning rate.
        momentum: Of `sgd`.
        weight_decay: Decoupled: each step shrinks every parameter by `lr * weight_decay`.
        l2: Coupled penalty: adds `l2 * parameter` to the gradient.
        l1: Absolute penalty: adds `l1 * sign(parameter)` to the gradient.
        schedule: Course of the learning rate; a catalogue name.
        warmup_epochs: Epochs in which the rate rises linearly from zero.
        clip: Largest norm of a member's gradient; null for none.
        label_smoothing: Share of a label's weight spread over all labels.
        augment: Changes to train batches.
        epochs: Most passes over the train rows.
        batch_size: Rows a step; `gd` takes all.
        patience: Epochs without a better valid score before a member stops; null for never. The
            best epoch's parameters are kept either way.
    """

    optimizer: Annotated[str, SEARCHABLE] = "adamw"
    lr: Annotated[Positive, SEARCHABLE] = 1e-3
    momentum: Annotated[Share, SEARCHABLE] = 0.9
    weight_decay: Annotated[NonNegative, SEARCHABLE] = 0.0
    l2: Annotated[NonNegative, SEARCHABLE] = 0.0
    l1: Annotated[NonNegative, SEARCHABLE] = 0.0
    schedule: Annotated[str, SEARCHABLE] = "cosine"
    warmup_epochs: Annotated[NonNegative, SEARCHABLE] = 0.0
    clip: Annotated[Positive | None, SEARCHABLE] = None
    label_smoothing: Annotated[Share, SEARCHABLE] = 0.0
    augment: AugmentSpec = field(default_factory=AugmentSpec)
    epochs: Annotated[Count, SEARCHABLE] = 30
    batch_size: Annotated[Count, SEARCHABLE] = 256
    patience: Annotated[Count | None, SEARCHABLE] = 5


@dataclass(frozen=True, config=_STRICT)
class SearchSpec:
    """How a study searches.

    Attributes:
        trials: Finished trials (complete, pruned or failed) at the end.
        objective: What is maximised: the mean of the tasks' scores.
        sampler: Any of Optuna's samplers, such as `tpe`, `random`, `cmaes`, `GPSampler`.
        pruner: A catalogue name.
        keep: Best trials whose models are kept.
        cohort: Consecutive trials asked together: larger fills more hardware, smaller lets the
            sampler see more before it answers.
        population: Most members trained as one array. `auto` measures for a moment, before the
            first trial, which size trains a cohort fastest with the workers at hand; the size is
            kept in the study's record, because arrays of one size give the same result on any
            number of workers.
    """

    trials: Count = 64
    objective: Literal["mean"] = "mean"
    sampler: str = "tpe"
    pruner: str = "median"
    keep: Annotated[int, Field(ge=1, le=100)] = 3
    cohort: Count = 16
    population: Count | Literal["auto"] = "auto"


@dataclass(frozen=True, config=_STRICT)
class GatesSpec:
    """What a candidate must show before it becomes champion.

    Attributes:
        min_gain: Least gain of the mean test score over the champion's.
        max_task_loss: Most that any one task's test score may lose against the champion's.
    """

    min_gain: float = 0.0
    max_task_loss: NonNegative = 0.01


@dataclass(frozen=True, config=_STRICT)
class PromoteSpec:
    """Where the best model goes.

    Attributes:
        model: Registered model; the study's name where it is not given.
        alias: Alias that applications load.
        gates: What a candidate must show.
    """

    model: StudyName | None = None
    alias: Name = "champion"
    gates: GatesSpec = field(default_factory=GatesSpec)


@dataclass(frozen=True, config=_STRICT)
class StudySpec:
    """A whole study file."""

    name: StudyName
    sources: Annotated[dict[Name, SourceSpec], Field(min_length=1)]
    tasks: Annotated[dict[Name, TaskSpec], Field(min_length=1)]
    seed: Annotated[int, Field(ge=0)] = 0
    split: SplitSpec = field(default_factory=SplitSpec)
    model: ModelSpec = field(default_factory=ModelSpec)
    weights: WeightsSpec = field(default_factory=WeightsSpec)
    train: TrainSpec = field(default_factory=TrainSpec)
    search: SearchSpec = field(default_factory=SearchSpec)
    promote: PromoteSpec = field(default_factory=PromoteSpec)

    def source_of(self, task: str) -> str:
        """Returns the name of the source that a task reads."""
        return self.tasks[task].source or next(iter(self.sources))

    def split_of(self, source: str) -> SplitSpec:
        """Returns the split that holds for a source."""
        return self.sources[source].split or self.split


Params = Mapping[str, Any]
"""Values of a trial, by the dotted path of each range."""
