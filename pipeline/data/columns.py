"""Which columns are inputs, and what each holds: numbers, categories, or yes and no."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import pandas as pd

from pipeline.data.encoding import FALSE_WORDS, TRUE_WORDS, parse_numbers
from pipeline.data.values import as_text
from pipeline.study.source_spec import SourceSpec
from pipeline.study.spec import StudySpec

ColumnType = Literal["numeric", "categorical", "boolean"]

MAX_CATEGORIES = 1000
FREE_TEXT = "it looks like free text. Name it under `text`, or under `drop`."
LONG_TEXT = 50  # characters of the middle value: longer ones are sentences, not names

_WORDS = (TRUE_WORDS | FALSE_WORDS) - {"0", "1"}  # 0 and 1 alone are numbers


def role_columns(spec: StudySpec) -> dict[str, str]:
    """Returns the columns that are no inputs, each with its role."""
    roles: dict[str, str] = {}
    for task_name, task in spec.tasks.items():
        if task.per is not None:
            roles[task.per] = f"per of task `{task_name}`"
        for column in [task.target] if isinstance(task.target, str) else task.target:
            roles[column] = f"target of task `{task_name}`"
    for name, source in spec.sources.items():
        split = spec.split_of(name)
        named = {"id": source.id, "split": split.column, "group": split.group, "time": split.time}
        roles.update({column: role for role, column in named.items() if column is not None})
        roles.update(dict.fromkeys(source.drop, "drop"))
    return roles


def input_columns(spec: StudySpec, frames: Mapping[str, pd.DataFrame]) -> list[str]:
    """Returns the columns of any source that have no other role, in their order.

    Texts are not among them. Beside a text, a column is an input only where the file types it.
    """
    roles = {**role_columns(spec), **dict.fromkeys(text_columns(spec), "text")}
    names: dict[str, None] = {}
    for source, frame in frames.items():
        listed = _listed(spec.sources[source])
        has_text = spec.sources[source].text is not None
        names |= dict.fromkeys(
            str(name) for name in frame.columns if not has_text or str(name) in listed
        )
    return [name for name in names if name not in roles]


def text_columns(spec: StudySpec) -> list[str]:
    """Returns the text columns of all sources."""
    return list(dict.fromkeys(c for source in spec.sources.values() for c in source.text_columns))


def beside_texts(spec: StudySpec, frames: Mapping[str, pd.DataFrame]) -> dict[str, list[str]]:
    """Returns, for each source with texts, the columns that are no inputs for that reason."""
    roles = role_columns(spec)
    return {
        name: [str(column) for column in frame
               if str(column) not in {*roles, *source.text_columns, *_listed(source)}]
        for name, frame in frames.items()
        if (source := spec.sources[name]).text is not None
    }  # fmt: skip


def beside_warnings(spec: StudySpec, frames: Mapping[str, pd.DataFrame]) -> list[str]:
    """Returns a sentence a source about the columns beside its texts."""
    return [
        f"Source `{source}`: {', '.join(f'`{name}`' for name in columns)} "
        f"{'are' if len(columns) > 1 else 'is'} left out, as always beside a text. List what is "
        "known when predicting under `numeric`, `categorical` or `boolean`."
        for source, columns in beside_texts(spec, frames).items()
        if columns
    ]


def _listed(source: SourceSpec) -> dict[str, ColumnType]:
    types: dict[str, ColumnType] = {}
    types.update(dict.fromkeys(source.numeric, "numeric"))
    types.update(dict.fromkeys(source.categorical, "categorical"))
    types.update(dict.fromkeys(source.boolean, "boolean"))
    return types


def listed_types(spec: StudySpec) -> dict[str, ColumnType]:
    """Returns the columns whose type the study file gives."""
    types: dict[str, ColumnType] = {}
    for source in spec.sources.values():
        types.update(_listed(source))
    return types


def type_columns(
    train: pd.DataFrame, names: Sequence[str], listed: Mapping[str, ColumnType]
) -> tuple[dict[str, ColumnType], dict[str, str]]:
    """Decides from the train rows what each input column holds.

    Args:
        train: Train rows.
        names: Input columns.
        listed: Types given in the study file, which hold whatever a column looks like.

    Returns:
        Type of each column that is kept, and the reason for each one that is left out.
    """
    types: dict[str, ColumnType] = {}
    left_out = {}
    for name in names:
        reason = _useless(train[name])
        found = listed.get(name)
        if not reason and found is None:
            found, reason = _guess(train[name])
        if reason or found is None:
            left_out[name] = reason
        else:
            types[name] = found
    return types, left_out


def left_out_warnings(left_out: Mapping[str, str]) -> list[str]:
    """Returns a sentence a reason: pictures may have a hundred columns of one value."""
    columns: dict[str, list[str]] = {}
    for name, reason in left_out.items():
        columns.setdefault(reason, []).append(f"`{name}`")
    return [
        f"Column{'s' if len(names) > 1 else ''} {', '.join(names)} "
        f"{'are' if len(names) > 1 else 'is'} left out: {reason}"
        for reason, names in columns.items()
    ]


def _useless(values: "pd.Series[Any]") -> str:
    text = as_text(values)
    missing = pd.isna(text)
    if missing.all():
        return "it is empty in the train rows."
    if not missing.any() and len(pd.unique(text)) == 1:
        return f"the value is {text[0]!r} in every train row."
    return ""


def _guess(values: "pd.Series[Any]") -> tuple[ColumnType | None, str]:
    if values.dtype.kind == "b":
        return "boolean", ""
    if values.dtype.kind in "iuf":
        return "numeric", ""
    if values.dtype.kind in "mM":
        return None, "it holds times. Name it under `split.time` or `drop`, or give numbers."
    if any(isinstance(value, list | dict) or hasattr(value, "shape") for value in values.head(100)):
        return None, "it holds lists. Name it under `drop`, or give a column for each entry."
    if isinstance(values.dtype, pd.CategoricalDtype):
        return "categorical", ""
    text = pd.Series(as_text(values)).dropna()
    if text.str.strip().str.lower().isin(_WORDS).all():
        return "boolean", ""
    if not parse_numbers(values)[1].any():
        return "numeric", ""
    return _guess_text(text)


def _guess_text(text: "pd.Series[str]") -> tuple[ColumnType | None, str]:
    n_distinct = text.nunique()
    if n_distinct > len(text) / 2 and text.str.len().median() > LONG_TEXT:
        return None, FREE_TEXT
    if n_distinct == len(text):
        return None, (
            "it looks like an id: every train row has a text of its own. "
            "Name it under `id`, `drop` or `categorical`."
        )
    return "categorical", ""
