"""Promotion and use of what was promoted, from Python."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, r2_score, roc_auc_score
from stage_cases import Chain, chain_study

from pipeline import evaluate, load_model, prepare, promote, search
from pipeline.driver.records import best_trials
from pipeline.errors import DataError, GateRefused, InputError
from pipeline.promotion.decision import Decision
from pipeline.promotion.standalone import Standalone
from pipeline.serving.loading import load_predictor
from pipeline.stages import promoting

Promoted = tuple[Chain, Decision]


@pytest.fixture(autouse=True)
def no_clean_process(promoted: Promoted, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first promotion asked the model in a clean process; once is enough for seconds each."""
    answered = Standalone(gap=0.0, latency_ms=1.0, size_mb=0.1)
    monkeypatch.setattr(promoting, "ask_standalone", lambda *_: answered)


def alias_of(chain: Chain) -> str:
    return str(chain.store.client().get_model_version_by_alias("chain", "champion").version)


def test_promote_returns_its_contract_and_moves_the_alias(promoted: Promoted) -> None:
    chain, decision = promoted
    found = decision.to_json()
    assert {"decision", "model", "version", "previous", "gates"} <= {*found}
    assert (found["decision"], found["model"], found["previous"]) == ("promoted", "chain", None)
    assert found["version"] == alias_of(chain)
    assert all({*gate} >= {"name", "passed", "value", "threshold"} for gate in found["gates"])
    assert all(gate["passed"] for gate in found["gates"])
    version = chain.store.client().get_model_version("chain", decision.version)
    assert version.run_id == chain.shipped.run_id
    assert version.tags["data"] == chain.prepared.data_digest


def test_a_worse_trial_is_refused_and_the_alias_stays(promoted: Promoted) -> None:
    chain, decision = promoted
    worst = best_trials(chain.trials, 99)[-1]
    with pytest.raises(GateRefused) as caught:
        promote(chain.study, worst.number, **chain.where)
    refused = caught.value.decision.to_json()  # type: ignore[attr-defined]
    assert caught.value.exit_code == 3
    assert (refused["decision"], refused["version"]) == ("refused", None)
    assert refused["previous"] == decision.version == alias_of(chain)
    gates = {gate["name"]: gate for gate in refused["gates"]}
    gain = (
        evaluate(chain.study, worst.number, "test", **chain.where)["mean"]
        - evaluate(chain.study, "best", "test", **chain.where)["mean"]
    )
    assert gates["min_gain"]["value"] == pytest.approx(gain)
    assert not gates["min_gain"]["passed"]
    run = chain.store.client().get_run(worst.run_id)
    assert run.data.tags["decision"] == "refused"
    records = chain.store.client().list_artifacts(worst.run_id, "promotion")
    assert len(records) == 1


@pytest.mark.parametrize("state", ["pruned", "diverged"])
def test_a_trial_that_did_not_complete_is_refused_without_a_reading(
    promoted: Promoted, state: str
) -> None:
    chain, decision = promoted
    reads = chain.n_readings
    with pytest.raises(GateRefused, match="the trial did not complete"):
        promote(chain.study, chain.ended_as(state)[0].number, **chain.where)
    assert chain.n_readings == reads
    assert alias_of(chain) == decision.version


def test_promoting_the_champion_again_makes_no_version_and_reads_nothing(
    promoted: Promoted, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain, decision = promoted
    reads = chain.n_readings
    monkeypatch.setattr(promoting, "hold_contest", None)
    again = promote(chain.study, **chain.where)
    assert (again.decision, again.version, again.previous) == (
        "promoted", decision.version, decision.version,
    )  # fmt: skip
    assert chain.n_readings == reads
    assert len(chain.store.client().search_model_versions("name = 'chain'")) == 1


def test_a_dry_run_registers_nothing(promoted: Promoted) -> None:
    chain, _ = promoted
    client, best = chain.store.client(), chain.shipped
    n_records = len(client.list_artifacts(best.run_id, "promotion"))
    tried = chain_study(promote__model="tried")
    decision = promote(tried, dry_run=True, **chain.where)
    assert (decision.decision, decision.model, decision.version) == ("promoted", "tried", None)
    assert not client.search_registered_models("name = 'tried'")
    assert len(client.list_artifacts(best.run_id, "promotion")) == n_records


def test_a_champion_of_other_inputs_is_compared_on_its_own(promoted: Promoted) -> None:
    chain, decision = promoted
    narrow = chain_study(
        "narrow", sources__people__drop=["member"], promote__model="chain", search__trials=1
    )
    search(narrow, n_workers=1, **chain.where)
    with pytest.raises(GateRefused) as caught:
        promote(narrow, **chain.where)
    refused = caught.value.decision  # type: ignore[attr-defined]
    # The champion reads `member`, which this study drops: fewer columns break no application.
    assert {gate.name: gate.passed for gate in refused.gates}["signature"]
    own = evaluate(chain.study, "best", "test", **chain.where)["mean"]
    assert refused.details["contest"]["champion"]["mean"] == pytest.approx(own)
    assert alias_of(chain) == decision.version


def test_a_champion_of_a_column_that_is_gone_is_not_compared(promoted: Promoted) -> None:
    chain, decision = promoted
    where = {**chain.where, "tables": {"people": chain.frame.drop(columns="member")}}
    without = chain_study("without", promote__model="chain", search__trials=1)
    search(without, n_workers=1, **where)
    with pytest.raises(DataError, match="`member`"):
        promote(without, **where)
    assert alias_of(chain) == decision.version


def test_a_champion_of_other_labels_is_not_compared(promoted: Promoted) -> None:
    chain, decision = promoted
    frame = chain.frame.assign(colour=chain.frame["colour"].replace("red", "pink"))
    where = {**chain.where, "tables": {"people": frame}}
    pink = chain_study("pink", promote__model="chain", search__trials=1)
    search(pink, n_workers=1, **where)
    with pytest.raises(InputError, match=r"`promote\.model` another name"):
        promote(pink, **where)
    assert alias_of(chain) == decision.version


def test_a_champion_of_other_train_rows_is_compared_on_the_same_test_rows(
    promoted: Promoted,
) -> None:
    chain, _ = promoted
    where = {**chain.where, "tables": {"people": chain.frame.iloc[60:]}}
    later = chain_study("later", promote__model="chain", train__lr=0.01, search__trials=1)
    search(later, n_workers=1, **where)
    ours, theirs = (prepare(study, chain.store, tables) for study, tables in (
        (later, where["tables"]), (chain.study, chain.where["tables"])))  # fmt: skip
    assert ours.encoder != theirs.encoder
    try:
        decision = promote(later, dry_run=True, **where)
    except GateRefused as refused:
        decision = refused.decision  # type: ignore[attr-defined]
    own = evaluate(chain.study, "best", "test", **chain.where)["tasks"]
    scores = decision.details["test"]["champion"]["scores"]
    assert scores["bought"] == pytest.approx(own["bought"]["roc_auc"])
    assert scores["colour"] == pytest.approx(own["colour"]["accuracy"])
    assert scores["size"] == pytest.approx(own["size"]["r2"])


def decided(study: Any, where: dict[str, Any], **options: Any) -> Decision:
    """The decision of a dry run, whatever it is."""
    try:
        return promote(study, dry_run=True, **options, **where)
    except GateRefused as refused:
        decision: Decision = refused.decision  # type: ignore[attr-defined]
        return decision


@pytest.mark.parametrize("identity", ["row", None])
def test_rows_that_the_champion_has_seen_do_not_count(
    promoted: Promoted, identity: str | None
) -> None:
    """Of the rows that this study tests on, the champion was trained on 30 and chosen on 30."""
    chain, _ = promoted
    part = np.array(
        ["train"] * 150 + ["test"] * 60 + ["valid"] * 30 + ["test"] * 30 + ["valid"] * 30
    )
    where = {**chain.where, "tables": {"people": chain.frame.assign(part=part)}}
    name = f"turned_{identity or 'by_content'}"
    # Without an id, rows are known by their content, though the champion's are named.
    people = {"id": identity, "drop": [] if identity else ["row"]}
    turned = chain_study(name, promote__model="chain", search__trials=1, sources={"people": people})
    search(turned, n_workers=1, **where)
    decision = decided(turned, where)
    contest = decision.details["contest"]
    counts = {key: contest[key] for key in ("n_rows", "n_compared", "n_trained", "n_chosen")}
    assert counts == {"n_rows": 90, "n_compared": 30, "n_trained": 30, "n_chosen": 30}
    unseen = chain.frame.iloc[240:270]
    answer = load_model("chain@champion", chain.store).predict(unseen)
    r2 = r2_score(unseen["size"], answer["size"])
    assert contest["champion"]["scores"]["size"] == pytest.approx(r2, abs=1e-5)
    assert contest["champion"]["n_rows"]["size"] == 30
    note = next(gate.note for gate in decision.gates if gate.name == "min_gain")
    assert note == "30 of 90 rows (left out: 30 trained on, 30 chosen on)"


def test_without_a_row_left_there_is_no_promotion(promoted: Promoted) -> None:
    chain, _ = promoted
    part = np.array(["test"] * 60 + ["train"] * 200 + ["valid"] * 40)
    where = {**chain.where, "tables": {"people": chain.frame.assign(part=part)}}
    study = chain_study("all_seen", promote__model="chain", search__trials=1)
    search(study, n_workers=1, **where)
    decision = decided(study, where)
    gain = next(gate for gate in decision.gates if gate.name == "min_gain")
    assert (gain.passed, gain.value) == (False, None)
    assert gain.note == "0 of 60 rows (left out: 60 trained on)"
    assert decision.details["contest"]["champion"] is None


def test_rows_to_beat_are_measured_and_others_are_warned_of(promoted: Promoted) -> None:
    chain, _ = promoted
    beat = ["linear", "single_task"]
    decision = decided(chain_study(promote__gates__beat=beat), chain.where)
    gates = {gate.name: gate for gate in decision.gates}
    rows = {row["kind"]: row for row in chain.found["compare"]["rows"]}
    own = evaluate(chain.study, "best", "test", **chain.where)["mean"]
    for kind in ("constant", *beat, "boosting", "equal_weights"):
        assert gates[f"beats_{kind}"].value == pytest.approx(own - rows[kind]["mean"]), kind
    for kind in beat:
        bound = gates[f"beats_{kind}"].bound
        assert bound is not None
        assert gates[f"beats_{kind}"].passed == (bound > 0)
    for kind in ("boosting", "equal_weights"):
        assert gates[f"beats_{kind}"].passed
        assert gates[f"beats_{kind}"].warns == (own <= rows[kind]["mean"])


def test_a_row_to_beat_that_was_not_searched_is_asked_for(promoted: Promoted) -> None:
    chain, _ = promoted
    where = chain.where
    alone = chain_study("uncompared", search__trials=1, promote__gates__beat=["single_task"])
    search(alone, n_workers=1, **where)
    with pytest.raises(InputError, match=r"names single_task.*`mtl compare`"):
        promote(alone, **where)
    linear = chain_study("uncompared", search__trials=1, promote__gates__beat=["linear"])
    decision = decided(linear, where)
    assert "beats_linear" in {gate.name for gate in decision.gates}
    assert any("`mtl compare` does" in line for line in chain.said)


def test_a_champion_whose_files_are_gone_is_told(promoted: Promoted) -> None:
    chain, decision = promoted
    model = chain.store.client().get_logged_model(decision.details["model_id"])
    folder = Path(model.artifact_location.removeprefix("file://"))
    folder.rename(folder.with_name("hidden"))
    try:
        with pytest.raises(InputError, match=r"Version 1 of chain, today's champion.*mtl rollback"):
            promote(chain.study, **chain.where)
    finally:
        folder.with_name("hidden").rename(folder)
    weights = folder / "artifacts" / "predictor" / "weights.npz"
    kept = weights.read_bytes()
    weights.write_bytes(kept[:100])
    try:
        with pytest.raises(InputError, match=r"today's champion.*damaged"):
            promote(chain.study, **chain.where)
    finally:
        weights.write_bytes(kept)
    assert alias_of(chain) == decision.version


def test_the_version_says_what_it_is(promoted: Promoted) -> None:
    chain, decision = promoted
    card = chain.store.client().get_model_version("chain", str(decision.version)).description
    own = evaluate(chain.study, "best", "test", **chain.where)
    for task, metrics in own["tasks"].items():
        shown = ", ".join(f"{name} {value:.4f}" for name, value in metrics.items())
        assert f"| {task} | " in card
        assert shown in card
    assert "train 180, valid 60, test 60" in card
    assert "models:/chain@champion" in card
    record = chain.store.client().get_model_version("chain", str(decision.version)).tags["record"]
    assert json.loads(record)["test_reads"] == decision.details["test_reads"] > 1
    assert json.loads(record)["decision"] == "promoted"


def test_a_model_tells_which_rows_it_saw(promoted: Promoted) -> None:
    chain, decision = promoted
    model = load_predictor(decision.details["model_id"], chain.store.tracking_uri)
    parts = chain.prepared.parts
    assert {part: len(marks) for part, marks in model.seen.items()} == {"train": 360, "valid": 120}
    assert parts["train"].known_in(model.seen["train"]).all()
    assert not parts["test"].known_in(np.concatenate([*model.seen.values()])).any()


def test_the_promoted_model_answers_raw_rows_as_it_was_evaluated(promoted: Promoted) -> None:
    chain, _ = promoted
    rows = chain.frame[chain.frame["part"] == "test"]
    assert rows["city"].isna().any()
    assert "Zug" not in set(chain.frame["city"][chain.frame["part"] == "train"])
    answer = load_model("chain@champion", chain.store).predict(rows)
    assert list(answer) == [
        "bought", "bought_proba_no", "bought_proba_yes",
        "colour", "colour_proba_blue", "colour_proba_green", "colour_proba_red", "size",
    ]  # fmt: skip
    assert answer.index.equals(rows.index)
    tasks = evaluate(chain.study, "best", "test", **chain.where)["tasks"]
    labelled = rows["colour"].notna()
    assert accuracy_score(rows["colour"][labelled], answer["colour"][labelled]) == pytest.approx(
        tasks["colour"]["accuracy"]
    )
    assert accuracy_score(rows["bought"], answer["bought"]) == pytest.approx(
        tasks["bought"]["accuracy"]
    )
    auc = roc_auc_score(rows["bought"] == "yes", answer["bought_proba_yes"])
    assert auc == pytest.approx(tasks["bought"]["roc_auc"])
    assert r2_score(rows["size"], answer["size"]) == pytest.approx(tasks["size"]["r2"], abs=1e-5)


def test_one_row_is_answered_as_among_others(promoted: Promoted) -> None:
    chain, decision = promoted
    model = load_model(f"chain/{decision.version}", chain.store)
    rows = chain.frame.tail(4).drop(columns=["bought", "colour", "size", "row", "part"])
    together = model.predict(rows)
    alone = model.predict(rows.tail(1))
    for column in together:
        if together[column].dtype.kind == "f":
            np.testing.assert_allclose(alone[column], together[column].tail(1), rtol=1e-5)
        else:
            assert alone[column].tolist() == together[column].tail(1).tolist()


def test_a_run_names_its_model_too(promoted: Promoted) -> None:
    chain, _ = promoted
    best = best_trials(chain.trials, 1)[0]
    assert load_model(best.run_id, chain.store).run_id == best.run_id
    pruned = chain.ended_as("pruned")[0]
    with pytest.raises(InputError, match="has no model"):
        load_model(pruned.run_id, chain.store)


@pytest.mark.parametrize("uri", ["chain@challenger", "nobody@champion", "chain/99", "chain"])
def test_an_unknown_model_is_refused_with_the_known_aliases(promoted: Promoted, uri: str) -> None:
    with pytest.raises(InputError) as caught:
        load_model(uri, promoted[0].store)
    message = str(caught.value)
    assert "chain@champion" in message or "NAME@ALIAS" in message


def test_there_is_no_model_where_there_is_no_store(tmp_path) -> None:
    with pytest.raises(InputError, match=r"There is no store at .*--store DIR"):
        load_model("chain@champion", tmp_path / "none")
    assert not (tmp_path / "none").exists()
