"""The section `promote` of a study file."""

from dataclasses import field

from pydantic.dataclasses import dataclass

from pipeline.study.values import STRICT, Name, NonNegative, StudyName


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
