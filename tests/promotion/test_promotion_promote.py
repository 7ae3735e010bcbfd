import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from promotion_cases import CARD, contest, evaluation, facts

from pipeline.errors import GateRefused, InputError, StoreError
from pipeline.promotion import rollback
from pipeline.promotion.decision import Decision, Refused
from pipeline.promotion.gates import Facts
from pipeline.promotion.promote import Candidate, Place, current_champion, promote_model
from pipeline.promotion.registry import move_alias, read_champion, read_pointer, register, settled
from pipeline.promotion.rollback import roll_back
from pipeline.promotion.standalone import Standalone
from pipeline.serving.loading import load_model
from pipeline.tracking.models import log_model
from pipeline.tracking.store import Store


@pytest.fixture(scope="module")
def experiment(store: Store) -> str:
    return store.client().create_experiment("promotion", store.artifact_location("promotion"))


@pytest.fixture
def make_candidate(store: Store, experiment: str, make_predictor: Callable) -> Callable:
    def make(trial: int) -> Candidate:
        client = store.client()
        run_id = client.create_run(experiment).info.run_id
        return Candidate(
            study="promotion",
            trial=trial,
            run_id=run_id,
            model_id=log_model(client, run_id, make_predictor(trial), None, None),
            data="d" * 32,
            test={side: evaluation(income=0.8) for side in ("candidate", "constant")},
            card=CARD,
        )

    return make


def promote(
    store: Store, candidate: Candidate, model: str, dry_run: bool = False, **measured: Any
) -> Decision:
    champion = current_champion(store, model, "champion")
    if champion is not None and "contest" not in measured:
        measured["contest"] = contest(0.1)
    if champion is not None and champion.model_id == candidate.model_id:
        measured |= {"contest": None, "is_champion": True}
    place = Place(model, champion, dry_run=dry_run)
    return promote_model(store, candidate, facts(**measured), place)


def records(store: Store, run_id: str) -> list[dict[str, Any]]:
    files = store.artifacts.rglob("promotion/*.json")
    return [json.loads(path.read_text()) for path in sorted(files) if run_id in path.parts]


def aliases(store: Store, model: str) -> dict[str, str]:
    found = store.client().get_registered_model(model).aliases
    return {alias: str(version) for alias, version in found.items()}


def test_two_promotions_and_a_refusal(
    store: Store, make_candidate: Callable, raw_rows: pd.DataFrame, outside: Path
) -> None:
    client, model = store.client(), "two-and-one"
    first, second, worse = (make_candidate(trial) for trial in (1, 2, 3))
    decision = promote(store, first, model)
    assert (decision.decision, decision.version, decision.previous) == ("promoted", "1", None)
    decision = promote(store, second, model)
    assert (decision.version, decision.previous) == ("2", "1")
    with pytest.raises(Refused, match=r"max_task_loss\.hours is -0\.1") as refused:
        promote(store, worse, model, contest=contest(0.1, hours=-0.1))
    assert refused.value.exit_code == 3
    assert isinstance(refused.value, GateRefused)
    assert refused.value.decision.version is None
    champion = current_champion(store, model, "champion")
    assert champion is not None
    assert (champion.version, champion.run_id) == ("2", second.run_id)
    assert champion.model_id == second.model_id
    assert aliases(store, model) == {"champion": "2", "previous": "1"}
    assert len(client.search_model_versions(f"name = '{model}'")) == 2
    assert [r["decision"] for r in records(store, second.run_id)] == ["promoted"]
    assert records(store, worse.run_id) == [refused.value.decision.to_json()]
    assert champion.tags["decision"] == "promoted"
    assert json.loads(champion.tags["record"]) == records(store, second.run_id)[0]
    assert json.loads(champion.tags["record"])["test_reads"] == 1
    assert client.get_run(worse.run_id).data.tags["decision"] == "refused"
    assert load_model(f"{model}@champion", store.tracking_uri).predict(raw_rows).shape[0] == 4


def test_a_dry_run_writes_nothing(store: Store, make_candidate: Callable) -> None:
    candidate = make_candidate(1)
    decision = promote(store, candidate, "dry", dry_run=True)
    assert (decision.decision, decision.version) == ("promoted", None)
    assert decision.to_json()["dry_run"] is True
    assert current_champion(store, "dry", "champion") is None
    assert store.client().search_registered_models("name = 'dry'") == []
    assert records(store, candidate.run_id) == []
    with pytest.raises(Refused):
        promote(store, candidate, "dry", dry_run=True, narrowed=["x"])
    assert "decision" not in store.client().get_run(candidate.run_id).data.tags


def test_a_pruned_trial_is_refused_and_registers_nothing(
    store: Store, make_candidate: Callable
) -> None:
    place = Place("pruned", None)
    with pytest.raises(Refused, match="did not complete"):
        promote_model(store, make_candidate(1), Facts("pruned"), place)
    assert store.client().search_registered_models("name = 'pruned'") == []


def test_promoting_the_champion_again_makes_no_new_version(
    store: Store, make_candidate: Callable
) -> None:
    candidate = make_candidate(1)
    for _ in range(2):
        assert promote(store, candidate, "again").version == "1"
    assert aliases(store, "again") == {"champion": "1"}


def test_an_alias_that_moved_meanwhile_is_left_alone(
    store: Store, make_candidate: Callable
) -> None:
    promote(store, make_candidate(1), "moved")
    late = make_candidate(2)
    with pytest.raises(StoreError, match="from version none to 1"):
        promote_model(store, late, facts(), Place("moved", None))
    assert aliases(store, "moved") == {"champion": "1"}
    version = store.client().get_model_version("moved", "2")
    assert version.tags["decision"] == "pending"
    # The same command again decides by the new champion, and finds the version that it left.
    assert promote(store, late, "moved").version == "2"
    assert len(store.client().search_model_versions("name = 'moved'")) == 2


def test_of_many_at_once_one_moves_the_alias(store: Store, make_candidate: Callable) -> None:
    client = store.client()
    versions = []
    for trial in range(4):
        candidate = make_candidate(trial)
        versions.append(register(client, "race", candidate.model_id, candidate.run_id, {}, ""))

    def move(version: str) -> bool:
        try:
            move_alias(store, client, "race", "champion", version, expected=None)
        except StoreError:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        moved = list(pool.map(move, versions))
    assert moved.count(True) == 1
    assert aliases(store, "race") == {"champion": versions[moved.index(True)]}


def test_a_version_of_somebody_else_is_told(store: Store, make_candidate: Callable) -> None:
    client = store.client()
    client.create_registered_model("foreign")
    client.create_model_version("foreign", "file:///tmp/nothing")
    client.set_registered_model_alias("foreign", "champion", "1")
    with pytest.raises(InputError, match="not registered by this package"):
        current_champion(store, "foreign", "champion")


@pytest.fixture
def trusting(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clean process takes seconds: see the slow test of one."""
    monkeypatch.setattr(rollback, "check_standalone", lambda *_: Standalone())


def test_a_rollback_restores_the_version_before(
    store: Store, make_candidate: Callable, trusting: None
) -> None:
    candidates = [make_candidate(trial) for trial in (1, 2, 3)]
    for candidate in candidates:
        promote(store, candidate, "back")
    told = roll_back(store, "back", "champion", dry_run=True)
    assert (told.version, told.previous) == ("2", "3")
    assert aliases(store, "back") == {"champion": "3", "previous": "2"}
    decision = roll_back(store, "back", "champion")
    assert decision.to_json()["decision"] == "rolled_back"
    assert aliases(store, "back") == {"champion": "2", "previous": "1"}
    assert [r["decision"] for r in records(store, candidates[1].run_id)] == [
        "promoted", "rolled_back",
    ]  # fmt: skip
    left = store.client().get_model_version("back", "3")
    assert left.tags["decision"] == "rolled_back"
    assert json.loads(left.tags["rollback"])["version"] == "2"
    # What was left can be promoted again, and is then the version before nothing is lost.
    assert promote(store, candidates[2], "back").version == "3"
    assert roll_back(store, "back", "champion", to="1").version == "1"
    assert aliases(store, "back") == {"champion": "1"}
    with pytest.raises(InputError, match="no version before version 1"):
        roll_back(store, "back", "champion")
    assert aliases(store, "back") == {"champion": "1"}


def test_what_cannot_be_rolled_back_is_told(
    store: Store, make_candidate: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    for trial in (1, 2):
        promote(store, make_candidate(trial), "stuck")
    with pytest.raises(InputError, match=r"no model stack.* Did you mean `stuck`"):
        roll_back(store, "stack", "champion")
    with pytest.raises(InputError, match=r"no alias champ.* Did you mean `champion`"):
        roll_back(store, "stuck", "champ")
    with pytest.raises(InputError, match=r"pointed at before: 1\. Found 7"):
        roll_back(store, "stuck", "champion", to="7")
    champion = read_champion(store.client(), "stuck", "champion")
    first = store.client().get_model_version("stuck", "1")
    model = store.client().get_logged_model(str(first.source).removeprefix("models:/"))
    folder = Path(model.artifact_location.removeprefix("file://"))
    folder.rename(folder.with_name("elsewhere"))
    with pytest.raises(InputError, match=r"Version 1 of stuck cannot be loaded.* are gone"):
        roll_back(store, "stuck", "champion")
    assert read_champion(store.client(), "stuck", "champion") == champion


@pytest.mark.parametrize(
    ("history", "current", "expected"),
    [
        ([], None, ()),
        ([], "1", ("1",)),  # promoted before histories were kept, or by hand
        (["1", "2"], "2", ("1", "2")),
        (["1", "2", "3"], "2", ("1", "2")),  # a move forward was killed, or one back
        (["1", "2", "1", "3"], "1", ("1", "2", "1")),
        (["1", "2"], "7", ("1", "2", "7")),  # set by hand
        (["1"], None, ("1",)),  # the first move was killed, or the alias deleted by hand
    ],
)
def test_the_history_follows_the_alias(
    history: list[str], current: str | None, expected: tuple[str, ...]
) -> None:
    assert settled(history, current) == expected


@pytest.mark.slow
def test_an_alias_set_by_hand_can_be_rolled_back(store: Store, make_candidate: Callable) -> None:
    client = store.client()
    promote(store, make_candidate(1), "by-hand")
    candidate = make_candidate(2)
    version = register(client, "by-hand", candidate.model_id, candidate.run_id, {}, "")
    client.set_registered_model_alias("by-hand", "champion", version)
    assert read_pointer(client, "by-hand", "champion").before == "1"
    assert roll_back(store, "by-hand", "champion").version == "1"
    [code] = store.artifacts.glob(f"promotion/**/{candidate.model_id}/artifacts/served.py")
    text = code.read_text()
    code.write_text("import nothing_of_the_kind")
    client.set_registered_model_alias("by-hand", "champion", "1")
    client.set_registered_model_tag("by-hand", "history.champion", '["2", "1"]')
    with pytest.raises(InputError, match="No module named 'nothing_of_the_kind'"):
        roll_back(store, "by-hand", "champion")
    code.write_text(text)
    assert roll_back(store, "by-hand", "champion").version == "2"
