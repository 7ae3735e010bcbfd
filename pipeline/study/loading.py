"""From a study file to a `Study`: every fault at once."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml
from pydantic import TypeAdapter, ValidationError

from pipeline.errors import Fault, InputError, StudyError, near_miss
from pipeline.study.document import (
    Tree,
    parse_ranges,
    ranges_of,
    read_yaml,
    rule_of,
    set_value,
    substitute,
)
from pipeline.study.ranges import AnyRange, Choices, Range, label
from pipeline.study.rules import rule_faults
from pipeline.study.spec import Params, StudySpec

_SPEC = TypeAdapter(StudySpec)
_DEFAULT_RATIO = (0.1, 10.0)  # a task may count for a tenth or for ten times the first


@dataclass(frozen=True)
class Study:
    """A checked study file.

    Attributes:
        spec: Its sections, with the centre of each range as value.
        tree: The file as written, ranges as `Range` and `Choices`.
        text: The file's text.
        folder: Where paths of the file are looked up first.
        data_dir: Where they are looked up next.
    """

    spec: StudySpec
    tree: Tree
    text: str
    folder: Path
    data_dir: Path | None = None

    @cached_property
    def ranges(self) -> Mapping[str, AnyRange]:
        """What is searched, by dotted path, in the order of the file."""
        return dict(ranges_of(self.tree))

    def centre(self) -> Params:
        """Returns trial 0: each range at its centre, and all tasks weighted equally."""
        params = {path: label(found.centre()) for path, found in self.ranges.items()}
        given = self.spec.weights.values
        fixed = [weight for task, weight in given.items() if f"weights.values.{task}" not in params]
        reference = fixed[0] if fixed else 1.0
        for path, found in self.ranges.items():
            if path.startswith("weights.values.") and isinstance(found, Range):
                params[path] = found.snap(reference)
        return params

    def at(self, params: Params) -> StudySpec:
        """Returns the sections with the values of one trial.

        Args:
            params: Scalars by dotted path, as Optuna holds them; a list is a JSON text.
        """
        values = {}
        for path, value in params.items():
            found = self.ranges.get(path)
            values[path] = found.value(value) if isinstance(found, Choices) else value
        return _SPEC.validate_python(substitute(self.tree, values))


def load_study(
    path: str | Path,
    overrides: Mapping[str, Any] | None = None,
    data_dir: str | Path | None = None,
) -> Study:
    """Reads and checks a study file.

    Args:
        path: The YAML file.
        overrides: Values by dotted path that replace what the file says (`--set`).
        data_dir: Folder in which data files are looked up when they are not beside the file.

    Raises:
        InputError: There is no such file, or it is no text.
        StudyError: The file has faults; all of them are told.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"The study file {path} cannot be read: {error}. "
            "`mtl init TABLE --target COLUMN -o FILE` writes one."
        ) from error
    return parse_study(text, path.parent, overrides, data_dir, where=str(path))


def parse_study(
    text: str,
    folder: str | Path = ".",
    overrides: Mapping[str, Any] | None = None,
    data_dir: str | Path | None = None,
    where: str = "The study",
) -> Study:
    """Checks the text of a study file; see `load_study`."""
    tree = read_yaml(text, where)
    for key, value in (overrides or {}).items():
        set_value(tree, key, value)
    tree, faults = parse_ranges(tree)
    faults += _expand_weights(tree)
    spec, more = _validate(substitute(tree, {}))
    faults += more
    if spec is not None:
        faults += rule_faults(spec, tree)
    if faults or spec is None:
        raise StudyError(faults, where)
    return Study(spec, tree, text, Path(folder), Path(data_dir) if data_dir else None)


def parse_setting(text: str) -> tuple[str, Any]:
    """Splits `KEY=VALUE` of the command line; the value is read as YAML."""
    key, separator, value = text.partition("=")
    if not separator or not key.strip():
        raise StudyError([Fault("--set", "must be KEY=VALUE", text, "Such as train.lr=0.001.")])
    return key.strip(), yaml.safe_load(value)


def schema() -> dict[str, Any]:
    """Returns the JSON Schema of a study file, for editors."""
    found = _SPEC.json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **found}


def _expand_weights(tree: Tree) -> list[Fault]:
    """Writes the bounds `low` and `high` out as one ratio a task, so that each has a name."""
    weights = tree.get("weights", {})
    tasks = tree.get("tasks")
    if not isinstance(weights, dict) or not isinstance(tasks, dict):
        return []  # reported when the values are validated
    if weights.get("strategy", "fixed") != "fixed" or weights.get("values"):
        return []
    low, high = (
        weights.get(name, default)
        for name, default in zip(("low", "high"), _DEFAULT_RATIO, strict=True)
    )
    bounds, faults = parse_ranges({"weights.": {"low": low, "high": high, "log": True}})
    if faults:
        return [Fault(f.key.replace("weights..", "weights."), f.rule, f.found, f.hint)
                for f in faults]  # fmt: skip
    ratio = bounds["weights."]
    first, *others = tasks
    ratio = Range(float(ratio.low), float(ratio.high), log=True)
    tree["weights"] = {
        "strategy": "fixed",
        "values": {first: 1.0, **dict.fromkeys(others, ratio)},
        **{key: value for key, value in weights.items() if key not in ("low", "high", "strategy")},
    }
    return []


def _validate(tree: Tree) -> tuple[StudySpec | None, list[Fault]]:
    try:
        return _SPEC.validate_python(tree), []
    except ValidationError as error:
        return None, [_fault(found, tree) for found in error.errors()]


def _fault(error: Mapping[str, Any], tree: Tree) -> Fault:
    location = [part for part in error["loc"] if not _is_union_tag(part, error["loc"], tree)]
    key = ".".join(str(part) for part in location)
    if error["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
        return Fault(key, "is not a key of the study file", _shown(error["input"]),
                     near_miss(str(location[-1]), _keys_beside(location)))  # fmt: skip
    if error["type"] in ("missing", "missing_argument"):
        return Fault(key, "is missing")
    return Fault(key, rule_of(error), _shown(error["input"]))


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _is_union_tag(part: object, location: tuple[object, ...], tree: Tree) -> bool:
    """Tells pydantic's name of a union's branch, such as `list[str]`, from a key of the file."""
    if part != location[-1] and not (isinstance(part, str) and "[" in part):
        return False
    current: Any = tree
    for step in location:
        if step is part:
            return isinstance(part, str) and not isinstance(current, Mapping)
        if isinstance(current, Mapping) and step in current:
            current = current[step]
        elif isinstance(current, list) and isinstance(step, int) and step < len(current):
            current = current[step]
    return False


def _keys_beside(location: list[object]) -> list[str]:
    """Returns the keys that the spec knows where an unknown one was found."""
    definition: Any = _SPEC.json_schema()
    definitions = definition.get("$defs", {})
    for step in location[:-1]:
        definition = definition.get("properties", {}).get(step) or definition.get(
            "additionalProperties", {}
        )
        reference = definition.get("$ref") or next(
            (branch["$ref"] for branch in definition.get("anyOf", []) if "$ref" in branch), None
        )
        if reference:
            definition = definitions[reference.rsplit("/", 1)[-1]]
    return list(definition.get("properties", {}))
