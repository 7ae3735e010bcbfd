"""The study file as a tree: YAML without doubled keys, and the ranges found in it."""

from collections.abc import Hashable, Iterator, Mapping
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import yaml
from pydantic import TypeAdapter, ValidationError

from pipeline.errors import Fault, StudyError
from pipeline.study.ranges import AnyRange, looks_like_range, parse_range
from pipeline.study.spec import SEARCHABLE, StudySpec

Tree = dict[str, Any]
"""Nested mappings of plain values, with a `Range` or `Choices` where the file has a range."""


class _Loader(yaml.SafeLoader):
    """Refuses a key that stands twice in one mapping, which YAML would silently overwrite."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Hashable] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                where = f"line {key_node.start_mark.line + 1}"
                raise StudyError([Fault(str(key), "stands twice in one mapping", where,
                                        "Give each task, source or key a name of its own.")])  # fmt: skip
            seen.add(key)
        return super().construct_mapping(node, deep)


def read_yaml(text: str, where: str) -> Tree:
    """Parses the text of a study file.

    Raises:
        StudyError: The text is no YAML, no mapping, or a key stands twice.
    """
    try:
        tree = yaml.load(text, Loader=_Loader)  # noqa: S506 - a subclass of SafeLoader
    except yaml.YAMLError as error:
        raise StudyError([Fault("study", f"is not valid YAML: {error}")], where) from error
    if not isinstance(tree, dict):
        found = type(tree).__name__
        raise StudyError([Fault("study", "must be a mapping of keys", found)], where)
    return tree


def parse_ranges(tree: Mapping[str, Any], path: str = "") -> tuple[Tree, list[Fault]]:
    """Replaces each mapping that stands for a range by a `Range` or `Choices`."""
    parsed: Tree = {}
    faults: list[Fault] = []
    for key, value in tree.items():
        here = f"{path}.{key}" if path else str(key)
        # `weights` itself has the keys low and high: the bounds of every ratio.
        if here != "weights" and looks_like_range(value):
            found, more = parse_range(here, value)
            faults += more
            if found is not None:
                faults += _acceptance_faults(here, found)
                parsed[key] = found
        elif isinstance(value, Mapping):
            parsed[key], more = parse_ranges(value, here)
            faults += more
        else:
            parsed[key] = value
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
    """Puts a value at a dotted path, making the sections on the way."""
    *sections, last = path.split(".")
    for section in sections:
        tree = tree.setdefault(section, {})
        if not isinstance(tree, dict):
            raise StudyError([Fault(path, "names a key inside a value", section)])
    tree[last] = value


def _acceptance_faults(path: str, found: AnyRange) -> list[Fault]:
    """Tells where a range stands that must not, or holds values that the key refuses."""
    annotation = _annotation(path)
    if annotation is None:
        return []  # an unknown key: reported when the values are validated
    if SEARCHABLE not in get_args(annotation):
        return [Fault(path, "cannot be searched", str(found), "Write one value.")]
    faults = []
    adapter = TypeAdapter(annotation)
    for name, value in found.bounds():
        try:
            adapter.validate_python(value)
        except ValidationError as error:
            faults.append(Fault(f"{path}.{name}", rule_of(error.errors()[0]), repr(value)))
    return faults


def rule_of(error: Mapping[str, Any]) -> str:
    """Turns pydantic's sentence into a clause: "Input should be ..." becomes "should be ..."."""
    message = str(error["msg"]).removeprefix("Value error, ")
    for start in ("Input should ", "Value should ", "List should ", "Dictionary should "):
        if message.startswith(start):
            return "should " + message.removeprefix(start)
    return message[:1].lower() + message[1:]


def _annotation(path: str) -> Any:
    """Returns the annotation that the spec gives a dotted path; None where it has no such key."""
    current: Any = StudySpec
    for key in path.split("."):
        bare = get_args(current)[0] if get_origin(current) is Annotated else current
        if get_origin(bare) is dict:
            current = get_args(bare)[1]
        elif hasattr(bare, "__dataclass_fields__"):
            hints = get_type_hints(bare, include_extras=True)
            if key not in hints:
                return None
            current = hints[key]
        else:
            return None
    return current
