"""The keys in studies/README.md are those of the study file, each with what its docstring says."""

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated, Literal

import pytest
from cli_cases import mtl
from pydantic import Field

from pipeline.study import keys
from pipeline.study.keys import BEGIN, END, attribute_texts, key_tables, rewritten
from pipeline.study.values import SEARCHABLE

README = Path(__file__).parents[2] / "studies" / "README.md"


def test_the_text_has_the_keys_of_today() -> None:
    text = README.read_text("utf-8")
    assert text == rewritten(text), f"write them anew: {BEGIN.strip('<!->').partition(':')[2]}"


def test_every_key_of_every_section_is_explained() -> None:
    sections = dict(keys._sections())
    assert {"sources.NAME", "tasks.NAME.budget", "train.augment", "promote.gates"} <= {*sections}
    for path, section in sections.items():
        texts = attribute_texts(section)
        assert {*texts} == {found.name for found in fields(section)}, path
        assert all(text.strip().endswith(".") for text in texts.values()), path


def test_the_command_prints_the_same() -> None:
    done = mtl("check", "--keys")
    assert (done.code, done.out.strip()) == (0, key_tables().strip())


def test_a_text_without_marks_is_refused() -> None:
    with pytest.raises(ValueError, match="must have the lines"):
        rewritten(f"{END} {BEGIN}")
    once = rewritten(f"before\n{BEGIN}\nof yesterday\n{END}\nafter\n")
    assert once.startswith("before\n")
    assert once.endswith("\nafter\n")
    assert "of yesterday" not in once
    assert rewritten(once) == once


@dataclass
class Part:
    """A part.

    Attributes:
        n: How many | of them,
            in two lines.
        mode: One: or the other.
    """

    n: Annotated[Annotated[int, Field(ge=1, lt=2000)] | Literal["auto"], SEARCHABLE]
    mode: Literal["one", "two"] | None = None


@dataclass
class Whole:
    """A whole thing.

    Attributes:
        parts: By name.
        share: A number.
        names: Several.
    """

    parts: dict[str, Part]
    share: Annotated[float, Field(gt=0)] = 0.5
    names: list[str] = field(default_factory=list)


def test_a_table_says_what_a_key_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "StudySpec", Whole)
    rows = [line for line in key_tables().splitlines() if line.startswith("| `")]
    assert rows == [
        "| `parts` | mapping of names to section `parts.NAME` | required | By name. |",
        "| `share` | number above 0 | `0.5` | A number. |",
        "| `names` | list of text | `[]` | Several. |",
        "| `n` | whole number at least 1, below 2,000 or `auto`, or a range | required "
        "| How many \\| of them, in two lines. |",
        "| `mode` | `one` or `two` or null | `null` | One: or the other. |",
    ]
