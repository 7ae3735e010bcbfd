"""The code that a model carries: the modules that the predictor needs, renamed.

They are modules of this package, and the user's own where a study names them (see `carried`).

The copy is named after its content, `served_DIGEST`, so that models of two versions load side by
side in one process and neither is shadowed by an installed `pipeline`.
"""

from __future__ import annotations

import ast
import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from pipeline.serving.carried import OwnCode, carried_files, own_code
from pipeline.study.catalogue import entry
from pipeline.study.own import is_own

Methods = Sequence[tuple[str, str]]
"""Role and name of each catalogue entry, or own code, that a model uses: they are loaded by name,
which no import statement shows."""

_PACKAGE = "pipeline"
_ROOT = Path(__file__).resolve().parents[1]
_ENTRANCE = "pipeline.serving.predictor"
_DOTTED = re.compile(rf"(?<![\w.]){_PACKAGE}(?=\.[A-Za-z_])")
_FROM = re.compile(rf"(?<=\bfrom ){_PACKAGE}(?= import\b)")


def own_code_of(methods: Methods) -> OwnCode:
    """Finds the user's own modules among what a model uses."""
    return own_code(name.partition(":")[0] for _, name in methods if is_own(name))


def needed_modules(methods: Methods) -> dict[str, Path]:
    """Finds the modules of this package that answering needs.

    Args:
        methods: What the model uses.

    Returns:
        Dotted name to file, sorted by name.
    """
    waiting = [_ENTRANCE, *own_code_of(methods).modules]
    for role, name in methods:
        found_entry = entry(role, name)
        modules = (target.partition(":")[0] for target in (found_entry.target, found_entry.network))
        waiting += [module for module in modules if _file_of(module) is not None]
    found: dict[str, Path] = {}
    while waiting:
        module = waiting.pop()
        file = _file_of(module)
        if module in found or file is None:
            continue
        found[module] = file
        waiting += imported(file.read_text("utf-8"))
    return dict(sorted(found.items()))


def imported(source: str) -> list[str]:
    """Returns the modules of this package that a source imports anywhere when it runs."""
    names = []
    for node in _running_nodes(ast.parse(source)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names.append(node.module)
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return [name for name in names if name.startswith(f"{_PACKAGE}.") and _file_of(name)]


def package_files(methods: Methods) -> tuple[str, Mapping[str, str]]:
    """Builds the copy.

    Returns:
        Its name, and path below it to text, `__init__.py` files included.
    """
    sources = {
        file.relative_to(_ROOT).as_posix(): file.read_text("utf-8")
        for file in needed_modules(methods).values()
    }
    code = own_code_of(methods)
    theirs = {module: file.read_text("utf-8") for module, file in code.files.items()}
    digest = hashlib.sha256()
    for path, text in (*sources.items(), *theirs.items()):
        digest.update(f"{path}\0{text}\0".encode())
    name = f"served_{digest.hexdigest()[:16]}"
    renamed = {path: rename(text, name) for path, text in sources.items()}
    renamed |= carried_files(code, name)
    folders = {parent.as_posix() for path in renamed for parent in Path(path).parents}
    inits = {f"{folder}/__init__.py".removeprefix("./"): "" for folder in folders}
    return name, {**inits, **renamed}


def rename(source: str, name: str) -> str:
    """Replaces this package's name in imports and in dotted names such as the catalogue's."""
    return _FROM.sub(name, _DOTTED.sub(name, source))


def _file_of(module: str) -> Path | None:
    """Returns the file of a module of this package; None for a package, a name, or others."""
    parts = module.split(".")
    if parts[0] != _PACKAGE:
        return None
    file = _ROOT.joinpath(*parts[1:]).with_suffix(".py")
    return file if len(parts) > 1 and file.is_file() else None


def _running_nodes(tree: ast.AST) -> Iterator[ast.AST]:
    """Walks a tree but for what stands under `if TYPE_CHECKING:`."""
    yield tree
    children = ast.iter_child_nodes(tree)
    if isinstance(tree, ast.If) and _is_type_checking(tree.test):
        children = iter(tree.orelse)
    for child in children:
        yield from _running_nodes(child)


def _is_type_checking(test: ast.expr) -> bool:
    name = test.attr if isinstance(test, ast.Attribute) else getattr(test, "id", "")
    return name == "TYPE_CHECKING"
