"""Every key of the study file as tables in Markdown, read from the model of the file.

`python -m pipeline.study.keys studies/README.md` writes them anew between the two marks that the
text has; a test compares. What a key means stands once, in the docstring of its section.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from inspect import cleandoc
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import yaml

from pipeline.study.annotations import branches, is_searchable
from pipeline.study.spec import StudySpec

BEGIN = "<!-- keys: python -m pipeline.study.keys studies/README.md -->"
END = "<!-- end of the keys -->"

_PLAIN = {bool: "true or false", int: "whole number", float: "number", str: "text",
          type(None): "null", Any: "anything"}  # fmt: skip
_SIGNS = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}


def key_tables() -> str:
    """Returns a table for each section: its keys, what they take, default and meaning."""
    return "\n".join(_table(path, section) for path, section in _sections())


def rewritten(text: str) -> str:
    """Returns a text with the tables of today between its marks.

    Raises:
        ValueError: The text has no such marks.
    """
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"The text must have the lines {BEGIN} and {END}.")
    return f"{before}{begin}\n\n{key_tables()}\n{end}{after}"


def attribute_texts(section: type) -> dict[str, str]:
    """Returns what the docstring of a section says of each key."""
    _, _, listed = cleandoc(section.__doc__ or "").partition("Attributes:\n")
    entries = re.split(r"^ {4}(?=\w+: )", listed.split("\n\n")[0], flags=re.MULTILINE)
    found = (entry.partition(": ") for entry in entries if entry.strip())
    return {key: " ".join(text.split()) for key, _, text in found}


def _sections() -> Iterator[tuple[str, type]]:
    """Yields each section once, under the path where it stands first."""
    waiting: list[tuple[str, type]] = [("", StudySpec)]
    seen: set[type] = {StudySpec}
    while waiting:
        path, section = waiting.pop(0)
        yield path, section
        inner = []
        for name, hint in _hints(section).items():
            for key, found in _inside(f"{path}.{name}".lstrip("."), hint):
                if found not in seen:
                    seen.add(found)
                    inner.append((key, found))
        waiting = [*inner, *waiting]


def _inside(path: str, hint: Any) -> Iterator[tuple[str, type]]:
    for found in branches(hint):
        if is_dataclass(found):
            assert isinstance(found, type)  # of a dataclass, not one of its instances
            yield path, found
        elif get_origin(found) is dict:
            yield from _inside(f"{path}.NAME", get_args(found)[1])


def _hints(section: type) -> Mapping[str, Any]:
    return get_type_hints(section, include_extras=True)


def _table(path: str, section: type) -> str:
    about = cleandoc(section.__doc__ or "").split("\n\n")[0].replace("\n", " ")
    texts, hints = attribute_texts(section), _hints(section)
    lines = [f"### {f'`{path}`' if path else 'A study'}", "", about, "",
             "| key | takes | default | meaning |", "| --- | --- | --- | --- |"]  # fmt: skip
    for field in fields(section):
        key, hint = f"{path}.{field.name}".lstrip("."), hints[field.name]
        cells = [f"`{field.name}`", _takes(key, hint), _default(field), texts[field.name]]
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join([*lines, ""])


def _takes(key: str, hint: Any) -> str:
    bounds = ", ".join(_bounds(hint))
    kinds = []
    for branch in branches(hint):
        kind = _kind(key, branch)
        kinds.append(f"{kind} {bounds}".strip() if branch in (int, float) else kind)
    text = " or ".join(dict.fromkeys(kinds))
    return text + (", or a range" if is_searchable(hint) else "")


def _kind(key: str, found: Any) -> str:
    if is_dataclass(found):
        place = next((path for path, section in _sections() if section is found), key)
        return f"section `{place}`"
    origin, inner = get_origin(found), get_args(found)
    if origin is Literal:
        return " or ".join(f"`{value}`" for value in inner)
    if origin is list:
        return f"list of {_takes(key, inner[0])}"
    if origin is dict:
        return f"mapping of names to {_takes(f'{key}.NAME', inner[1])}"
    return _PLAIN.get(found, str(found))


def _bounds(hint: Any) -> Iterator[str]:
    """Says between which bounds a number must be: those of the annotation and of its branches."""
    for note in getattr(hint, "__metadata__", ()):
        for rule in getattr(note, "metadata", ()):
            for sign, words in _SIGNS.items():
                if hasattr(rule, sign):
                    yield f"{words} {getattr(rule, sign):,}"
    for inner in get_args(hint):
        if get_origin(hint) not in (list, dict, Literal):
            yield from _bounds(inner)


def _default(field: Field[Any]) -> str:
    if field.default is not MISSING:
        listed = yaml.safe_dump([field.default], default_flow_style=True, width=999)
        return f"`{listed.strip()[1:-1]}`"
    if field.default_factory is MISSING:
        return "required"
    made = field.default_factory()
    return "its defaults" if is_dataclass(made) else f"`{made}`"


def main(path: Path) -> None:
    """Writes the tables of today into a file that has the marks."""
    path.write_text(rewritten(path.read_text("utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
