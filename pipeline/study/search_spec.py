"""The section `search`: how many trials are made of the ranges, and how."""

from dataclasses import field
from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from pipeline.study.values import STRICT, Count, Name


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
