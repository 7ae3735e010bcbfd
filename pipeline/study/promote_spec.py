"""The section `promote` of a study file."""

from dataclasses import field
from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from pipeline.study.values import STRICT, Name, NonNegative, Positive, StudyName

RIVALS = ("constant", "linear", "boosting", "equal_weights", "single_task")
"""Rows of the comparison that a candidate can be asked to beat."""


@dataclass(frozen=True, config=STRICT)
class GatesSpec:
    """What a candidate must show before it becomes champion.

    Attributes:
        min_gain: Least gain of the mean test score over the champion's, which must be reached with
            `confidence`. 0 asks for any gain; a negative one lets a model through that is no
            better but surely not much worse.
        max_task_loss: Most that any one task's test score may lose against the champion's.
        confidence: Chance with which a candidate that gains no more than `min_gain`, or is no
            better than a row that it must beat, is refused: 0.95 lets one in twenty through.
        beat: Rows of the comparison that its mean test score must be above, with `confidence`;
            the constant always is one. Those that are not named and score higher are warned of.
        max_latency_ms: Most milliseconds that 95 % of single rows may take; any by default, as
            machines differ.
        max_size_mb: Most megabytes that the model's files may have; any by default.
        clean_git: Refuse a model that was trained, or is promoted, with changes in the working
            tree that are not committed, which are warned of otherwise.
    """

    min_gain: float = 0.0
    max_task_loss: NonNegative = 0.01
    confidence: Annotated[float, Field(ge=0.5, lt=1)] = 0.95
    beat: list[str] = field(default_factory=list)
    max_latency_ms: Positive | None = None
    max_size_mb: Positive | None = None
    clean_git: bool = False


@dataclass(frozen=True, config=STRICT)
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
