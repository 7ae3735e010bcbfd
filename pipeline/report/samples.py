"""What a model wrote or chose, for people to read: an artifact of its run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

_ROWS = (
    ("document", "text begins"),
    ("reference", "reference"),
    ("summary", "this model"),
    ("first_words", "first words, as many"),
)


def samples_page(task: str, part: str, samples: Sequence[Mapping[str, str]]) -> str:
    """Returns samples of one task as Markdown.

    Args:
        task: Name of the task.
        part: Part of the data that they are of.
        samples: Of `comparison.summaries.samples`.
    """
    pages = [
        "\n".join([f"## {number}", "", *(_line(name, one[key]) for key, name in _ROWS)])
        for number, one in enumerate(samples, start=1)
    ]
    head = f"# {task}: {len(samples)} documents of {part}, spread evenly, not chosen"
    return "\n\n".join([head, *pages]) + "\n"


def _line(name: str, text: str) -> str:
    """Returns a line of a list; the text on one line, its marks as they stand."""
    shown = " ".join(text.split()).replace("`", "'")
    return f"- **{name}**: `{shown}`" if shown else f"- **{name}**: (nothing)"
