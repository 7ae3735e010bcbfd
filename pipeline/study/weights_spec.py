"""The section `weights` of a study file."""

from dataclasses import field
from typing import Annotated

from pydantic.dataclasses import dataclass

from pipeline.study.values import SEARCHABLE, STRICT, NonNegative, Options, Positive


@dataclass(frozen=True, config=STRICT)
class WeightsSpec:
    """The loss weights.

    With `fixed`, the first task is the reference; the others' ratios to it are searched on a log
    scale, then all weights are scaled to sum to the number of tasks. Other strategies set weights
    while a member trains; each reads the keys that the catalogue names. What a strategy does, its
    paper and its formula stand in pipeline/training/weighting.

    Attributes:
        strategy: How weights are set; a catalogue name, or `module:Name` of your own code. Trials
            of different strategies train in arrays of their own.
        low: Of `fixed`: smallest ratio of a task's weight to the first task's; 0.1 by default.
        high: Of `fixed`: largest ratio; 10 by default.
        values: Of `fixed`: weight of each task, in place of `low` and `high`.
        temperature: Of `dwa` and `uw_so`: the larger, the more alike the weights; null for 2 with
            `dwa`, as in its paper, and 1 with `uw_so`, where inverse losses count as they are.
        mu: Of `stch`: how far below the largest loss others still count; null for 1, the
            smoothest that its paper tries.
        own_lr: Of `uncertainty` and `famo`: learning rate of what they learn themselves; null for
            the member's own with `uncertainty`, and for 0.025 with `famo`, as in its paper.
        options: What a strategy of your own reads, by names of its own choice.
    """

    strategy: Annotated[str, SEARCHABLE] = "fixed"
    low: Positive | None = None
    high: Positive | None = None
    values: dict[str, Annotated[NonNegative, SEARCHABLE]] = field(default_factory=dict)
    temperature: Annotated[Positive | None, SEARCHABLE] = None
    mu: Annotated[Positive | None, SEARCHABLE] = None
    own_lr: Annotated[Positive | None, SEARCHABLE] = None
    options: Options = field(default_factory=dict)
