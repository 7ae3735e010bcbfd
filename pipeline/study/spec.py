"""What a study file may say: its sections, each of which has a file of its own.

The sections are frozen dataclasses that pydantic validates. Here every value is a value: where the
file has a range, the section holds the range's centre (see `loading`), or, inside a trial, the
value that the trial chose (`Study.at`). `SEARCHABLE` marks the keys where a range may stand.
"""

from collections.abc import Mapping
from dataclasses import field
from typing import Annotated, Any

from pydantic import Field
from pydantic.dataclasses import dataclass

from pipeline.study.model_spec import ModelSpec
from pipeline.study.promote_spec import PromoteSpec
from pipeline.study.search_spec import SearchSpec
from pipeline.study.source_spec import SourceSpec, SplitSpec
from pipeline.study.task_spec import TaskSpec
from pipeline.study.train_spec import TrainSpec
from pipeline.study.values import STRICT, Name, StudyName
from pipeline.study.weights_spec import WeightsSpec


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
