"""What a candidate must show before it becomes champion. Pure: measurements in, gates out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from pipeline.promotion.contest import Change, Contest
from pipeline.promotion.standalone import Standalone
from pipeline.study.promote_spec import GatesSpec

SAME = 1e-4
"""Most that two answers of one model may differ: what rounding in float32 explains. Relative to
values above 1."""


@dataclass(frozen=True)
class Gate:
    """One condition.

    Attributes:
        name: Such as `min_gain`, or `max_task_loss.income`.
        passed: Whether it holds.
        value: What was measured; None where there is nothing to measure or compare with.
        threshold: What the value (or `bound`, where there is one) must reach; for `beats_`, exceed;
            for `max_latency_ms`, `max_size_mb` and `same_answers`, not exceed. None without limit.
        bound: What the true value exceeds with the confidence that was asked for.
        note: What a person should know, as a phrase.
        warns: Whether it passed with a warning.
    """

    name: str
    passed: bool
    value: float | None = None
    threshold: float | None = None
    bound: float | None = None
    note: str = ""
    warns: bool = False


@dataclass(frozen=True)
class Facts:
    """What was measured of a candidate.

    Attributes:
        state: How its trial ended; of one that did not complete, nothing else is measured.
        rivals: Row of the comparison that it must beat to what it gains over it on test.
        others: Other rows to how far its mean test score is above theirs.
        contest: It and today's champion on the same test rows; None where there is no champion,
            or it is the champion itself.
        is_champion: Whether it is the champion already.
        standalone: How it answers in a clean process; None where it was not tried.
        narrowed: What it does not accept although the champion does, a phrase each.
        dirty: Whether it was trained, or is promoted, with changes that are not committed; None
            where the work is in no repository.
    """

    state: str
    rivals: Mapping[str, Change | None] = field(default_factory=dict)
    others: Mapping[str, float] = field(default_factory=dict)
    contest: Contest | None = None
    is_champion: bool = False
    standalone: Standalone | None = None
    narrowed: Sequence[str] = ()
    dirty: bool | None = None


def evaluate_gates(facts: Facts, spec: GatesSpec) -> tuple[Gate, ...]:
    """Evaluates every gate, also after one has failed. A score that is NaN fails.

    Args:
        facts: What was measured.
        spec: Thresholds.
    """
    complete = facts.state == "complete"
    note = "" if complete else f"the trial {facts.state}: nothing else is measured"
    return (
        Gate("complete_trial", complete, note=note),
        *_rival_gates(facts, spec),
        *_champion_gates(facts, spec),
        *_standalone_gates(facts.standalone, spec),
        Gate("signature", complete and not facts.narrowed, note="; ".join(facts.narrowed)),
        _git_gate(facts.dirty, spec),
    )


def refusals(gates: Sequence[Gate]) -> list[str]:
    """Returns a clause for each gate that failed, such as "min_gain is -0.01, needs 0".

    A trial that did not complete has no scores: then that is all there is to say.
    """
    failed = [gate for gate in gates if not gate.passed]
    incomplete = [gate for gate in failed if gate.name == "complete_trial"]
    return [_refusal(gate) for gate in incomplete or failed]


def _rival_gates(facts: Facts, spec: GatesSpec) -> Iterator[Gate]:
    for row in dict.fromkeys(["constant", *spec.beat]):
        change = facts.rivals.get(row)
        above, low = (None, None) if change is None else (change.gain, change.low)
        yield Gate(f"beats_{row}", low is not None and low > 0, above, 0.0, low)
    for row, difference in facts.others.items():
        note = "" if difference > 0 else f"{row.replace('_', ' ')} scores higher"
        yield Gate(f"beats_{row}", True, difference, note=note, warns=not difference > 0)


def _champion_gates(facts: Facts, spec: GatesSpec) -> Iterator[Gate]:
    contest = facts.contest
    if contest is None:
        passed = facts.is_champion or facts.state == "complete"
        note = "it is the champion already" if facts.is_champion else "there is no champion yet"
        yield Gate("min_gain", passed, None, spec.min_gain, note=note if passed else "")
        return
    change = contest.change
    gain, low = (None, None) if change is None else (change.gain, change.low)
    yield Gate("min_gain", _reaches(low, spec.min_gain), gain, spec.min_gain, low, contest.note)
    for task, (loss, *_) in (change.tasks if change is not None else {}).items():
        passed = _reaches(loss, -spec.max_task_loss)
        yield Gate(f"max_task_loss.{task}", passed, loss, -spec.max_task_loss)


def _standalone_gates(found: Standalone | None, spec: GatesSpec) -> Iterator[Gate]:
    if found is None:
        found = Standalone(error="it was not tried")
    yield Gate("loads_alone", not found.error, note=found.error)
    n_pickles = len(found.pickles)
    named = ", ".join(found.pickles[:3])
    yield Gate("no_pickle", not found.error and not n_pickles, float(n_pickles), 0.0, note=named)
    same = found.gap is not None and found.gap <= SAME
    yield Gate("same_answers", same, found.gap, SAME, note=found.compared)
    for name, value, most in (
        ("max_latency_ms", found.latency_ms, spec.max_latency_ms),
        ("max_size_mb", found.size_mb, spec.max_size_mb),
    ):
        passed = most is None or (value is not None and value <= most)
        yield Gate(name, passed, value, most)


def _git_gate(dirty: bool | None, spec: GatesSpec) -> Gate:
    if dirty is None:
        note = "the work is in no git repository"
    else:
        note = "there are changes that are not committed" if dirty else ""
    return Gate("clean_git", not (spec.clean_git and note), note=note, warns=bool(dirty))


def _reaches(value: float | None, threshold: float) -> bool:
    # 0.80 - 0.81 is a little below -0.01: a difference of scores is exact to rounding only.
    return value is not None and value >= threshold - 1e-9


def _refusal(gate: Gate) -> str:
    if gate.name == "complete_trial":
        return "complete_trial: the trial did not complete"
    if gate.value is None:
        return f"{gate.name}: {gate.note or 'nothing to measure it on'}"
    verb = "exceed" if gate.name.startswith("beats_") else "be at least"
    if gate.name in ("max_latency_ms", "max_size_mb", "same_answers", "no_pickle"):
        verb = "be at most"
    shown = f"{gate.name} is {gate.value:.4g}"
    if gate.bound is not None:
        shown += f", surely {gate.bound:.4g} or more,"
    noted = f" ({gate.note})" if gate.note else ""
    return f"{shown} and must {verb} {gate.threshold:.4g}{noted}"
