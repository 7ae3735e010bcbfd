"""Docstrings: the documentation of installed scientific packages, as a text study of any machine.

Each public function and class of a package gives a row: the package as its library, the first
line of its documentation as the summary, the sentences of the rest as the body. Sources are read
with `ast` and never run. Code, headings and the names of parameters are left out, and so are the
names of the libraries: what is left is how people write about arrays, plots or models.
"""

import ast
import hashlib
import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pandas as pd

from pipeline.data.text_encoding import Progress, told

LIBRARIES = ("numpy", "scipy", "pandas", "sklearn", "matplotlib", "networkx", "sympy", "torch")
COLUMNS = ("library", "name", "summary", "body", "split")
_FEWEST_IN_LINE = 4
FEWEST_WORDS = 15  # of a body: shorter ones repeat the summary
_MOST = 1500  # rows of a library: the largest has ten times the smallest
_SUMMARISED = 250  # of them, with a summary: each is split into its sentences, some eight
_SHARES = (("train", 0.7), ("valid", 0.15), ("test", 1.0))
# The names, their usual short forms, and what else only one of them is called.
_NAMES = re.compile(
    r"\b(numpy|np|scipy|sp|pandas|pd|scikit-learn|sklearn|matplotlib|mpl|plt|pyplot|networkx|nx|"
    r"sympy|torch|pytorch|aten)\b[.\w]*",
    re.IGNORECASE,
)
_MARKUP = re.compile(r":\w+(?::\w+)?:`~?([^`<]*)[^`]*`|\.\. \w+::[^\n]*|`+|\*\*")
_WORD = re.compile(r"[^\W\d_]{2,}")


def read(n_rows: int | None = None, progress: Progress | None = None) -> pd.DataFrame:
    """Returns the table: `library`, `name`, `summary`, `body` and `split`.

    A module stands in one part of the split only: its functions share sentences. The first 250
    rows of a library have a summary.

    Args:
        n_rows: Rows of the head that are wanted; 0 gives the columns without reading a file.
        progress: Told how many libraries are read: all together some 40 s.
    """
    if n_rows == 0:
        return pd.DataFrame(columns=list(COLUMNS))
    libraries = told(LIBRARIES, "Reading docstrings, libraries", progress)
    rows = [row for library in libraries for row in _rows_of(library)]
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    frame = frame.drop_duplicates("body", ignore_index=True)
    # Rows of a library stand in the order of their hashes: the first ones are any.
    rest = frame.groupby("library").cumcount() >= _SUMMARISED
    frame["summary"] = frame["summary"].mask(rest)
    return frame if n_rows is None else frame.head(n_rows)


def _rows_of(library: str) -> list[tuple[str, ...]]:
    """Returns the rows of a library: those of the smallest hashes where it has too many."""
    found = find_spec(library)
    if found is None or not found.submodule_search_locations:
        return []
    root = Path(next(iter(found.submodule_search_locations)))
    rows: list[tuple[str, ...]] = []
    for file in sorted(root.rglob("*.py")):
        module = file.relative_to(root).as_posix()
        if not re.search(r"(^|/)(tests?|_vendor|externals?|conftest\.py)(/|$)", module):
            part = _part(f"{library}/{module}")
            rows += [(library, *row, part) for row in _documented(file)]
    rows.sort(key=lambda row: hashlib.sha256("\0".join(row).encode()).digest())
    return rows[:_MOST]


def _part(module: str) -> str:
    place = int.from_bytes(hashlib.sha256(module.encode()).digest()[:8], "big") / 2**64
    total = 0.0
    for part, share in _SHARES:
        total += share
        if place < total:
            return part
    return "test"


def _documented(file: Path) -> Iterator[tuple[str, str, str]]:
    """Yields name, summary and body of what a module documents; nothing where it is no Python."""
    try:
        tree = ast.parse(file.read_text(encoding="utf-8"))
    except (SyntaxError, ValueError, OSError):
        return
    for node in ast.walk(tree):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        text = ast.get_docstring(node)
        if text is None or node.name.startswith("_"):
            continue
        summary, _, rest = text.strip().partition("\n")
        body = _prose(rest)
        if len(_WORD.findall(body)) >= FEWEST_WORDS and _WORD.search(summary):
            yield node.name, _plain(summary), body


def _prose(text: str) -> str:
    """Returns the lines that are sentences: no code, headings, or names of parameters."""
    lines = [
        line
        for line in text.splitlines()
        if not line.lstrip().startswith((">>>", "...", ".. "))
        and len(_WORD.findall(line)) >= _FEWEST_IN_LINE
    ]
    return _plain("\n".join(lines))


def _plain(text: str) -> str:
    return " ".join(_NAMES.sub(" ", _MARKUP.sub(r"\1", text)).split())
