"""A task that writes, from end to end, beside one that classifies."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline import compare, search
from pipeline.serving.bundle import bundle
from pipeline.stages.session import find_trial, model_of, open_searched
from pipeline.study.loading import parse_study
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
