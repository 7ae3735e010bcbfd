"""The study file as a tree: YAML without doubled keys, and the ranges found in it."""

from collections.abc import Hashable, Iterator, Mapping
from typing import Any

import yaml
from pydantic import TypeAdapter, ValidationError

from pipeline.errors import Fault, StudyError
from pipeline.study.annotations import (
    annotation_of,
    is_searchable,
    takes_mapping,
    takes_only_whole_numbers,
)
from pipeline.study.faults import rule_of, shown
from pipeline.study.ranges import AnyRange, Choices, Range, parse_range

Tree = dict[str, Any]
"""Nested mappings of plain values, with a `Range` or `Choices` where the file has a range."""


class _Loader(yaml.SafeLoader):
    """Notes each key that stands twice in one mapping, which YAML would silently overwrite."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.doubled: list[Fault] = []

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Hashable] = set()
        for key_node, _ in node.value:
            # `<<` merges another mapping, and a list is no key: both are left to YAML itself.
            if not isinstance(key_node, yaml.ScalarNode) or key_node.tag.endswith(":merge"):
                continue
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                where = f"it again on line {key_node.start_mark.line + 1}"
                self.doubled.append(
                    Fault(key_node.value, "must not stand twice in one mapping", where,
                          "Give each task, source or key a name of its own.")
                )  # fmt: skip
            seen.add(key)
        return super().construct_mapping(node, deep)


def read_yaml(text: str, where: str) -> tuple[Tree, list[Fault]]:
    """Parses the text of a study file.

    Args:
        text: Of the file.
        where: Names the file in the error.

    Returns:
        The tree, and a fault for each key that stands twice in one mapping.

    Raises:
        StudyError: The text is no YAML, or no mapping: nothing more can be told of it.
    """
    try:
        loader = _Loader(text)
        tree = loader.get_single_data()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        found = f"on line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise StudyError(
            [Fault("study", "must be YAML", f"{found}{error.problem}")], where
        ) from error
    except yaml.YAMLError as error:
        raise StudyError([Fault("study", "must be YAML", str(error))], where) from error
    if not isinstance(tree, dict):
        hint = "`mtl init TABLE --target COLUMN -o FILE` writes one."
        raise StudyError([Fault("study", "must be a mapping of keys", shown(tree), hint)], where)
    return tree, loader.doubled


def parse_ranges(tree: Mapping[Any, Any], path: tuple[str, ...] = ()) -> tuple[Tree, list[Fault]]:
    """Replaces each mapping that stands for a range by a `Range` or `Choices`.

    A mapping stands for a range where the key takes a value: a section or a mapping of labels
    may have keys named `low` and `high`.

    Returns:
        The tree without the ranges that have faults, and the faults.
    """
    parsed: Tree = {}
    faults: list[Fault] = []
    for key, value in tree.items():
        here = (*path, str(key))
        annotation = annotation_of(here)
        if not isinstance(value, Mapping) or annotation is None:
            parsed[key] = value  # an unknown key is reported when the values are validated
        elif takes_mapping(annotation):
            parsed[key], more = parse_ranges(value, here)
            faults += more
        else:
            found, more = _read_range(".".join(here), value, annotation)
            faults += more
            if found is not None:
                parsed[key] = found
    return parsed, faults


def ranges_of(tree: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, AnyRange]]:
    """Yields each range of a tree with its dotted path, in the order of the file."""
    for key, value in tree.items():
        here = f"{path}.{key}" if path else str(key)
        if isinstance(value, AnyRange):
            yield here, value
        elif isinstance(value, Mapping):
            yield from ranges_of(value, here)


def substitute(tree: Mapping[str, Any], params: Mapping[str, Any], path: str = "") -> Tree:
    """Returns the tree with each range replaced by its value in `params`, or by its centre."""
    filled: Tree = {}
    for key, value in tree.items():
        here = f"{path}.{key}" if path else str(key)
        if isinstance(value, AnyRange):
            filled[key] = params[here] if here in params else value.centre()
        elif isinstance(value, Mapping):
            filled[key] = substitute(value, params, here)
        else:
            filled[key] = value
    return filled


def set_value(tree: Tree, path: str, value: Any) -> None:
    """Puts a value at a dotted path, making the sections on the way.

    Raises:
        StudyError: The path leads through a value that is no section.
    """
    *sections, last = path.split(".")
    for section in sections:
        tree = tree.setdefault(section, {})
        if not isinstance(tree, dict):
            raise StudyError(
                [Fault(path, f"cannot be set: `{section}` is not a section", shown(tree))]
            )
    tree[last] = value


def _read_range(
    path: str, value: Mapping[str, Any], annotation: Any
) -> tuple[AnyRange | None, list[Fault]]:
    if not is_searchable(annotation):
        return None, [Fault(path, "cannot be searched", shown(value), "Write one value.")]
    found, faults = parse_range(path, value)
    if found is None:
        return None, faults
    if isinstance(found, Range) and not found.integer and takes_only_whole_numbers(annotation):
        rule = "must be a range of whole numbers"
        return None, [Fault(path, rule, str(found), "Write low, high and step as whole numbers.")]
    accepted = []
    for name, bound in found.bounds():
        try:
            accepted.append(TypeAdapter(annotation).validate_python(bound))
        except ValidationError as error:
            faults.append(Fault(f"{path}.{name}", rule_of(error.errors()), shown(bound)))
    if faults:
        return None, faults
    # The accepted form: YAML 1.1 reads a choice such as `1e-4` as text.
    return (Choices(tuple(accepted)) if isinstance(found, Choices) else found), []
