"""The section `train`: how a member is trained."""

from dataclasses import field
from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from pipeline.study.values import SEARCHABLE, STRICT, Count, NonNegative, Positive, Share


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
            be written, that is said once and training goes on. With `search.order: free` the search
            writes none: its open trials and its finalists start again.
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
