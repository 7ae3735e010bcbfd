"""A study with a summary from end to end: search, compare, promote, answer from raw text."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline import compare, promote, search
from pipeline.driver.pareto import constant_scores
from pipeline.evaluation.evaluate import constant_outputs, evaluate_one
from pipeline.report.comparison import summary_tables
from pipeline.serving.bundle import bundle
from pipeline.stages.session import open_searched
from pipeline.stages.trials import find_trial, model_of
from pipeline.study.loading import parse_study
from pipeline.tracking.store import Store

STUDY = """
name: reports
sources: {reports: {id: name}}
tasks:
  gist: {kind: summarisation, target: gist, text: body, metric: rouge1, budget: {sentences: 1}}
  grade: {kind: binary, target: grade}
split: {column: part}
model: {layers: [16]}
train: {lr: 0.02, epochs: 8, batch_size: 64}
search: {trials: 2, cohort: 2}
promote: {gates: {}}
"""


def reports() -> pd.DataFrame:
    """The gist is the longest sentence, which stands last or in the middle."""
    draw = np.random.default_rng(1)
    words = ["river", "stone", "cloud", "apple", "tower", "light", "paper", "horse"]

    def sentence(n_words: int) -> str:
        return " ".join(draw.choice(words, n_words)).capitalize() + "."

    rows = []
    for number in range(160):
        pieces = [sentence(4), sentence(4), sentence(4)]
        long = sentence(11)
        pieces.insert(int(draw.integers(1, 4)), long)
        size = float(draw.normal())
        rows.append(
            {
                "name": f"r{number}", "body": " ".join(pieces), "gist": long, "size": size,
                "grade": "good" if size > 0 else "bad",
                "part": ["train", "train", "valid", "test"][number % 4],
            }
        )  # fmt: skip
    return pd.DataFrame(rows)


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
frame = pd.DataFrame({"body": ["One is. Two words here are many more than that. No.", None],
                      "size": [1.0, None]})
print("ANSWER" + json.dumps(model.predict(frame).to_dict(orient="list")))
"""


@pytest.mark.slow
def test_a_summary_is_learned_compared_and_served(store: Store, tmp_path: Path) -> None:
    study, tables = parse_study(STUDY), {"reports": reports()}
    where = {"store": store, "tables": tables, "say": lambda text: None}
    found = search(study, n_workers=1, **where)
    assert found["best"]["scores"]["gist"] > 0.9
    document = compare(study, **where)
    rows = {row["name"]: row for row in document["summaries"]["gist"]}
    assert list(rows) == [
        "this model",
        "first words",
        "first words (reference length)",
        "lead",
        "TextRank",
        "oracle",
    ]
    (tuned,) = [row for row in document["rows"] if row["kind"] == "tuned"]
    (constant,) = [row for row in document["rows"] if row["kind"] == "constant"]
    assert rows["this model"]["rouge1"] == pytest.approx(tuned["tasks"]["gist"]["rouge1"])
    # With equal scores the first piece is taken: the constant row is the lead.
    assert rows["lead"]["rouge1"] == pytest.approx(constant["tasks"]["gist"]["rouge1"])
    assert rows["oracle"]["rouge1"] == pytest.approx(1.0)
    assert rows["this model"]["rouge1"] > rows["first words"]["rouge1"]
    for row in rows.values():
        low, high = row["intervals"]["rouge1"]
        assert low <= row["rouge1"] <= high
        assert row["n"] == 40
    table, examples = summary_tables(document)
    assert (table.row_count, examples.row_count) == (6, 3)
    assert promote(study, **where).decision == "promoted"
    session = open_searched(study, store, tables)
    predictor = model_of(session, find_trial(session, "best"), lambda text: None)
    assert set(predictor.columns) == {"body", "size"}
    with bundle(predictor) as folder:
        done = subprocess.run(
            [sys.executable, "-I", "-c", STRANGER, str(folder)],
            cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip
    assert "ANSWER" in done.stdout, done.stderr
    assert '"gist": ["Two words here are many more than that.", ""]' in done.stdout


def test_a_summary_may_be_one_of_several_objectives(store: Store) -> None:
    text = STUDY.replace("name: reports", "name: reports_front").replace(
        "search: {", "search: {objective: [gist, grade], finalists: null, "
    )
    tables = {"reports": reports()}
    found = search(
        parse_study(text), n_workers=1, store=store, tables=tables, say=lambda text: None
    )
    assert {one["trial"] for one in found["front"]} <= {0, 1}
    best = found["best"]["scores"]
    session = open_searched(parse_study(text), store, tables)
    least = constant_scores(session.prepared)
    valid = session.prepared.parts["valid"]
    constant = constant_outputs(session.prepared.kinds(), len(valid))
    read = evaluate_one(session.prepared.kinds(), constant, valid.targets, "valid")
    assert least == pytest.approx(read.scores)
    volume = (best["gist"] - least["gist"]) * (best["grade"] - least["grade"])
    assert found["hypervolume"] >= volume - 1e-9 > 0
