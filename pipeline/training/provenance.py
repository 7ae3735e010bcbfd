"""What a training depends on beside settings and data: the code, the user's own, and libraries."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from pipeline.study.catalogue import CATALOGUE
from pipeline.study.own import is_own
from pipeline.study.own_files import follow

_PACKAGE = Path(__file__).resolve().parents[1]


def provenance(members: Sequence[Mapping[str, Any]]) -> list[Any]:
    """Returns plain values that differ where members would train otherwise.

    Args:
        members: As plain values.
    """
    arrays = [torch.__version__, *map(_version, ("numpy", "scipy"))]  # mixup draws by scipy
    return [*arrays, _code(), _own_code(members), library_versions(members)]


def library_versions(members: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Returns the installed versions of what the methods that members name need, by name."""
    used = {*_strings(members)}
    needed = {
        module
        for methods in CATALOGUE.values()
        for name, method in methods.items()
        if name in used
        for module in method.needs
    }
    return {module: _version(module) for module in sorted(needed)}


def _version(module: str) -> str:
    try:
        return version(module)
    except PackageNotFoundError:
        return ""


@cache
def _code() -> str:
    """Returns the digest of this package's code, read once a process."""
    return _digest(sorted(_PACKAGE.rglob("*.py")))


def _own_code(members: Sequence[Mapping[str, Any]]) -> str:
    """Returns the digest of the user's own files that what members name is made of."""
    modules = {name.partition(":")[0] for name in _strings(members) if is_own(name)}
    return _digest([*follow(modules).files.values()])


def _digest(files: Sequence[Path]) -> str:
    found = hashlib.sha256()
    for file in files:
        found.update(hashlib.sha256(file.read_bytes()).digest())
    return found.hexdigest()


def _strings(values: Any) -> Iterator[str]:
    """Yields the texts anywhere in plain values."""
    if isinstance(values, str):
        yield values
    elif isinstance(values, Mapping):
        for value in values.values():
            yield from _strings(value)
    elif isinstance(values, list | tuple):
        for value in values:
            yield from _strings(value)
