"""The record of a promotion or a rollback, as it is kept and printed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pipeline.driver.json_files import finite
from pipeline.errors import GateRefused
from pipeline.promotion.gates import Gate, refusals


@dataclass(frozen=True)
class Decision:
    """The record of a promotion.

    Attributes:
        decision: What was decided.
        model: Registered model.
        version: The candidate's version; None where it was refused and so not registered.
        previous: The version that the alias pointed at; None where there was none.
        gates: All gates, passed or not.
        details: What else led here: alias, run, trial, scores, data digest, readings of test.
    """

    decision: Literal["promoted", "refused", "rolled_back"]
    model: str
    version: str | None
    previous: str | None
    gates: tuple[Gate, ...] = ()
    details: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Returns plain JSON values; a number that is not finite is null."""
        values = {
            "decision": self.decision,
            "model": self.model,
            "version": self.version,
            "previous": self.previous,
            "gates": [vars(gate) for gate in self.gates],
            **self.details,
        }
        plain: dict[str, Any] = finite(values)
        return plain


class Refused(GateRefused):
    """Gates refused; `decision` says which and why."""

    def __init__(self, decision: Decision) -> None:
        self.decision = decision
        reasons = "; ".join(refusals(decision.gates))
        super().__init__(
            f"{decision.model}: not promoted, {decision.details['alias']} stays at "
            f"{'version ' + decision.previous if decision.previous else 'no version'}. {reasons}."
        )
