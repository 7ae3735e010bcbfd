"""The section `model`: the network."""

from dataclasses import field
from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from pipeline.study.encoder_spec import EncoderSpec
from pipeline.study.values import SEARCHABLE, STRICT, Count, Options, Share


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
