"""From a study file to a `Study`: every fault at once."""

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from pipeline.errors import Fault, InputError, StudyError
from pipeline.study.catalogue import CATALOGUE
from pipeline.study.document import (
    Tree,
    parse_ranges,
    ranges_of,
    read_yaml,
    set_value,
    substitute,
)
from pipeline.study.encoder_spec import LAST_N
from pipeline.study.own import CONTRACTS
from pipeline.study.own_rules import own_faults, own_notes, sharings_of
from pipeline.study.possible import ends
from pipeline.study.ranges import AnyRange, Choices, Range, label, parse_range
from pipeline.study.rules import rule_faults
from pipeline.study.spec import Params, StudySpec
from pipeline.study.validation import SPEC, validate

_RATIO = (0.1, 10.0)  # a task may count for a tenth or for ten times the first


@dataclass(frozen=True)
class Study:
    """A checked study file.

    Attributes:
        spec: Its sections, with the centre of each range as value.
        tree: The file as written, ranges as `Range` and `Choices`.
        text: The file's text.
        folder: Where paths of the file are looked up first.
        data_dir: Where they are looked up next.
        words: What names it on the command line: its file, with `--data` and `--set`. `STUDY`
            for one that came as a text.
    """

    spec: StudySpec
    tree: Tree
    text: str
    folder: Path
    data_dir: Path | None = None
    words: str = "STUDY"

    @cached_property
    def ranges(self) -> Mapping[str, AnyRange]:
        """What is searched, by dotted path, in the order of the file."""
        return dict(ranges_of(self.tree))

    @cached_property
    def notes(self) -> tuple[str, ...]:
        """What its user should know before a search begins."""
        return tuple(own_notes(sharings_of(self.spec, self.tree).values()))

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
        return SPEC.validate_python(substitute(self.tree, values))


OWN_SCHEMA = {
    "type": "string",
    "pattern": "^(?!balance:)[A-Za-z_][A-Za-z0-9_.]*:[A-Za-z_][A-Za-z0-9_]*$",
    "description": "`module:Name` of your own code",
}

_NAMED = (
    ("TaskSpec", "kind", "kind"),
    ("EncoderSpec", "kind", "encoder"),
    ("ModelSpec", "sharing", "sharing"),
    ("WeightsSpec", "strategy", "strategy"),
    ("TrainSpec", "optimizer", "optimizer"),
    ("TrainSpec", "schedule", "schedule"),
    ("SearchSpec", "pruner", "pruner"),
)
"""Keys of the file that hold a name of the catalogue: section, key, role."""


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
    found = parse_study(text, path.parent, overrides, data_dir, where=str(path))
    return replace(found, words=_words(path, overrides or {}, data_dir))


def _words(path: Path, overrides: Mapping[str, Any], data_dir: str | Path | None) -> str:
    words = [str(path), *(["--data", str(data_dir)] if data_dir else [])]
    for key, value in overrides.items():  # JSON is YAML too, which `--set` reads
        words += ["--set", f"{key}={json.dumps(value)}"]
    return shlex.join(words)


def parse_study(
    text: str,
    folder: str | Path = ".",
    overrides: Mapping[str, Any] | None = None,
    data_dir: str | Path | None = None,
    where: str = "The study",
) -> Study:
    """Checks the text of a study file; see `load_study`."""
    raw, faults = read_yaml(text, where)
    for key, value in (overrides or {}).items():
        set_value(raw, key, value)
    tree, more = parse_ranges(raw)
    _name_modes(tree)
    _note_layers(tree)
    _note_decoders(tree)
    faults += more + _expand_weights(tree)
    spec, sound, more = validate(tree)
    told = {fault.key for fault in faults}  # a key left out for its fault is not missing too
    faults += [fault for fault in more if fault.key not in told]
    faults += rule_faults(spec, sound, _names(raw, "tasks"), _names(raw, "sources"))
    faults += own_faults(spec, sound, Path(folder))
    if faults:
        raise StudyError(faults, where)
    return Study(spec, tree, text, Path(folder), Path(data_dir) if data_dir else None)


def parse_setting(text: str) -> tuple[str, Any]:
    """Splits `KEY=VALUE` of the command line; the value is read as YAML."""
    key, separator, value = text.partition("=")
    if not separator or not key.strip():
        raise StudyError([Fault("--set", "must be KEY=VALUE", text, "Such as train.lr=0.001.")])
    try:
        return key.strip(), yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise StudyError([Fault(key.strip(), "must be a YAML value", repr(value))]) from error


def schema() -> dict[str, Any]:
    """Returns the JSON Schema of a study file, for editors."""
    found = SPEC.json_schema()
    for section, key, role in _NAMED:
        described: list[dict[str, str]] = [{"const": name, "description": entry.about}
                     for name, entry in CATALOGUE[role].items()]  # fmt: skip
        if role in CONTRACTS:
            described.append(OWN_SCHEMA)
        place = found["$defs"][section]["properties"][key]
        # A searched key is a value or a range: the names stand for the value.
        target = place["anyOf"][0] if "anyOf" in place else place
        target["oneOf"] = described
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **found}


def _names(tree: Tree, section: str) -> list[str]:
    """Returns the names that the file gives its tasks or sources, also those with faults."""
    found = tree.get(section)
    return [str(name) for name in found] if isinstance(found, dict) else []


_OWN_KIND, _PRETRAINED_KIND = "abstractive", "abstractive_pretrained"


def _name_modes(tree: Tree) -> None:
    """Turns a summary's mode into its kind: what chooses and what writes share no settings."""
    tasks = tree.get("tasks")
    for task in tasks.values() if isinstance(tasks, dict) else ():
        if isinstance(task, dict) and task.get("kind") == "summarisation":
            if task.get("mode") == "abstractive":
                task["kind"] = "abstractive"
            if task.get("mode") in ("extractive", "abstractive"):
                del task["mode"]
        if isinstance(task, dict) and task.get("kind") in (_OWN_KIND, _PRETRAINED_KIND):
            kind = {"own": _OWN_KIND, "pretrained": _PRETRAINED_KIND}.get(str(task.get("decoder")))
            if kind is not None:
                task["kind"] = kind
                del task["decoder"]


def _note_decoders(tree: Tree) -> None:
    """Notes at the encoder that a decoder reads its states."""
    model, tasks = tree.get("model"), tree.get("tasks")
    encoder = model.get("encoder") if isinstance(model, dict) else None
    found = tasks.values() if isinstance(tasks, dict) else ()
    written = [t for t in found if isinstance(t, dict) and t.get("kind") == _PRETRAINED_KIND]
    if isinstance(encoder, dict) and written:
        encoder["for_decoder"] = True


def _note_layers(tree: Tree) -> None:
    """Notes the most layers of a pretrained model that any trial trains: states end below them."""
    model = tree.get("model")
    encoder = model.get("encoder") if isinstance(model, dict) else None
    if not isinstance(encoder, dict) or encoder.get("finetune") not in ("last_n", "lora"):
        return
    default = LAST_N if encoder["finetune"] == "last_n" else None
    found = encoder.get("layers")
    every = [default if end is None else end for _, end in ends(found)]
    most = max((end for end in every if isinstance(end, int)), default=None)
    encoder["most_layers"] = None if None in every else most


def _expand_weights(tree: Tree) -> list[Fault]:
    """Writes the bounds `low` and `high` out as one ratio a task, so that each has a name."""
    weights, tasks = tree.get("weights", {}), tree.get("tasks")
    if not isinstance(weights, dict) or not isinstance(tasks, dict):
        return []  # reported when the values are validated
    strategy = weights.get("strategy", "fixed")
    strategies = strategy.choices if isinstance(strategy, Choices) else (strategy,)
    if "fixed" not in strategies or weights.get("values"):
        return []
    names = ("low", "high")
    bounds = {name: weights.get(name, default) for name, default in zip(names, _RATIO, strict=True)}
    found, faults = parse_range("weights", {**bounds, "log": True})
    rest = {key: value for key, value in weights.items() if key not in names}
    if isinstance(found, Range):
        ratio = Range(float(found.low), float(found.high), log=True)
        values = {name: ratio if index else 1.0 for index, name in enumerate(_names(tree, "tasks"))}
        rest = {"strategy": "fixed", **rest, "values": values}
    tree["weights"] = rest
    return faults
