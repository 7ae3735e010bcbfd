"""The decision: gates, the record, a version, and the alias last."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from math import isfinite
from typing import TYPE_CHECKING, Any

from pipeline.errors import GateRefused
from pipeline.promotion.card import model_card
from pipeline.promotion.gates import Decision, Scored, evaluate_gates, refusals
from pipeline.promotion.registry import (
    Champion,
    move_alias,
    read_champion,
    register,
    tag_version,
)
from pipeline.serving.connection import store_errors
from pipeline.study.spec import GatesSpec
from pipeline.tracking.store import Store

if TYPE_CHECKING:
    from mlflow import MlflowClient

_RECORD = "promotion/{time}.json"


class Refused(GateRefused):
    """Gates refused; `decision` says which and why."""

    def __init__(self, decision: Decision) -> None:
        self.decision = decision
        reasons = "; ".join(refusals(decision.gates))
        super().__init__(
            f"{decision.model}: not promoted, {decision.details['alias']} stays at "
            f"{'version ' + decision.previous if decision.previous else 'no version'}. {reasons}."
        )


@dataclass(frozen=True)
class Candidate:
    """A model that may become champion.

    Attributes:
        study: Name of the study.
        trial: Number of its trial.
        state: How the trial ended.
        run_id: The trial's run.
        model_id: Its logged model.
        test: Scores on the test rows.
        data: Digest of the data: what may be compared.
        metrics: Task to every metric on test, for the model's card.
        test_reads: How often test was read for this decision's models.
        replicate: Of a finalist, the number of its fresh seed; 0 for the trial itself.
    """

    study: str
    trial: int
    state: str
    run_id: str
    model_id: str
    test: Scored
    data: str
    metrics: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    test_reads: int = 1
    replicate: int = 0


def promote_model(
    store: Store,
    candidate: Candidate,
    *,
    model: str,
    alias: str,
    gates: GatesSpec,
    constant: Scored,
    champion: Champion | None,
    champion_test: Scored | None,
    dry_run: bool = False,
) -> Decision:
    """Evaluates the gates and, if all pass, registers the candidate and moves the alias.

    The record is written to the candidate's run before anything moves, so that a process killed
    in between leaves the alias where it was.

    Args:
        store: The store.
        candidate: What may become champion.
        model: Registered model.
        alias: That applications load.
        gates: Thresholds.
        constant: The constant baseline on the test rows.
        champion: Today's champion, from `read_champion`.
        champion_test: Its scores on the candidate's test rows; None where there is no champion.
        dry_run: Decide, and write nothing.

    Raises:
        Refused: A gate refused; the alias is where it was.
        StoreError: The registry refused, or the alias was moved meanwhile.
    """
    if (champion is None) != (champion_test is None):
        raise ValueError("The champion and its scores must be given together.")
    evaluated = evaluate_gates(candidate.state, candidate.test, constant, champion_test, gates)
    passed = all(gate.passed for gate in evaluated)
    decision = Decision(
        decision="promoted" if passed else "refused",
        model=model,
        version=None,
        previous=champion.version if champion is not None else None,
        gates=tuple(evaluated),
        details=_details(candidate, alias, constant, champion_test),
    )
    if not dry_run:
        decision = _carry_out(store, decision, candidate)
    if not passed:
        raise Refused(decision)
    return decision


def current_champion(store: Store, model: str, alias: str) -> Champion | None:
    """Returns the version that `MODEL@ALIAS` points at; None where there is none yet."""
    return read_champion(store.client(), model, alias)


def _carry_out(store: Store, decision: Decision, candidate: Candidate) -> Decision:
    """Writes the record and, where the gates passed, a version; moves the alias last."""
    client = store.client()
    if decision.decision == "promoted":
        decision = _register(client, decision, candidate)
    _write_record(client, decision, candidate.run_id)
    if decision.version is not None:
        alias = decision.details["alias"]
        move_alias(store, client, decision.model, alias, decision.version, decision.previous)
        tag_version(client, decision.model, decision.version, {"decision": "promoted"})
    return decision


def _register(client: MlflowClient, decision: Decision, candidate: Candidate) -> Decision:
    tags = {
        "study": candidate.study,
        "trial": str(candidate.trial),
        "data": candidate.data,
        "test_mean": f"{candidate.test.mean:.6g}",
        "decision": "pending",
        "gates": json.dumps(decision.to_json()["gates"]),
    }
    version = register(
        client,
        decision.model,
        candidate.model_id,
        candidate.run_id,
        tags,
        model_card(
            decision.model,
            decision.details["alias"],
            study=candidate.study,
            trial=candidate.trial,
            data=candidate.data,
            scores=candidate.test.scores,
            metrics=candidate.metrics,
        ),
    )
    return replace(decision, version=version)


def _details(
    candidate: Candidate, alias: str, constant: Scored, champion: Scored | None
) -> dict[str, Any]:
    return {
        "alias": alias,
        "study": candidate.study,
        "trial": candidate.trial,
        "replicate": candidate.replicate,
        "run_id": candidate.run_id,
        "model_id": candidate.model_id,
        "data": candidate.data,
        "test_reads": candidate.test_reads,
        "test": {
            "candidate": _plain(candidate.test),
            "constant": _plain(constant),
            "champion": _plain(champion) if champion is not None else None,
        },
        "decided": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _plain(found: Scored) -> dict[str, Any]:
    means = {"mean": found.mean, "scores": dict(found.scores)}
    return means if isfinite(found.mean) else {"mean": None, "scores": None}


def _write_record(client: MlflowClient, decision: Decision, run_id: str) -> None:
    time = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%f")
    with store_errors(f"Writing the decision to the run {run_id}"):
        text = json.dumps(decision.to_json(), indent=1)
        client.log_text(run_id, text, _RECORD.format(time=time))
        client.set_tag(run_id, "decision", decision.decision)
