"""From what is stored of a task back to its kind."""

from pipeline.study import catalogue
from pipeline.tasks.base import Kind, TaskInfo


def kind_of(info: TaskInfo) -> Kind:
    """Returns the kind of a task, bound to what was fitted on its labels."""
    kind: Kind = catalogue.load("kind", info.kind)(info)
    return kind
