"""What a study file says of its end: finalists, gates, and where the best model goes."""

from dataclasses import field
from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from pipeline.study.values import STRICT, Name, NonNegative, StudyName


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
class GatesSpec:
    """What a candidate must show before it becomes champion.

    Attributes:
        min_gain: Least gain of the mean test score over the champion's.
        max_task_loss: Most that any one task's test score may lose against the champion's.
    """

    min_gain: float = 0.0
    max_task_loss: NonNegative = 0.01


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
