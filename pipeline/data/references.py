"""The columns that a study names, against those that its sources have."""

from collections.abc import Iterator, Mapping, Sequence

from pipeline.errors import Fault, near_miss
from pipeline.study.spec import StudySpec

Columns = Mapping[str, Sequence[str]]


def reference_faults(spec: StudySpec, columns: Columns) -> list[Fault]:
    """Returns a fault for each column that the study names and its source lacks.

    Args:
        spec: The study.
        columns: Columns of each source that could be read; others are passed over.
    """
    named = [*_source_columns(spec), *_task_columns(spec), *_split_columns(spec)]
    faults = []
    for key, source, column in named:
        known = columns.get(source)
        if known is not None and column not in known:
            rule = f"is no column of source `{source}`"
            faults.append(Fault(key, rule, column, near_miss(column, list(known))))
    return faults


def target_columns(spec: StudySpec, task: str) -> list[str]:
    """Returns the target columns of a task of the study file."""
    target = spec.tasks[task].target
    return [target] if isinstance(target, str) else list(target)


def strata_columns(spec: StudySpec, source: str) -> list[str]:
    """Returns the columns whose values together are the class that a split stratifies by.

    They are empty where the split does not stratify, or by a task of another source.
    """
    stratify = spec.split_of(source).stratify
    if stratify is None:
        return []
    if stratify in spec.tasks:
        return target_columns(spec, stratify) if spec.source_of(stratify) == source else []
    return [stratify]


_Named = Iterator[tuple[str, str, str]]  # key of the study file, source, column


def _source_columns(spec: StudySpec) -> _Named:
    for name, source in spec.sources.items():
        if source.id is not None:
            yield f"sources.{name}.id", name, source.id
        for key in ("drop", "numeric", "categorical", "boolean"):
            for column in getattr(source, key):
                yield f"sources.{name}.{key}", name, column
        for column in source.text_columns:
            yield f"sources.{name}.text", name, column


def _task_columns(spec: StudySpec) -> _Named:
    for name, task in spec.tasks.items():
        source = spec.source_of(name)
        for column in target_columns(spec, name):
            yield f"tasks.{name}.target", source, column
        for column in task.inputs or ():
            yield f"tasks.{name}.inputs", source, column
        if task.per is not None:
            yield f"tasks.{name}.per", source, task.per
        for key in ("text", "title"):
            column = getattr(task, key)
            # With labels of pieces as its target, a summary reads its document no more.
            if column is not None and isinstance(task.target, str):
                yield f"tasks.{name}.{key}", source, column


def _split_columns(spec: StudySpec) -> _Named:
    for name, source in spec.sources.items():
        split = spec.split_of(name)
        key = "split" if source.split is None else f"sources.{name}.split"
        for way in ("column", "group", "time"):
            column = getattr(split, way)
            if column is not None:
                yield f"{key}.{way}", name, column
        for column in strata_columns(spec, name):
            yield f"{key}.stratify", name, column
