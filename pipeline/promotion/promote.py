"""The decision: gates, the record, a version, and the alias last."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pipeline.promotion.card import Card, model_card
from pipeline.promotion.decision import Decision, Refused
from pipeline.promotion.gates import Facts, evaluate_gates
from pipeline.promotion.registry import (
    Champion,
    move_alias,
    read_champion,
    register,
    tag_version,
)
from pipeline.serving.connection import store_errors
from pipeline.study.promote_spec import PromoteSpec
from pipeline.tracking.store import Store

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from pipeline.evaluation.evaluate import Evaluation

_RECORD = "promotion/{time}.json"


@dataclass(frozen=True)
class Candidate:
    """A model that may become champion.

    Attributes:
        study: Name of the study.
        trial: Number of its trial.
        run_id: The trial's run.
        model_id: Its logged model; empty where nothing is to be registered.
        data: Digest of the data: what may be compared.
        test: All test rows' metrics of the candidate (`candidate`) and the `constant`.
        card: What its version says of itself.
        test_reads: How often test was read for the models of this study.
        replicate: Of a finalist, the number of its fresh seed; 0 for the trial itself.
    """

    study: str
    trial: int
    run_id: str
    model_id: str
    data: str
    test: Mapping[str, Evaluation]
    card: Card
    test_reads: int = 1
    replicate: int = 0


@dataclass(frozen=True)
class Place:
    """Where a promotion goes.

    Attributes:
        model: Registered model.
        champion: Today's, from `current_champion`.
        spec: Alias and thresholds.
        dry_run: Decide, and write nothing.
    """

    model: str
    champion: Champion | None
    spec: PromoteSpec = field(default_factory=PromoteSpec)
    dry_run: bool = False


def promote_model(store: Store, candidate: Candidate, facts: Facts, place: Place) -> Decision:
    """Evaluates the gates and, if all pass, registers the candidate and moves the alias.

    The record is written to the candidate's run before anything moves, so that a process killed
    in between leaves the alias where it was.

    Args:
        store: The store.
        candidate: What may become champion.
        facts: What was measured of it.
        place: Where it goes.

    Raises:
        Refused: A gate refused; the alias is where it was.
        StoreError: The registry refused, or the alias was moved meanwhile.
    """
    gates = evaluate_gates(facts, place.spec.gates)
    passed = all(gate.passed for gate in gates)
    decision = Decision(
        decision="promoted" if passed else "refused",
        model=place.model,
        version=None,
        previous=place.champion.version if place.champion is not None else None,
        gates=gates,
        details=_details(candidate, facts, place),
    )
    if not place.dry_run:
        client = store.client()
        if passed:
            decision = _register(client, decision, candidate, facts.is_champion)
        write_record(client, candidate.run_id, decision)
        _point(store, client, decision)
        set_decision(client, candidate.run_id, decision)
    if not passed:
        raise Refused(decision)
    return decision


def current_champion(store: Store, model: str, alias: str) -> Champion | None:
    """Returns the version that `MODEL@ALIAS` points at; None where there is none yet."""
    return read_champion(store.client(), model, alias)


def write_record(client: MlflowClient, run_id: str, decision: Decision) -> None:
    """Keeps a decision as a file of a run."""
    time = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%f")
    with store_errors(f"Writing the decision to the run {run_id}"):
        text = json.dumps(decision.to_json(), indent=1)
        client.log_text(run_id, text, _RECORD.format(time=time))


def set_decision(client: MlflowClient, run_id: str, decision: Decision) -> None:
    """Tags a run with what was decided last."""
    with store_errors(f"Writing the decision to the run {run_id}"):
        client.set_tag(run_id, "decision", decision.decision)


def now() -> str:
    """Returns the time as records have it."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _point(store: Store, client: MlflowClient, decision: Decision) -> None:
    """Moves the alias to the version that was promoted, if one was."""
    model, version, alias = decision.model, decision.version, decision.details["alias"]
    if version is not None:
        move_alias(store, client, model, alias, version, decision.previous)
        tag_version(client, model, version, {"decision": "promoted"})


def _register(
    client: MlflowClient, decision: Decision, candidate: Candidate, is_champion: bool
) -> Decision:
    """Makes the candidate a version that no alias points at yet; the champion is one already."""
    if is_champion:
        return replace(decision, version=decision.previous)
    tags = {
        "study": candidate.study,
        "trial": str(candidate.trial),
        "data": candidate.data,
        "test_mean": f"{candidate.test['candidate'].mean:.6g}",
        "decision": "pending",
    }
    alias = decision.details["alias"]
    card = model_card(decision.model, alias, candidate.card)
    version = register(client, decision.model, candidate.model_id, candidate.run_id, tags, card)
    decision = replace(decision, version=version)
    record = json.dumps(decision.to_json())
    tag_version(client, decision.model, version, {"record": record})
    return decision


def _details(candidate: Candidate, facts: Facts, place: Place) -> dict[str, Any]:
    contest, alone = facts.contest, facts.standalone
    champion = contest.champion if contest is not None else None
    sides = {"candidate": None, "constant": None, **candidate.test, "champion": champion}
    return {
        "alias": place.spec.alias,
        "dry_run": place.dry_run,
        "is_champion": facts.is_champion,
        "study": candidate.study,
        "trial": candidate.trial,
        "replicate": candidate.replicate,
        "run_id": candidate.run_id,
        "model_id": candidate.model_id,
        "data": candidate.data,
        "test_reads": candidate.test_reads,
        "confidence": place.spec.gates.confidence,
        "test": {side: _plain(found) for side, found in sides.items()},
        "contest": None if contest is None else contest.to_json(),
        "standalone": None if alone is None else alone.to_json(),
        "decided": now(),
    }


def _plain(found: Evaluation | None) -> dict[str, Any] | None:
    if found is None:
        return None
    return {"mean": found.mean, "scores": dict(found.scores)}
