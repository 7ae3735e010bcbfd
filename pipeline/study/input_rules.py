"""Rules about what a task reads: a target is never an input, not of any task."""

from collections.abc import Iterable

from pipeline.errors import Fault
from pipeline.study.spec import StudySpec
from pipeline.study.text_rules import column_roles


def input_faults(spec: StudySpec) -> Iterable[Fault]:
    """Yields what is wrong with the columns that tasks read."""
    roles = column_roles(spec)
    for name, task in spec.tasks.items():
        if task.inputs is not None:
            yield from _named_faults(spec, name, task.inputs, roles)
        for role in ("text", "title"):
            column = getattr(task, role)
            if column in roles and column != task.target:  # its own target: see `rules`
                yield Fault(f"tasks.{name}.{role}", f"must not be the {roles[column]} too", column,
                            "A model would read its own answer.")  # fmt: skip


def _named_faults(
    spec: StudySpec, name: str, inputs: list[str], roles: dict[str, str]
) -> Iterable[Fault]:
    key, task = f"tasks.{name}.inputs", spec.tasks[name]
    if task.kind == "summarisation":
        yield Fault(key, "is not read by `summarisation`", ", ".join(inputs),
                    "It reads `text` and `title`.")  # fmt: skip
        return
    if not inputs:
        yield Fault(key, "must name a column", "an empty list")
    source = spec.sources.get(spec.source_of(name))
    typed = [] if source is None else [*source.numeric, *source.categorical, *source.boolean]
    for column in dict.fromkeys(inputs):
        if inputs.count(column) > 1:
            yield Fault(key, "must not list a column twice", column)
        if column in roles:
            yield Fault(key, f"must not name the {roles[column]}", column,
                        "A model would read its own answer.")  # fmt: skip
        elif source is not None and column in source.drop:
            yield Fault(key, "must not name a column under `drop`", column)
        elif source is not None and source.text and column not in (*source.text_columns, *typed):
            hint = "Name it there under `text`, `numeric`, `categorical` or `boolean`."
            yield Fault(key, "must be listed by its source, which has texts", column, hint)
