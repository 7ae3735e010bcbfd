"""Which files of the user's own a study's code is made of: imports followed, nothing imported."""

from __future__ import annotations

import ast
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline.study.own import source_of

PACKAGE = "pipeline"


@dataclass(frozen=True)
class OwnFiles:
    """What modules of the user's lead to.

    Attributes:
        files: Dotted name of each of the user's modules to its file, sorted.
        ours: Modules of this package that they import.
        foreign: First parts of the rest that they import.
    """

    files: Mapping[str, Path]
    ours: tuple[str, ...]
    foreign: tuple[str, ...]


def follow(modules: Iterable[str]) -> OwnFiles:
    """Follows the imports of the user's modules through all files that are theirs."""
    waiting, files = list(modules), dict[str, Path]()
    ours: set[str] = set()
    foreign: set[str] = set()
    while waiting:
        module = waiting.pop()
        root = module.partition(".")[0]
        if root == PACKAGE:
            ours.add(module)
        elif not _is_theirs(root):
            foreign.add(root)
        elif module not in files and (file := source_of(module)) is not None:
            files[module] = file
            waiting += _parents(module)
            waiting += imports_of(file.read_text("utf-8"), _package_of(module, file))
    return OwnFiles(dict(sorted(files.items())), tuple(sorted(ours)), tuple(sorted(foreign)))


def imports_of(source: str, package: str) -> list[str]:
    """Returns what a source imports anywhere, as absolute names; some may be no modules.

    Args:
        source: Text of a module.
        package: Which its relative imports start from; empty outside of packages.
    """
    names = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            parts = package.split(".")[: len(package.split(".")) - node.level + 1]
            above = ".".join(parts) if node.level else ""
            base = ".".join(filter(None, (above, node.module)))
            names += [base, *(f"{base}.{alias.name}" for alias in node.names)]
    return names


def _is_theirs(root: str) -> bool:
    """Tells whether a module is a file of the user's, neither of Python nor installed."""
    if root in sys.stdlib_module_names:
        return False
    file = source_of(root) or _namespace_folder(root)
    installed = [Path(place).resolve() for place in sysconfig.get_paths().values()]
    return file is not None and not any(file.is_relative_to(place) for place in installed)


def _namespace_folder(root: str) -> Path | None:
    """Finds a package without `__init__.py`."""
    places = (Path(place or ".") / root for place in sys.path)
    return next((place.resolve() for place in places if place.is_dir()), None)


def _parents(module: str) -> Iterator[str]:
    parts = module.split(".")
    return (".".join(parts[:depth]) for depth in range(1, len(parts)))


def _package_of(module: str, file: Path) -> str:
    return module if file.name == "__init__.py" else module.rpartition(".")[0]
