"""What the model of the study file says of a key: whether it is searched, and what it takes."""

from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from functools import cache
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from pipeline.study.spec import StudySpec
from pipeline.study.values import SEARCHABLE


@cache
def annotation_of(path: tuple[str, ...]) -> Any:
    """Returns the annotation of a key, given as the keys that lead to it.

    Returns:
        None where the study file has no such key.
    """
    current: Any = StudySpec
    for key in path:
        mapping = next((found for found in branches(current) if _is_mapping(found)), None)
        if mapping is None:
            return None
        if is_dataclass(mapping):
            current = get_type_hints(mapping, include_extras=True).get(key)
        else:
            current = get_args(mapping)[1]
    return current


def is_searchable(annotation: Any) -> bool:
    """Tells whether a range may stand at a key."""
    return SEARCHABLE in get_args(annotation)


def takes_mapping(annotation: Any) -> bool:
    """Tells whether a key holds a section or a mapping, so that `low` there is a key of its own."""
    return any(_is_mapping(found) for found in branches(annotation))


def takes_only_whole_numbers(annotation: Any) -> bool:
    """Tells whether a key refuses a number with a fraction."""
    types = branches(annotation)
    return int in types and float not in types


def keys_of(path: tuple[str, ...]) -> tuple[str, ...]:
    """Returns the keys that a section has; none where the path leads to no section."""
    for found in branches(annotation_of(path)):
        if is_dataclass(found):
            return tuple(field.name for field in fields(found))
    return ()


def sections_with(key: str) -> list[str]:
    """Returns the top sections that have a key, such as `train` for `lr`."""
    return [section for section in keys_of(()) if key in keys_of((section,))]


def branches(annotation: Any) -> Sequence[Any]:
    """Returns the types of a union, or the one type, without their notes."""
    if get_origin(annotation) is Annotated:
        return branches(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return [found for branch in get_args(annotation) for found in branches(branch)]
    return [annotation]


def _is_mapping(found: Any) -> bool:
    return is_dataclass(found) or get_origin(found) is dict
