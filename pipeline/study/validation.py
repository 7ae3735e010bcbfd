"""Validates a tree: the sections as far as they can be read, and every fault at once."""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import TypeAdapter, ValidationError

from pipeline.errors import Fault
from pipeline.study.document import Tree, substitute
from pipeline.study.faults import Error, Location, faults_of, locate
from pipeline.study.spec import StudySpec

SPEC = TypeAdapter(StudySpec)

_STAND_INS: Tree = {
    "name": "study",
    "sources": {"source": {}},
    "tasks": {"task": {"kind": "binary", "target": "target"}},
}
"""What takes the place of a required section, so that the rules of the others are checked."""


def validate(tree: Tree) -> tuple[StudySpec, Tree, list[Fault]]:
    """Reads the sections of a tree, leaving out what is wrong.

    Args:
        tree: The file, with ranges.

    Returns:
        The sections, with ranges at their centres and defaults in place of what is wrong; the
        tree that they were read from; and the faults of the tree that was given.
    """
    faults: list[Fault] | None = None
    while True:
        values = substitute(tree, {})
        try:
            spec = SPEC.validate_python(values)
        except ValidationError as error:
            errors: Sequence[Error] = error.errors()
            # Faults of a later turn come from leaving something out: a task without its kind.
            faults = faults_of(errors, values) if faults is None else faults
            tree = _without(tree, [locate(found, values) for found in errors])
        else:
            return spec, tree, faults or []


def _without(tree: Tree, locations: Sequence[Location]) -> Tree:
    """Returns the tree without the values at some places; each turn leaves less of it.

    Where a required key of a task is missing, the task goes; a required section is stood in for.
    """
    pruned = tree
    for location in locations:
        if len(location) > 1 and not _has(tree, location):
            location = location[:-1]
        pruned = _remove(pruned, location)
    return {**_STAND_INS, **pruned}


def _has(tree: Any, location: Location) -> bool:
    for step in location:
        if not isinstance(tree, Mapping):
            return True  # inside a list or a range: it is there
        if step not in tree:
            return False
        tree = tree[step]
    return True


def _remove(tree: Mapping[Any, Any], location: Location) -> Tree:
    """Returns the tree without a key; a value inside a list takes the whole list along."""
    if not location:
        return {}
    first, *rest = location
    if first not in tree:
        return dict(tree)
    inner = tree[first]
    if rest and isinstance(inner, Mapping):
        return {**tree, first: _remove(inner, tuple(rest))}
    return {key: value for key, value in tree.items() if key != first}
