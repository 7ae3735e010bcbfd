import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import pandas as pd
import pytest

from pipeline.errors import GateRefused, StoreError
from pipeline.promotion.gates import Decision
from pipeline.promotion.promote import Candidate, Refused, current_champion, promote_model
from pipeline.promotion.registry import move_alias, read_champion, register
from pipeline.serving.loading import load_model
from pipeline.study.outcome import GatesSpec
from pipeline.tracking.models import log_model
from pipeline.tracking.store import Store


@dataclass(frozen=True)
class Scores:
    scores: dict[str, float]

    @property
    def mean(self) -> float:
        return fmean(self.scores.values())


CONSTANT = Scores({"income": 0.5, "hours": 0.0})


@pytest.fixture(scope="module")
def experiment(store: Store) -> str:
    return store.client().create_experiment("promotion", store.artifact_location("promotion"))


@pytest.fixture
def make_candidate(store: Store, experiment: str, make_predictor: Callable) -> Callable:
    def make(trial: int, income: float, hours: float, state: str = "complete") -> Candidate:
        client = store.client()
        run_id = client.create_run(experiment).info.run_id
        return Candidate(
            study="promotion",
            trial=trial,
            state=state,
            run_id=run_id,
            model_id=log_model(client, run_id, make_predictor(trial), None, None),
            test=Scores({"income": income, "hours": hours}),
            data="d" * 32,
            metrics={"income": {"roc_auc": income}},
        )

    return make


def promote(
    store: Store, candidate: Candidate, model: str, before: Scores | None, dry_run: bool = False
) -> Decision:
    return promote_model(
        store,
        candidate,
        model=model,
        alias="champion",
        gates=GatesSpec(),
        constant=CONSTANT,
        champion=current_champion(store, model, "champion"),
        champion_test=before,
        dry_run=dry_run,
    )


def records(store: Store, run_id: str) -> list[dict]:
    files = store.artifacts.rglob("promotion/*.json")
    return [json.loads(path.read_text()) for path in sorted(files) if run_id in path.parts]


def test_two_promotions_and_a_refusal(
    store: Store, make_candidate: Callable, raw_rows: pd.DataFrame, outside: Path
) -> None:
    client, model = store.client(), "two-and-one"
    first, second = make_candidate(1, 0.8, 0.1), make_candidate(2, 0.9, 0.2)
    worse = make_candidate(3, 0.95, 0.1)
    decision = promote(store, first, model, None)
    assert (decision.decision, decision.version, decision.previous) == ("promoted", "1", None)
    decision = promote(store, second, model, first.test)
    assert (decision.version, decision.previous) == ("2", "1")
    with pytest.raises(Refused, match=r"max_task_loss\.hours is -0\.1") as refused:
        promote(store, worse, model, second.test)
    assert refused.value.exit_code == 3
    assert isinstance(refused.value, GateRefused)
    assert refused.value.decision.version is None
    champion = current_champion(store, model, "champion")
    assert champion is not None
    assert (champion.version, champion.run_id) == ("2", second.run_id)
    assert champion.model_id == second.model_id
    previous = read_champion(client, model, "previous")
    assert previous is not None
    assert previous.version == "1"
    assert len(client.search_model_versions(f"name = '{model}'")) == 2
    assert [r["decision"] for r in records(store, second.run_id)] == ["promoted"]
    assert records(store, worse.run_id) == [refused.value.decision.to_json()]
    assert champion.tags["decision"] == "promoted"
    assert load_model(f"{model}@champion", store.tracking_uri).predict(raw_rows).shape[0] == 4


def test_the_card_says_how_to_load(store: Store, make_candidate: Callable) -> None:
    promote(store, make_candidate(1, 0.8, 0.1), "card", None)
    card = store.client().get_model_version("card", "1").description
    assert 'mlflow.pyfunc.load_model("models:/card@champion")' in card
    assert "| income | 0.8000 | roc_auc 0.8000 |" in card
    assert "d" * 32 in card


def test_a_dry_run_writes_nothing(store: Store, make_candidate: Callable) -> None:
    candidate = make_candidate(1, 0.8, 0.1)
    decision = promote(store, candidate, "dry", None, dry_run=True)
    assert (decision.decision, decision.version) == ("promoted", None)
    assert current_champion(store, "dry", "champion") is None
    assert store.client().search_registered_models("name = 'dry'") == []
    assert records(store, candidate.run_id) == []
    with pytest.raises(Refused):
        promote(store, make_candidate(2, 0.5, 0.0), "dry", None, dry_run=True)


def test_a_pruned_trial_is_refused_and_registers_nothing(
    store: Store, make_candidate: Callable
) -> None:
    with pytest.raises(Refused, match="did not complete"):
        promote(store, make_candidate(1, 0.8, 0.1, state="pruned"), "pruned", None)
    assert store.client().search_registered_models("name = 'pruned'") == []


def test_promoting_the_champion_again_makes_no_new_version(
    store: Store, make_candidate: Callable
) -> None:
    candidate = make_candidate(1, 0.8, 0.1)
    for _ in range(2):
        champion = current_champion(store, "again", "champion")
        decision = promote(store, candidate, "again", candidate.test if champion else None)
        assert decision.version == "1"
    assert read_champion(store.client(), "again", "previous") is None


def test_an_alias_that_moved_meanwhile_is_left_alone(
    store: Store, make_candidate: Callable
) -> None:
    seen = current_champion(store, "moved", "champion")
    promote(store, make_candidate(1, 0.8, 0.1), "moved", None)
    with pytest.raises(StoreError, match="from version none to 1"):
        promote_model(
            store,
            make_candidate(2, 0.9, 0.2),
            model="moved",
            alias="champion",
            gates=GatesSpec(),
            constant=CONSTANT,
            champion=seen,
            champion_test=None,
        )
    champion = current_champion(store, "moved", "champion")
    assert champion is not None
    assert champion.version == "1"


def test_of_many_at_once_one_moves_the_alias(store: Store, make_candidate: Callable) -> None:
    client = store.client()
    versions = []
    for trial in range(4):
        candidate = make_candidate(trial, 0.8, 0.1)
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
    champion = read_champion(client, "race", "champion")
    assert champion is not None
    assert champion.version == versions[moved.index(True)]


def test_a_champion_without_its_scores_is_a_mistake(store: Store, make_candidate: Callable) -> None:
    with pytest.raises(ValueError, match="together"):
        promote(store, make_candidate(1, 0.8, 0.1), "mistake", CONSTANT)
