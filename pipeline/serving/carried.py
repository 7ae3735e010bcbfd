"""The user's own modules in the code that a model carries: found, and their imports renamed.

They stand in the folder `carried` of the copy, so that a model needs no file of the machine that
trained it and two versions of one module load side by side.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import packages_distributions, version
from pathlib import Path

from pipeline.study.own_files import PACKAGE, follow

FOLDER = "carried"


@dataclass(frozen=True)
class OwnCode:
    """The user's files that a model needs.

    Attributes:
        files: Dotted name of each module to its file.
        modules: Modules of this package that they import.
        requirements: What must be installed for the rest that they import, as pip names it.
    """

    files: Mapping[str, Path]
    modules: tuple[str, ...]
    requirements: tuple[str, ...]


def own_code(modules: Iterable[str]) -> OwnCode:
    """Follows the imports of the user's modules through all files that are theirs."""
    found = follow(modules)
    return OwnCode(found.files, found.ours, tuple(_requirements(found.foreign)))


def carried_files(code: OwnCode, name: str) -> dict[str, str]:
    """Returns path in the copy to text, with the imports of moved modules renamed.

    Args:
        code: The files.
        name: Of the copy.
    """
    roots = {module.partition(".")[0] for module in code.files}
    moved = {PACKAGE: name, **{root: f"{name}.{FOLDER}.{root}" for root in roots}}
    return {
        carried_path(module, file): renamed_imports(file.read_text("utf-8"), moved)
        for module, file in code.files.items()
    }


def carried_path(module: str, file: Path) -> str:
    """Returns where a module's file stands in the copy."""
    parts = [FOLDER, *module.split(".")]
    return "/".join([*parts, file.name] if file.name == "__init__.py" else parts) + (
        "" if file.name == "__init__.py" else ".py"
    )


def renamed_imports(source: str, moved: Mapping[str, str]) -> str:
    """Renames modules in the import statements of a source, and nothing else.

    Args:
        source: Text of a module.
        moved: First part of a module's name to what it is called in the copy.
    """
    lines = source.splitlines(keepends=True)
    nodes = [node for node in ast.walk(ast.parse(source))
             if isinstance(node, ast.Import | ast.ImportFrom)]  # fmt: skip
    for node in sorted(nodes, key=lambda one: (one.lineno, one.col_offset), reverse=True):
        new = _moved(node, moved)
        if new:
            first, last = node.lineno - 1, (node.end_lineno or node.lineno) - 1
            before = lines[first].encode()[: node.col_offset].decode()
            after = lines[last].encode()[node.end_col_offset :].decode()
            lines[first : last + 1] = [f"{before}{new}{after}"]
    return "".join(lines)


def _moved(node: ast.Import | ast.ImportFrom, moved: Mapping[str, str]) -> str:
    """Returns the statements in place of an import; nothing where it stays as it is."""
    if isinstance(node, ast.ImportFrom):
        root, dot, rest = (node.module or "").partition(".")
        if node.level or root not in moved:
            return ""
        return ast.unparse(ast.ImportFrom(f"{moved[root]}{dot}{rest}", node.names, 0))
    roots = {alias.name.partition(".")[0] for alias in node.names}
    if not roots & moved.keys():
        return ""
    return "; ".join(_import(alias, moved) for alias in node.names)


def _import(alias: ast.alias, moved: Mapping[str, str]) -> str:
    """Writes one name of an import statement; `import a.b` binds `a`, wherever it moved."""
    root, dot, rest = alias.name.partition(".")
    if root not in moved:
        return ast.unparse(ast.Import([alias]))
    new = f"{moved[root]}{dot}{rest}"
    if alias.asname:
        return f"import {new} as {alias.asname}"
    return f"import {new}; import {moved[root]} as {root}" if dot else f"import {new} as {root}"


@cache
def _distributions() -> Mapping[str, list[str]]:
    """Returns which distributions an installed module belongs to; looked up once, it is slow."""
    return packages_distributions()


def _requirements(roots: Iterable[str]) -> Iterator[str]:
    """Names the distributions of installed modules, as installed here."""
    known = _distributions()
    wanted = {name for root in roots for name in known.get(root, ())}
    return (f"{name}=={version(name).partition('+')[0]}" for name in sorted(wanted))
