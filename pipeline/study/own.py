"""The user's own code: `my_package.module:Name` wherever the study file takes a catalogue name.

What each role must offer is checked where the role lives (`CONTRACTS`), when a study that names
such code is read; a study that names none imports nothing.
"""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pipeline.errors import Fault, near_miss

CONTRACTS: Mapping[str, str] = {
    "sharing": "pipeline.models.contract",
    "kind": "pipeline.tasks.contract",
    "metric": "pipeline.tasks.contract",
}
"""Role to the module whose `ROLE_problem(found, section)` says what is wrong, or nothing."""

_NAME = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")
_CARRIED = "pipeline.carried"  # the user's modules in the copy that a promoted model has of these


def is_own(name: str) -> bool:
    """Tells whether a name stands for the user's own code; `balance:` ones are of the catalogue."""
    return ":" in name and not name.startswith("balance:")


def is_stock(name: str) -> bool:
    """Tells whether a sharing is the user's plain torch module, which has no member axis."""
    return is_own(name) and not getattr(import_own(name), "member_first", False)


def import_own(name: str) -> Any:
    """Imports and returns what `module:Name` stands for."""
    module, _, attribute = name.partition(":")
    return getattr(import_module(module), attribute)


def import_module(module: str) -> Any:
    """Imports a module of the user's: the one that a served model carries, else by its name."""
    carried = f"{_CARRIED}.{module}"
    try:
        return importlib.import_module(carried)
    except ModuleNotFoundError as error:
        if not carried.startswith(str(error.name)):
            raise
    return importlib.import_module(module)


def make_importable(folder: Path) -> None:
    """Lets modules beside the study file, and those of the working directory, be imported.

    Last on the path, so that a file of the folder hides no installed module.
    """
    for place in (folder, Path.cwd()):
        if str(place.resolve()) not in sys.path:
            sys.path.append(str(place.resolve()))


def own_fault(key: str, role: str, name: str, folder: Path, section: Any) -> Fault | None:
    """Returns what is wrong with own code that a study names.

    Args:
        key: Of the study file.
        role: What it stands for, such as `sharing`.
        name: `module:Name`.
        folder: Of the study file.
        section: The section that names it, with its options.
    """
    if not _NAME.fullmatch(name):
        hint = "Such as `my_package.module:Name`."
        return Fault(key, "must be a module and a name of it, with one colon", name, hint)
    make_importable(folder)
    module, _, attribute = name.partition(":")
    fault = _module_fault(key, module, folder)
    if fault is not None:
        return fault
    try:
        loaded = import_module(module)
    except Exception as error:
        where = f"{type(error).__name__}: {error}{_line_of(error, module)}"
        return Fault(key, f"names the module `{module}`, which fails when imported", where)
    if not hasattr(loaded, attribute):
        public = [found for found in vars(loaded) if not found.startswith("_")]
        rule = f"names what the module `{module}` does not have"
        return Fault(key, rule, attribute, near_miss(attribute, public))
    contract = importlib.import_module(CONTRACTS[role])
    problem: str | None = getattr(contract, f"{role}_problem")(getattr(loaded, attribute), section)
    if problem is None:
        return None
    hint = "pipeline/models/README.md says what each role must offer, with examples."
    return Fault(key, f"does not fit the role `{role}`: {problem}", name, hint)


def source_of(module: str) -> Path | None:
    """Returns the file of a module; None where there is none, or it is built in."""
    try:
        spec = find_spec(module)
    except (ImportError, AttributeError, ValueError):
        return None
    if spec is None or not spec.has_location or spec.origin is None:
        return None
    return Path(spec.origin).resolve()


def _module_fault(key: str, module: str, folder: Path) -> Fault | None:
    """Tells a module that is missing, or hidden by another of the same name."""
    root = module.partition(".")[0]
    places = list(dict.fromkeys((folder.resolve(), Path.cwd().resolve())))
    beside = [file for place in places for file in (place / f"{root}.py", place / root)
              if file.exists()]  # fmt: skip
    try:
        found = find_spec(module)
    except Exception:
        found = None
    looked = ", ".join(map(str, places))
    if found is None:
        hint = (
            f"Put {root}.py beside the study file or into the working directory, or install it. "
            f"Looked in {looked} and among what is installed."
        )
        return Fault(key, "names a module that cannot be found", module, hint)
    origin = str(found.origin)
    if beside and not any(origin.startswith(str(place)) for place in places):
        hint = f"Rename {beside[0].name}: a module of that name is there already."
        return Fault(key, f"names a module that {origin} hides", module, hint)
    return None


def _line_of(error: Exception, module: str) -> str:
    """Returns where in the user's module an error came up."""
    file, trace, line = source_of(module), error.__traceback__, 0
    while trace is not None:
        if file is not None and Path(inspect.getfile(trace.tb_frame)).resolve() == file:
            line = trace.tb_lineno
        trace = trace.tb_next
    return f", in line {line} of {file}" if line else ""
