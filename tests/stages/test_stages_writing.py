"""A task that writes, from end to end, beside one that classifies."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipeline import compare, evaluate, load_model, promote, search
from pipeline.cli import main
from pipeline.errors import GateRefused, InputError
from pipeline.promotion.decision import Decision
from pipeline.promotion.standalone import Standalone
from pipeline.serving.bundle import bundle
from pipeline.stages import promoting
from pipeline.stages.session import open_searched
from pipeline.stages.trials import find_trial, model_of
from pipeline.study.loading import Study, parse_study
from pipeline.text.rouge import rouge
from pipeline.tracking.store import Store
from pipeline.training.loop import train
from pipeline.training.members import Member

STUDY = """
name: letters
sources: {letters: {numeric: [size]}}
tasks:
  ask: {kind: summarisation, mode: abstractive, target: ask, text: body, metric: rouge1,
        vocabulary: 40, read: 12, write: 8, width: 24, beam: 2}
  big: {kind: binary, target: big}
split: {column: part}
model: {layers: [8], dropout_head: 0.1}
train: {lr: 0.03, epochs: 14, batch_size: 64, label_smoothing: 0.02}
search: {trials: 2, cohort: 2}
"""


def letters() -> pd.DataFrame:
    """Asks of the name behind the mark, which is another one in each letter."""
    draw = np.random.default_rng(2)
    fillers = ["the", "river", "was", "cold", "and", "deep"]
    rows = []
    for number in range(320):
        words = list(draw.choice(fillers, 6))
        name = f"Name{number}"
        words[int(draw.integers(0, 5)) : 1] = []
        at = int(draw.integers(0, 6))
        body = " ".join([*words[:at], "of", name, *words[at:]])
        size = float(draw.normal())
        rows.append(
            {"body": body, "ask": f"What is {name}?", "size": size,
             "big": "yes" if size > 0 else "no",
             "part": ["train", "train", "valid", "test"][number % 4]}
        )  # fmt: skip
    table = pd.DataFrame(rows)
    table.loc[5, "ask"] = None  # a letter that asks nothing
    return table


STRANGER = """
import json, sys, warnings
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("pipeline", "rouge_score", "sklearn"):
            raise ImportError(name)
sys.meta_path.insert(0, Refuse())
warnings.simplefilter("ignore")
import mlflow.pyfunc, pandas as pd
model = mlflow.pyfunc.load_model(sys.argv[1])
frame = pd.DataFrame({"body": ["the river of Zanzibar was deep", None], "size": [1.0, None]})
print("ANSWER" + json.dumps(model.predict(frame)["ask"].tolist()))
"""


@pytest.mark.slow
def test_a_question_is_learned_compared_and_served(store: Store, tmp_path: Path) -> None:
    study, tables = parse_study(STUDY), {"letters": letters()}
    where = {"store": store, "tables": tables, "say": lambda text: None}
    found = search(study, n_workers=1, **where)
    assert found["best"]["scores"]["ask"] > 0.9
    document = compare(study, **where)
    rows = {row["name"]: row for row in document["summaries"]["ask"]}
    assert rows["this model"]["rouge2"] > rows["first words"]["rouge2"]
    assert rows["this model"]["n"] == 80
    shown = document["samples"]["ask"][0]
    assert shown["reference"].startswith("What is Name")
    assert shown["summary"].startswith("What is")
    assert shown["document"].startswith(shown["first_words"].rstrip("."))
    session = open_searched(study, store, tables)
    for part in ("valid", "test"):
        run_id, name = find_trial(session, "best").run_id, f"samples/{part}/ask.md"
        page = Path(store.client().download_artifacts(run_id, name)).read_text("utf-8")
        assert page.startswith(f"# ask: 8 documents of {part}")
        assert page.count("- **this model**: `What is") == 8
    predictor = model_of(session, find_trial(session, "best"), lambda text: None)
    assert set(predictor.columns) == {"body", "size"}
    with bundle(predictor) as folder:
        done = subprocess.run(
            [sys.executable, "-I", "-c", STRANGER, str(folder)],
            cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip
    assert "ANSWER" in done.stdout, done.stderr
    assert '["What is Zanzibar' in done.stdout
    assert done.stdout.rstrip().endswith(', ""]')  # an empty document asks nothing


@pytest.mark.slow
def test_a_member_that_writes_equals_itself_alone(store: Store) -> None:
    study, tables = parse_study(STUDY, overrides={"name": "alone"}), {"letters": letters()}
    from pipeline.driver.trials import make_member
    from pipeline.stages.session import prepare

    prepared = prepare(study, store, tables)

    def member(number: int) -> Member:
        values = {"train.lr": 0.01 * (1 + number), "train.epochs": 2}
        made = make_member(study, prepared, number, {}, weights=(1.0, float(number % 2)))
        return type(made)(**{**vars(made), "train": type(made.train)(
            **{**vars(made.train), "lr": values["train.lr"], "epochs": 2})})  # fmt: skip

    together = train([member(0), member(1), member(2)], prepared)
    for number, result in enumerate(together):
        (alone,) = train([member(number)], prepared)
        for name, values in alone.parameters.items():
            np.testing.assert_allclose(result.parameters[name], values, atol=2e-5, err_msg=name)


def decided(study: Study, where: dict[str, Any]) -> Decision:
    """The decision of a dry run, whatever it is."""
    try:
        return promote(study, dry_run=True, **where)
    except GateRefused as refused:
        decision: Decision = refused.decision  # type: ignore[attr-defined]
        return decision


def score_of_raw_text(store: Store, model: str, table: pd.DataFrame) -> float:
    """The mean ROUGE-1 of what a registered model writes for the raw test rows."""
    rows = table[table["part"] == "test"]
    written = load_model(model, store).predict(rows[["body", "size"]])["ask"]
    pairs = zip(written, rows["ask"], strict=True)
    return float(np.mean([rouge("rouge1", text, [wanted]) for text, wanted in pairs]))


def test_a_champion_of_other_words_is_compared_on_its_own(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(promoting, "ask_standalone", lambda *_: Standalone(gap=0.0))
    table = letters()
    where = {"store": store, "tables": {"letters": table}, "say": lambda text: None}
    shared = {"promote.model": "words", "search.trials": 1}
    first = parse_study(STUDY, overrides={"name": "words_first", **shared})
    search(first, n_workers=1, **where)
    assert promote(first, **where).decision == "promoted"
    # The words are as common as these rows have them, and so have other numbers.
    kept = (table["part"] != "train") | table["body"].str.startswith(("river", "deep", "of"))
    later = parse_study(
        STUDY, overrides={"name": "words_later", **shared, "train.epochs": 1,
                          "tasks.ask.read": 9, "tasks.ask.write": 6},
    )  # fmt: skip
    fewer = {**where, "tables": {"letters": table[kept]}}
    search(later, n_workers=1, **fewer)
    words = [
        open_searched(study, store, given["tables"]).prepared.tasks[0].options["words"]
        for study, given in ((first, where), (later, fewer))
    ]
    assert words[0] != words[1]
    contest = decided(later, fewer).details["contest"]
    found = contest["champion"]["scores"]["ask"]
    assert found > contest["candidate"]["scores"]["ask"] + 0.1
    assert found == pytest.approx(score_of_raw_text(store, "words@champion", table))
    assert found == pytest.approx(
        evaluate(first, "best", "test", **where)["tasks"]["ask"]["rouge1"]
    )
    moved = parse_study(STUDY.replace("text: body", "text: note"),
                        overrides={"name": "words_moved", **shared, "train.epochs": 1})  # fmt: skip
    noted = {**where, "tables": {"letters": table.rename(columns={"body": "note"})}}
    search(moved, n_workers=1, **noted)
    with pytest.raises(InputError, match="`ask` reads the text `note` and read `body`"):
        promote(moved, **noted)


BOTH = STUDY.replace("name: letters", "name: both").replace(
    "tasks:",
    "tasks:\n  gist: {kind: summarisation, target: gist, text: body, metric: rouge1,"
    " budget: {sentences: 1}}",
).replace("read: 12", "read: 30")  # fmt: skip


def longer_letters() -> pd.DataFrame:
    """Letters with a long sentence behind or before, which is their gist."""
    draw = np.random.default_rng(3)
    table = letters()
    gists = [" ".join(draw.choice(["stone", "cloud", "apple", "tower"], 14)) for _ in table.index]
    table["gist"] = [f"{gist.capitalize()}." for gist in gists]
    bodies = zip(table["body"], table["gist"], draw.random(len(table)) < 0.5, strict=True)
    table["body"] = [
        f"{gist} {body.capitalize()}." if first else f"{body.capitalize()}. {gist}"
        for body, gist, first in bodies
    ]
    table["ask"] = table["ask"].str.replace("Name", "name")
    return table


@pytest.mark.slow
def test_a_choice_and_a_text_are_promoted_and_answered_from_raw_text(
    store: Store, tmp_path: Path
) -> None:
    table = longer_letters()
    where = {"store": store, "tables": {"letters": table}, "say": lambda text: None}
    study = parse_study(BOTH, overrides={"promote.model": "both"})
    search(study, n_workers=1, **where)
    decision = promote(study, **where)
    gates = {gate.name: gate for gate in decision.gates}
    assert decision.decision == "promoted"
    for name in ("loads_alone", "no_pickle", "same_answers"):  # asked in a clean process
        assert gates[name].passed, gates[name]
    assert "at once" in gates["same_answers"].note
    raw, output = tmp_path / "raw.csv", tmp_path / "answers.csv"
    rows = table[table["part"] == "test"]
    rows[["body", "size"]].to_csv(raw, index=False)
    code = main(["predict", "both@champion", str(raw), "-o", str(output),
                 "--store", str(store.folder)])  # fmt: skip
    assert code == 0
    answers = pd.read_csv(output, keep_default_na=False)
    own = evaluate(study, "best", "test", **where)["tasks"]
    for task in ("gist", "ask"):
        pairs = zip(answers[task], rows[task], strict=True)
        score = np.mean([rouge("rouge1", text, [wanted]) for text, wanted in pairs])
        assert score == pytest.approx(own[task]["rouge1"], abs=1e-4)
    assert own["gist"]["rouge1"] > 0.9
    fewer = {**where, "tables": {"letters": table.drop(table.index[:160:4])}}
    later = parse_study(BOTH, overrides={"name": "both_later", "promote.model": "both",
                                         "search.trials": 1, "train.epochs": 1})  # fmt: skip
    search(later, n_workers=1, **fewer)
    champion = decided(later, fewer).details["contest"]["champion"]
    assert champion["scores"]["ask"] == pytest.approx(own["ask"]["rouge1"])
    assert champion["scores"]["gist"] == pytest.approx(own["gist"]["rouge1"])
