"""From what pydantic found to faults in plain English, each at the key that the file has."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pipeline.errors import Fault, near_miss
from pipeline.study.annotations import keys_of, sections_with
from pipeline.study.ranges import AnyRange, looks_like_range

Error = Mapping[str, Any]
"""One of `ValidationError.errors()`: its type, location, message, input and context."""

Location = tuple[Any, ...]
"""Keys and list positions that lead to a value of the file."""

_UNKNOWN = ("unexpected_keyword_argument", "invalid_key")
_MISSING = ("missing", "missing_argument")

_PHRASES = {
    "string_type": "a text",
    "string_too_long": "at most {max_length} characters long",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "list_type": "a list",
    "dict_type": "a mapping of keys to values",
    "dataclass_type": "a mapping of keys to values",
    "greater_than": "above {gt:g}",
    "greater_than_equal": "at least {ge:g}",
    "less_than": "below {lt:g}",
    "less_than_equal": "at most {le:g}",
    "too_short": "a mapping of at least {min_length} entry",
}

_RANGES = {
    "train.sampling": "A range of mixes is one of their temperature, from 1, which is "
    "`proportional`, to one that is almost `uniform`: `{temperature: {choices: [1, 2, 100]}}`.",
}
"""How a range is written where a section takes none itself."""

_PATTERNS = {
    r"^[A-Za-z][A-Za-z0-9_]*$": "a name of letters, digits and `_` that begins with a letter",
    r"^[A-Za-z0-9][A-Za-z0-9_-]*$": (
        "a name of letters, digits, `_` and `-` that begins with a letter or digit"
    ),
}

_EXAMPLES = {
    "name": "Write `name: my_study`.",
    "sources": "Write `sources: {people: {path: people.csv}}`.",
    "tasks": "Write `tasks: {income: {kind: binary, target: income}}`.",
    "kind": "Write the kind of the target, such as `kind: binary`.",
    "target": "Write the column of the labels, such as `target: income`.",
}


def locate(error: Error, tree: Mapping[Any, Any]) -> Location:
    """Returns where in the file an error is, without the steps that only pydantic has.

    Pydantic's locations also name the branch of a union (`list[str]`) and mark a key (`[key]`).
    A step counts if the file has it, or if it is the key that the file lacks.
    """
    location: list[Any] = []
    current: Any = tree
    last = len(error["loc"]) - 1
    for position, step in enumerate(error["loc"]):
        if _has(current, step):
            current = current[step]
            location.append(step)
        elif position == last and error["type"] in _MISSING:
            location.append(step)
    return tuple(location)


def faults_of(errors: Sequence[Error], tree: Mapping[Any, Any]) -> list[Fault]:
    """Returns one fault a place: the branches of a union each complain of the same value."""
    groups: dict[Location, list[Error]] = {}
    for error in errors:
        groups.setdefault(locate(error, tree), []).append(error)
    return [
        _fault(location, group)
        for location, group in groups.items()
        # A complaint from within a value is that of the branch which the value was meant for.
        if group[0]["loc"][-1] == "[key]" or not any(_within(other, location) for other in groups)
    ]


def rule_of(errors: Sequence[Error]) -> str:
    """Returns what errors of one value ask for: "must be a text or a list"."""
    phrases = dict.fromkeys(_phrase(error) for error in errors)
    if "a number" in phrases:
        phrases.pop("a whole number", None)
    return f"must be {' or '.join(phrases)}"


def shown(value: object) -> str:
    """Returns a value as a study file would show it, cut to 60 characters."""
    if value is None:
        return "nothing (null)"
    if isinstance(value, bool):
        return str(value).lower()
    text = repr(value) if isinstance(value, str | list | dict) else str(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _has(current: object, step: object) -> bool:
    if isinstance(current, list):
        return isinstance(step, int) and step < len(current)
    return isinstance(current, Mapping) and step in current


def _within(inner: Location, outer: Location) -> bool:
    return len(inner) > len(outer) and inner[: len(outer)] == outer


def _fault(location: Location, errors: Sequence[Error]) -> Fault:
    key = ".".join(str(step) for step in location) or "study"
    kind, found = errors[0]["type"], errors[0]["input"]
    if kind in _UNKNOWN:
        path = tuple(str(step) for step in location)
        return Fault(key, "is not a key of the study file", shown(found), _nearest(path))
    if kind in _MISSING:
        return Fault(key, "is missing", hint=_EXAMPLES.get(str(location[-1]), ""))
    return Fault(key, rule_of(errors), shown(found), " ".join(_hints(errors, found)))


def _nearest(path: tuple[str, ...]) -> str:
    """Suggests where an unknown key belongs: another section has it, or a near name is beside."""
    if path[-1] in ("choices", "low", "high") and ".".join(path[:-1]) in _RANGES:
        return _RANGES[".".join(path[:-1])]
    sections = [section for section in sections_with(path[-1]) if section != path[0]]
    if sections:
        return f"Did you mean {' or '.join(f'`{section}.{path[-1]}`' for section in sections)}?"
    return near_miss(path[-1], keys_of(path[:-1]))


def _phrase(error: Error) -> str:
    context = error.get("ctx") or {}
    if error["type"] == "literal_error":
        return str(context["expected"]).replace("'", "`")
    if error["type"] == "string_pattern_mismatch":
        return _PATTERNS.get(context["pattern"], f"a text like {context['pattern']}")
    if error["type"] in _PHRASES:
        return _PHRASES[error["type"]].format(**context)
    return str(error["msg"]).rpartition("should be ")[2]


def _hints(errors: Sequence[Error], found: object) -> Iterator[str]:
    kinds = [error["type"] for error in errors]
    options = [
        option
        for error in errors
        if error["type"] == "literal_error"
        for option in re.findall(r"'([^']*)'", error["ctx"]["expected"])
    ]
    if isinstance(found, str) and len(options) > 1:
        yield near_miss(found, options)
    if found is None:
        yield "Give it a value, or leave the key out."
    elif "string_type" in kinds and isinstance(found, bool):
        yield "YAML reads yes, no, on and off without quotes as true or false: write quotes."
    elif "string_type" in kinds and not isinstance(found, list | dict | AnyRange):
        yield f'Write it in quotes: "{found}".'
    if looks_like_range(found):
        yield "A range stands in place of a whole list: `{choices: [[32], [64, 64]]}`."
