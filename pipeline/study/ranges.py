"""Ranges: what may stand in a study file in place of a value."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

from pipeline.errors import Fault

Value = bool | int | float | str | None


@dataclass(frozen=True)
class Range:
    """An interval of numbers that a study searches.

    Attributes:
        low: Smallest value, included.
        high: Largest value, included where the grid of `step` meets it.
        log: Search on a log scale; `low` must be above 0.
        step: Grid width from `low` on; not together with `log`.
        integer: Whether values are integers, which they are if both bounds are.
    """

    low: float
    high: float
    log: bool = False
    step: float | None = None
    integer: bool = False

    def centre(self) -> float:
        """Returns the geometric mean if `log`, else the arithmetic one, on the grid."""
        middle = math.sqrt(self.low * self.high) if self.log else (self.low + self.high) / 2
        return self.snap(middle)

    def snap(self, value: float) -> float:
        """Returns the nearest allowed value."""
        value = min(max(value, self.low), self.high)
        if self.step is not None:
            last = math.floor((self.high - self.low) / self.step + 1e-9)  # 0.3 / 0.1 is below 3
            value = self.low + min(round((value - self.low) / self.step), last) * self.step
            value = min(value, self.high)
        return round(value) if self.integer else value

    def sample(self, random: Random) -> float:
        """Draws a value uniformly on the range's own scale."""
        if self.log:
            return self.snap(math.exp(random.uniform(math.log(self.low), math.log(self.high))))
        return self.snap(random.uniform(self.low, self.high))

    def bounds(self) -> tuple[tuple[str, Any], ...]:
        """Returns the values that the searched key must accept, each with its name."""
        return (("low", self.low), ("high", self.high))

    def __str__(self) -> str:
        notes = [note for note, shown in (("log", self.log), ("integer", self.integer)) if shown]
        if self.step is not None:
            notes.append(f"step {self.step!r}")
        return f"{self.low!r} to {self.high!r}" + (f" ({', '.join(notes)})" if notes else "")


@dataclass(frozen=True)
class Choices:
    """A list of values that a study searches; lists such as `[64, 64]` are values too."""

    choices: tuple[Any, ...]

    def centre(self) -> Any:
        """Returns the first choice."""
        return self.choices[0]

    def labels(self) -> tuple[Value, ...]:
        """Returns the choices as scalars: a list is written as JSON."""
        return tuple(label(choice) for choice in self.choices)

    def value(self, chosen: Value) -> Any:
        """Returns the choice that carries the label `chosen`."""
        return self.choices[self.labels().index(chosen)]

    def sample(self, random: Random) -> Any:
        """Draws a choice uniformly."""
        return random.choice(self.choices)

    def bounds(self) -> tuple[tuple[str, Any], ...]:
        """Returns the values that the searched key must accept, each with its name."""
        return tuple((f"choices.{i}", choice) for i, choice in enumerate(self.choices))

    def __str__(self) -> str:
        return "one of " + ", ".join(json.dumps(label(choice)) for choice in self.choices)


AnyRange = Range | Choices


def label(choice: Any) -> Value:
    """Returns a scalar as it is and anything else as compact JSON."""
    if choice is None or isinstance(choice, bool | int | float | str):
        return choice
    return json.dumps(choice, separators=(",", ":"), sort_keys=True)


def looks_like_range(value: object) -> bool:
    """Tells whether a mapping of the file stands for a range."""
    if not isinstance(value, Mapping):
        return False
    keys = set(value)
    return "choices" in keys or bool(keys & {"low", "high"})


def parse_range(key: str, value: Mapping[str, Any]) -> tuple[AnyRange | None, list[Fault]]:
    """Reads a range of the study file.

    Args:
        key: Dotted path of the range, for the faults.
        value: The mapping found there.

    Returns:
        The range, or None where it has faults; and the faults.
    """
    if "choices" in value:
        return _parse_choices(key, value)
    return _parse_interval(key, value)


def _parse_choices(key: str, value: Mapping[str, Any]) -> tuple[AnyRange | None, list[Fault]]:
    faults = [
        Fault(f"{key}.{extra}", "cannot stand beside `choices`", str(value[extra]))
        for extra in value
        if extra != "choices"
    ]
    choices = value["choices"]
    if not isinstance(choices, list) or not choices:
        faults.append(Fault(f"{key}.choices", "must be a list of at least one value", str(choices)))
    elif len({repr(choice) for choice in choices}) < len(choices):
        faults.append(Fault(f"{key}.choices", "must not repeat a value", str(choices)))
    return (None, faults) if faults else (Choices(tuple(choices)), [])


def _parse_interval(key: str, value: Mapping[str, Any]) -> tuple[AnyRange | None, list[Fault]]:
    faults = [
        Fault(f"{key}.{extra}", "is not a key of a range", str(value[extra]),
              "A range has low, high, log, step, or choices.")
        for extra in value
        if extra not in ("low", "high", "log", "step")
    ]  # fmt: skip
    numbers: dict[str, float] = {}
    for name in ("low", "high", "step"):
        if value.get(name) is None:
            if name != "step":
                faults.append(Fault(f"{key}.{name}", "is missing from the range"))
            continue
        number = _number(value[name])
        if number is None:
            faults.append(Fault(f"{key}.{name}", "must be a finite number", repr(value[name])))
        else:
            numbers[name] = number
    log = value.get("log", False)
    if not isinstance(log, bool):
        faults.append(Fault(f"{key}.log", "must be true or false", repr(log)))
    if faults:
        return None, faults
    faults = _interval_faults(key, numbers, log)
    if faults:
        return None, faults
    integer = all(isinstance(numbers[name], int) for name in numbers)
    return Range(numbers["low"], numbers["high"], log, numbers.get("step"), integer), []


def _interval_faults(key: str, numbers: Mapping[str, float], log: bool) -> list[Fault]:
    low, high, step = numbers["low"], numbers["high"], numbers.get("step")
    faults = []
    if low >= high:
        hint = "Swap them." if low > high else "Write one value where nothing is searched."
        faults.append(Fault(f"{key}.low", "must be below `high`", f"{low:g} and {high:g}", hint))
    if log and low <= 0:
        faults.append(Fault(f"{key}.low", "must be above 0 with `log: true`", f"{low:g}"))
    if step is not None and log:
        faults.append(Fault(f"{key}.step", "cannot stand beside `log: true`", f"{step:g}"))
    if step is not None and (step <= 0 or step > high - low):
        rule = "must be above 0 and at most `high` - `low`"
        faults.append(Fault(f"{key}.step", rule, f"{step:g}"))
    return faults


def _number(value: object) -> float | None:
    # YAML 1.1 reads `1e-4` (no dot) as text: take it as the number that was meant.
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    if isinstance(value, int | float) and math.isfinite(value):
        return value
    return None
