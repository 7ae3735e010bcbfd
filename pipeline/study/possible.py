"""What a key of the study file may be in a trial: its value, or the ends of a range for it."""

from collections.abc import Mapping
from typing import Any

from pipeline.study.ranges import AnyRange
from pipeline.study.spec import StudySpec


def ends(value: Any) -> list[tuple[str, Any]]:
    """Returns the values that stand for all that a key may be, each with its path below the key.

    Args:
        value: As the file gives it: the ends of a range, each choice, or the value itself.
    """
    if isinstance(value, AnyRange):
        return [(f".{name}", end) for name, end in value.bounds()]
    return [("", value)]


def highest(value: Any) -> float:
    """Returns the largest number that a key may be, in any trial."""
    return max(float(end) for _, end in ends(value))


def possible(
    spec: StudySpec, tree: Mapping[str, Any], section: str, key: str
) -> list[tuple[str, Any]]:
    """Returns the `ends` of a section's key, its default where the file has none, each by its path.

    Args:
        spec: The sections, ranges at their centres.
        tree: What they were read from.
        section: Such as `train`.
        key: Such as `optimizer`.
    """
    given = tree.get(section, {}).get(key)
    value = given if isinstance(given, AnyRange) else getattr(getattr(spec, section), key)
    return [(f"{section}.{key}{place}", end) for place, end in ends(value)]
