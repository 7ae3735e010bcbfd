"""One thing that a crash left, and what mends it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Damage:
    """Something that a crash left.

    Attributes:
        what: What is wrong, as a clause: "was left by a killed process".
        where: File below the store, or run, or model.
        remedy: What mends it, as the past: "deleted". Of damage that nothing here can mend, what
            the user can do, as a sentence.
        mend: Does it; None where nothing here can.
    """

    what: str
    where: str
    remedy: str
    mend: Callable[[], object] | None = None

    def to_json(self) -> dict[str, Any]:
        """Returns plain JSON values."""
        can = self.mend is not None
        return {"what": self.what, "where": self.where, "remedy": self.remedy, "can_mend": can}
