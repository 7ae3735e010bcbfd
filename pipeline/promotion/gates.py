"""What a candidate must show before it becomes champion. Pure: scores in, gates out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Protocol

from pipeline.study.outcome import GatesSpec


class Scored(Protocol):
    """Scores on the test rows; an `Evaluation` is one.

    Attributes:
        scores: Task to primary metric, oriented so that higher is better.
        mean: Of the scores.
    """

    @property
    def scores(self) -> Mapping[str, float]:
        """Score of each task."""

    @property
    def mean(self) -> float:
        """Mean score."""


@dataclass(frozen=True)
class Gate:
    """One condition.

    Attributes:
        name: Such as `min_gain`, or `max_task_loss.income`.
        passed: Whether it holds.
        value: What was measured; None where there is nothing to compare with.
        threshold: What the value must reach (or, for `beats_constant`, exceed).
    """

    name: str
    passed: bool
    value: float | None
    threshold: float | None


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

    decision: Literal["promoted", "refused"]
    model: str
    version: str | None
    previous: str | None
    gates: tuple[Gate, ...]
    details: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Returns plain JSON values; a gate's value that is no number is null."""
        return {
            "decision": self.decision,
            "model": self.model,
            "version": self.version,
            "previous": self.previous,
            "gates": [
                {**asdict(gate), "value": _finite(gate.value), "threshold": _finite(gate.threshold)}
                for gate in self.gates
            ],
            **self.details,
        }


def evaluate_gates(
    state: str,
    candidate: Scored,
    constant: Scored,
    champion: Scored | None,
    spec: GatesSpec,
) -> list[Gate]:
    """Evaluates every gate, also after one has failed. A score that is NaN fails.

    Args:
        state: How the candidate's trial ended; only a complete one may be promoted.
        candidate: On the test rows.
        constant: The constant baseline on the same rows.
        champion: Today's champion on the same rows; None where there is none, and then nothing
            is compared with it.
        spec: Thresholds.
    """
    above = candidate.mean - constant.mean
    gates = [
        Gate("complete_trial", state == "complete", None, None),
        Gate("beats_constant", above > 0, above, 0.0),
    ]
    if champion is None:
        return [*gates, Gate("min_gain", True, None, spec.min_gain)]
    shared = [task for task in candidate.scores if task in champion.scores]
    gain = _mean_gain(shared, candidate, champion)
    gates.append(Gate("min_gain", _reaches(gain, spec.min_gain), gain, spec.min_gain))
    return gates + _task_gates(candidate, champion, spec)


def refusals(gates: Sequence[Gate]) -> list[str]:
    """Returns a clause for each gate that failed, such as "min_gain is -0.01, needs 0".

    A trial that did not complete has no scores: then that is all there is to say.
    """
    failed = [gate for gate in gates if not gate.passed]
    incomplete = [gate for gate in failed if gate.name == "complete_trial"]
    return [_refusal(gate) for gate in incomplete or failed]


def _task_gates(candidate: Scored, champion: Scored, spec: GatesSpec) -> list[Gate]:
    gates = []
    for task in [*candidate.scores, *(t for t in champion.scores if t not in candidate.scores)]:
        name = f"max_task_loss.{task}"
        if task not in champion.scores:
            gates.append(Gate(name, True, None, -spec.max_task_loss))
        elif task not in candidate.scores:
            # The champion answers it today: losing the whole task is the largest loss.
            gates.append(Gate(name, False, None, -spec.max_task_loss))
        else:
            change = candidate.scores[task] - champion.scores[task]
            passed = _reaches(change, -spec.max_task_loss)
            gates.append(Gate(name, passed, change, -spec.max_task_loss))
    return gates


def _mean_gain(shared: Sequence[str], candidate: Scored, champion: Scored) -> float | None:
    """Returns the mean gain over the tasks that both answer; None where there is none."""
    if not shared:
        return None
    return sum(candidate.scores[t] - champion.scores[t] for t in shared) / len(shared)


def _reaches(value: float | None, threshold: float) -> bool:
    # 0.80 - 0.81 is a little below -0.01: a difference of scores is exact to rounding only.
    return value is not None and value >= threshold - 1e-9


def _refusal(gate: Gate) -> str:
    if gate.name == "complete_trial":
        return "complete_trial: the trial did not complete"
    if gate.value is None:
        return f"{gate.name}: the candidate does not answer what the champion answers"
    verb = "must exceed" if gate.name == "beats_constant" else "must be at least"
    return f"{gate.name} is {gate.value:.4g} and {verb} {gate.threshold:.4g}"


def _finite(value: float | None) -> float | None:
    return value if value is not None and abs(value) < float("inf") else None
