"""The errors of this package, on one page.

```
PipelineError                 exit code 1: failed while running
├── InputError                exit code 2: what the user gave is wrong; nothing was written
│   ├── StudyError            the study file: every fault at once
│   ├── DataError             a source, a column, a label, a split
│   ├── StoreError            the store cannot be used, or another driver holds the study
│   └── ResumeError           the study was changed since it was launched
├── TrainingError             a population could not be trained
├── GateRefused               exit code 3: a promotion gate refused
└── Interrupted               exit code 130: Ctrl-C
```

A message names the key or column, the rule, the value found and the remedy.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches


class PipelineError(Exception):
    """Root of the tree; `exit_code` is what the command `mtl` ends with."""

    exit_code = 1


class InputError(PipelineError):
    """What the user gave is wrong. Raised before anything is written."""

    exit_code = 2


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong with a study.

    Attributes:
        key: Dotted path in the study file, such as `train.lr.low`.
        rule: What must hold, as a clause: "must be below `high`".
        found: The value found, or an empty string where there is none to show.
        hint: The remedy, such as a near-miss name.
    """

    key: str
    rule: str
    found: str = ""
    hint: str = ""

    def __str__(self) -> str:
        parts = [f"`{self.key}` {self.rule}."]
        if self.found:
            parts.append(f"Found {self.found}.")
        if self.hint:
            parts.append(self.hint)
        return " ".join(parts)


class StudyError(InputError):
    """The study file has faults; all of them are in `faults` and in the message."""

    def __init__(self, faults: Iterable[Fault], where: str = "") -> None:
        self.faults = tuple(faults)
        n_faults = len(self.faults)
        head = f"{where or 'The study'} has {n_faults} fault{'s' if n_faults > 1 else ''}:"
        super().__init__("\n".join([head, *(f"  - {fault}" for fault in self.faults)]))


class DataError(InputError):
    """A source cannot be read, or its columns, labels or split break a rule."""


class StoreError(InputError):
    """The store cannot be created, written or locked."""


class ResumeError(InputError):
    """The study on disk was launched with other settings or data."""


class TrainingError(PipelineError):
    """A population could not be trained (a structure that does not fit, a worker that died)."""


class GateRefused(PipelineError):
    """A promotion gate refused; the alias was not moved."""

    exit_code = 3


class Interrupted(PipelineError):
    """Ctrl-C: the runs were closed and the study can be resumed."""

    exit_code = 130


def near_miss(name: str, names: Sequence[str]) -> str:
    """Suggests the nearest of `names`, or lists them where none is near."""
    if meant := nearest(name, names):
        return meant
    return f"Possible: {', '.join(names)}." if names else ""


def nearest(name: str, names: Sequence[str]) -> str:
    """Suggests the nearest of `names`; says nothing where none is near."""
    close = get_close_matches(name, names, n=1, cutoff=0.6)
    return f"Did you mean `{close[0]}`?" if close else ""
