"""Tasks of one source that read different columns: its rows once more, as a source of their own.

The rows of that source stand in the parts and groups of the rows that they are of. What a task
does not read is missing there, as a column of another source is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pandas as pd

from pipeline.data.references import target_columns
from pipeline.data.rows import SourceRows, free_name, split_source
from pipeline.study.source_spec import SourceSpec, SplitSpec
from pipeline.study.spec import StudySpec

_PART, _GROUP, _ID = "view.part", "view.group", "view.id"


def with_views(
    spec: StudySpec, frames: Mapping[str, pd.DataFrame]
) -> tuple[StudySpec, Mapping[str, pd.DataFrame]]:
    """Returns the study and its rows, in which all tasks of a source read the same columns.

    Args:
        spec: The study, whose columns its sources have.
        frames: All rows of each source.
    """
    for source in list(spec.sources):
        spec, frames = _divide(spec, frames, source)
    return spec, frames


def _divide(
    spec: StudySpec, frames: Mapping[str, pd.DataFrame], source: str
) -> tuple[StudySpec, Mapping[str, pd.DataFrame]]:
    readers: dict[tuple[str, ...], list[str]] = {}  # columns to the tasks that read them
    for name, task in spec.tasks.items():
        if spec.source_of(name) == source:
            readers.setdefault(tuple(task.inputs or ()), []).append(name)
    if set(readers) <= {()}:
        return spec, frames
    rows = split_source(spec, source, frames[source])
    stays = () if () in readers else next(iter(readers))
    sources, tasks, found = dict(spec.sources), dict(spec.tasks), dict(frames)
    for inputs, names in readers.items():
        if not inputs:
            continue
        own = source if inputs == stays else free_name(f"{source[:40]}_{names[0][:18]}", sources)
        sources[own] = _source(spec, source, inputs)
        found[own] = _rows(rows, _columns(spec, inputs, names))
        tasks |= {name: replace(tasks[name], source=own) for name in names}
    ordered = {name: found[name] for name in sources}
    return replace(spec, sources=sources, tasks=tasks), ordered


def _source(spec: StudySpec, origin: str, inputs: Sequence[str]) -> SourceSpec:
    source, split = spec.sources[origin], spec.split_of(origin)

    def read(columns: Sequence[str]) -> list[str]:
        return [column for column in columns if column in inputs]

    return replace(
        source, id=_ID, drop=[], numeric=read(source.numeric), boolean=read(source.boolean),
        categorical=read(source.categorical), text=read(source.text_columns) or None,
        split=SplitSpec(
            column=_PART, group=_GROUP if split.group else None, duplicates=split.duplicates
        ),
    )  # fmt: skip


def _columns(spec: StudySpec, inputs: Sequence[str], tasks: Sequence[str]) -> list[str]:
    """Returns the columns that tasks need: their inputs, targets and documents."""
    named = [*inputs]
    for name in tasks:
        task = spec.tasks[name]
        named += target_columns(spec, name)
        named += [column for column in (task.text, task.title, task.per) if column is not None]
    return list(dict.fromkeys(named))


def _rows(rows: SourceRows, columns: Sequence[str]) -> pd.DataFrame:
    frame = rows.frame[list(columns)].copy()
    frame[_PART] = rows.parts
    if rows.groups is not None:
        frame[_GROUP] = rows.groups.astype(str)
    ids = pd.Series(rows.ids.astype(str))
    again = ids.groupby(ids).cumcount()  # rows that are named by their content may be doubled
    frame[_ID] = ids.where(again == 0, ids + "-" + again.astype(str)).to_numpy()
    return frame
