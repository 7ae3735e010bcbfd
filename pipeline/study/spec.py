"""What a study file may say: its sections, their keys, defaults and rules.

The sections are frozen dataclasses that pydantic validates. Here every value is a value: where the
file has a range, the section holds the range's centre (see `loading`), or, inside a trial, the
value that the trial chose (`Study.at`). `SEARCHABLE` marks the keys where a range may stand.
The sections `weights` and `promote` have files of their own.
"""

from collections.abc import Mapping
from dataclasses import field
from typing import Annotated, Any, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from pipeline.study.encoder_spec import EncoderSpec
from pipeline.study.promote_spec import PromoteSpec
from pipeline.study.task_spec import TaskSpec
from pipeline.study.values import (
    SEARCHABLE,
    STRICT,
    Count,
    Name,
    NonNegative,
    Options,
    Positive,
    Share,
    StudyName,
)
from pipeline.study.weights_spec import WeightsSpec


@dataclass(frozen=True, config=STRICT)
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
        ungrouped: What happens to a row without a value in `group`: `refuse` by default, since
            a forgotten group is a leak; `own` makes it a group of its own, `drop` leaves it out.
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
    ungrouped: Literal["refuse", "own", "drop"] = "refuse"
    time: str | None = None
    duplicates: Literal["keep", "drop"] = "keep"


@dataclass(frozen=True, config=STRICT)
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
        text: Column, or columns read as one document; others beside it are read only if listed.
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
    text: str | list[str] | None = None
    split: SplitSpec | None = None

    @property
    def text_columns(self) -> tuple[str, ...]:
        """Columns of `text`."""
        return tuple([self.text] if isinstance(self.text, str) else self.text or ())


@dataclass(frozen=True, config=STRICT)
class ModelSpec:
    """The network.

    Attributes:
        encoder: How texts become inputs.
        sharing: How tasks share; a catalogue name, or `module:Name` of your own code.
        layers: Width of each layer of the trunk.
        activation: Non-linearity after each layer.
        norm: Normalisation before each non-linearity.
        dropout: Share of activations dropped after each layer of the trunk.
        dropout_input: Share of input features dropped.
        dropout_head: Share of activations dropped before a head's layers.
        head_layers: Width of each hidden layer of a head; none by default, so that a head is one
            linear layer and the tasks share all else.
        embedding: Width of the vector learned for a category.
        experts: Of `mmoe`, networks of `layers` that all tasks share. Four: more than the tasks
            of most studies, at four times the cost of one trunk; the paper tries up to eight.
        task_experts: Of `cgc` and `ple`, experts that each task has for itself, a level. One, as
            every further one costs as many as there are tasks.
        shared_experts: Of `cgc` and `ple`, experts that all tasks read, a level. Two, so that
            with one a task two tasks have the four experts of `mmoe`.
        levels: Of `ple`, levels of experts. `layers` is cut into that many runs, so that every
            sharing is equally deep. Two, the least that is not `cgc`.
        stitch: Of `cross_stitch`, what a task reads of its own activation at the start; the other
            tasks share the rest. 0.9, the paper's best; 1 starts as `separate`.
        options: What a sharing of your own reads, by names of its own choice.
    """

    encoder: EncoderSpec = field(default_factory=EncoderSpec)
    sharing: Annotated[str, SEARCHABLE] = "shared_bottom"
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
    experts: Annotated[Count, SEARCHABLE] = 4
    task_experts: Annotated[Count, SEARCHABLE] = 1
    shared_experts: Annotated[Count, SEARCHABLE] = 2
    levels: Annotated[Count, SEARCHABLE] = 2
    stitch: Annotated[float, Field(ge=0, le=1), SEARCHABLE] = 0.9
    options: Options = field(default_factory=dict)


@dataclass(frozen=True, config=STRICT)
class AugmentSpec:
    """Changes to train batches only.

    Attributes:
        noise: Standard deviation of Gaussian noise on standardised numbers.
        drop: Chance of hiding an input of a row: a number becomes its mean, a category `missing`.
        mixup: Parameter a of Beta(a, a), which mixes pairs of rows and their losses (Zhang et
            al., 2018); 0 mixes none.
        word_dropout: Chance that a token of a text becomes an unknown one. This and the two below
            need encoders that learn from tokens, such as `bag`: the vectors of others are computed
            once, before training.
        swap: Chance that a token changes places with a neighbour.
        deletion: Chance that a token is left out; of a text at least one stays.
    """

    noise: Annotated[NonNegative, SEARCHABLE] = 0.0
    drop: Annotated[Share, SEARCHABLE] = 0.0
    mixup: Annotated[NonNegative, SEARCHABLE] = 0.0
    word_dropout: Annotated[Share, SEARCHABLE] = 0.0
    swap: Annotated[Share, SEARCHABLE] = 0.0
    deletion: Annotated[Share, SEARCHABLE] = 0.0


@dataclass(frozen=True, config=STRICT)
class SamplingSpec:
    """How the sources of a study are mixed: a source of n rows has a share like n**(1 / T).

    Attributes:
        temperature: T. 1 is the proportional mix, large ones come near the uniform one. Members
            of one array share it, so that a list of choices trains faster than a range.
    """

    temperature: Annotated[float, Field(ge=1), SEARCHABLE] = 1.0


@dataclass(frozen=True, config=STRICT)
class TrainSpec:
    """How a member is trained.

    Attributes:
        optimizer: A catalogue name.
        lr: Learning rate.
        encoder_lr: Learning rate of a pretrained model that is trained, of its decoder too. By
            default 5e-5, the largest that Devlin et al. (2019) advise, since what it knows is soon
            forgotten; with `finetune: lora` 5e-4 for the maps, as in Hu et al. (2021), since they
            start at nothing.
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
        sampling: Of several sources (the sentences that a summary is chosen from are one of their
            own): how often the rows of each stand in an epoch. `proportional` shows every row
            once: nothing is left out or repeated unless it is asked for. `uniform` shows equally
            many rows of each source, a mapping is something between. An epoch keeps its length,
            the number of train rows: a small source repeats rows, of a large one some are left
            out, others in every epoch.
        patience: Epochs without a better valid score before a member stops; null for never. The
            best epoch's parameters are kept either way.
        diagnostics: Look now and then at the gradients of the tasks: their lengths, and the
            cosine of each pair. On by default, since looks are so rare that they cost at most 3 %
            of the training; a short training of many tasks has none.
        precision: Of the products of a training step on a GPU. `bf16` rounds what they read to 8
            bits of mantissa (autocast); parameters, losses, the optimizer and every score stay
            float32. `float32` by default: `bf16` counts only after a few members trained both
            ways have reached the same valid scores, before the first trial. Else, and on a CPU,
            which it only slows down, float32 is taken and said.
        checkpoint_minutes: Arrays that train longer write how far they are this often, at an
            epoch's end, and how they ended until that is kept with their cohort; after a kill they
            go on from there, to the same results. 0 or null for never. By default ten minutes, the
            most that a kill then costs an array. Shorter trainings write nothing. Where none can
            be written, that is said once and training goes on. With `search.order: free` none is
            written: trials that had not ended start again.
    """

    optimizer: Annotated[str, SEARCHABLE] = "adamw"
    lr: Annotated[Positive, SEARCHABLE] = 1e-3
    encoder_lr: Annotated[Positive | None, SEARCHABLE] = None
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
    diagnostics: bool = True
    sampling: Literal["proportional", "uniform"] | SamplingSpec = "proportional"
    precision: Literal["float32", "bf16"] = "float32"
    checkpoint_minutes: NonNegative | None = 10.0

    @property
    def exponent(self) -> float:
        """What the sizes of the sources are raised to for their shares of an epoch."""
        if isinstance(self.sampling, SamplingSpec):
            return 1 / self.sampling.temperature
        return {"proportional": 1.0, "uniform": 0.0}[self.sampling]


@dataclass(frozen=True, config=STRICT)
class FinalistsSpec:
    """The best trials once more, under fresh luck: what is shipped must not be a lucky seed.

    Attributes:
        k: Best trials (by valid) that are retrained; three leave room for a best one that was
            lucky.
        seeds: Fresh seeds of each. Five tell the luck of training from the merit of a
            configuration; verdicts need at least two.
    """

    k: Annotated[int, Field(ge=1, le=20)] = 3
    seeds: Annotated[int, Field(ge=1, le=50)] = 5


@dataclass(frozen=True, config=STRICT)
class SearchSpec:
    """How a study searches.

    Attributes:
        trials: Finished trials (complete, pruned or failed) at the end.
        objective: What is maximised: `mean` for the mean of the tasks' scores, or a list of tasks
            for the Pareto front of their scores. Its knee is the best trial, and what is promoted
            unless another trial is named: see `evaluation.pareto.order`.
        floors: With several objectives, task to the valid score below which a trial is of no use
            and is pruned; none by default.
        sampler: Any of Optuna's samplers, such as `tpe`, `random`, `cmaes`, `GPSampler`.
        pruner: A catalogue name; with several objectives `dominated` stands for the default.
        keep: Best trials whose models are kept.
        order: `fixed` asks cohort after cohort: parameters depend on neither time nor hardware.
            `free` gives a row that a trial leaves to the next one at once, quicker where many end
            early (`pruner: halving`); but repeating a study gives other trials.
        cohort: Consecutive trials asked together (free order: that train at once): larger fills
            more hardware, smaller lets the sampler see more before it answers.
        finalists: Retraining of the best trials over fresh seeds and replicates: the configuration
            with the best mean valid score is chosen, its seed with the median valid score is
            shipped. Null ships the best trial itself, and leaves verdicts unclear.
        population: Most members trained as one array. `auto` measures for a moment, before the
            first trial, which size trains a cohort fastest with the workers at hand; the size is
            kept in the study's record, because arrays of one size give the same result on any
            number of workers.
    """

    trials: Count = 64
    objective: Literal["mean"] | list[Name] = "mean"
    floors: dict[Name, float] = field(default_factory=dict)
    sampler: str = "tpe"
    pruner: str = "median"
    keep: Annotated[int, Field(ge=1, le=100)] = 3
    order: Literal["fixed", "free"] = "fixed"
    cohort: Count = 16
    finalists: FinalistsSpec | None = field(default_factory=FinalistsSpec)
    population: Count | Literal["auto"] = "auto"


@dataclass(frozen=True, config=STRICT)
class StudySpec:
    """A whole study file.

    Attributes:
        name: Of the study, its experiment and its files; letters, digits, `_` and `-`.
        sources: Where rows come from, each table under a name of its own.
        tasks: What is learned, each target under a name of its own.
        seed: Everything random is drawn from it: another seed, another study.
        split: Which rows are trained on, selected on and tested on.
        model: The network.
        weights: How the losses of the tasks are put together.
        train: How a member is trained.
        search: How many trials are made of the ranges, and how.
        promote: Where the best model goes, and what it must show before.
    """

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
