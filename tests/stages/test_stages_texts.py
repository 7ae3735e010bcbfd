"""A study that learns to read from end to end: search, compare, promote, answer from raw text."""

import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from encoder_cases import tiny_folder
from text_cases import notes

from pipeline import compare, promote, search
from pipeline.serving.bundle import bundle, requirements
from pipeline.serving.loading import load_model
from pipeline.stages.session import open_searched
from pipeline.stages.trials import find_trial, model_of
from pipeline.study.loading import parse_study
from pipeline.tracking.store import Store

STUDY = """
name: read_notes
sources: {notes: {text: body}}
tasks: {topic: {kind: multiclass, target: topic, metric: accuracy}}
split: {train: 0.5, valid: 0.25, test: 0.25, stratify: topic}
model:
  encoder:
    kind: [bag, transformer, tfidf]
    width: 8
    linear: true
    embed: 8
    buckets: 64
    vocabulary: 128
    max_tokens: 32
    depth: 1
    heads: 2
    dropout: {low: 0.0, high: 0.3}
    pool: {choices: [mean, attention]}
  layers: [8]
train: {epochs: 8, batch_size: 32, lr: 0.02}
search: {trials: 3, cohort: 3, pruner: none, finalists: {k: 1, seeds: 2}}
promote: {gates: {}}
"""

STRANGER = """
import json, sys, warnings
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("pipeline", "transformers", "sklearn"):
            raise ImportError(name)
sys.meta_path.insert(0, Refuse())
warnings.simplefilter("ignore")
import mlflow.pyfunc, pandas as pd
model = mlflow.pyfunc.load_model(sys.argv[1])
print("ANSWER" + json.dumps(model.predict(pd.DataFrame({"body": json.loads(sys.argv[2])}))["topic"]
                            .tolist()))
"""


@pytest.mark.slow
def test_a_study_learns_to_read_and_is_served(store: Store, tmp_path: Path) -> None:
    study, tables = parse_study(STUDY), {"notes": notes(200)}
    where = {"store": store, "tables": tables, "say": lambda text: None}
    found = search(study, n_workers=1, **where)
    assert found["best"]["score"] > 0.8
    document = compare(study, n_workers=1, **where)
    means = {row["kind"]: row["mean"] for row in document["rows"]}
    assert means["tuned"] > means["constant"] + 0.3
    assert promote(study, **where).decision == "promoted"
    session = open_searched(study, store, tables)
    predictor = model_of(session, find_trial(session, "best"), lambda text: None)
    texts = [*notes(20, seed=4)["body"], ""]
    with bundle(predictor) as folder:
        assert not [path for path in folder.rglob("*") if path.suffix in (".pkl", ".pickle")]
        done = subprocess.run(
            [sys.executable, "-I", "-c", STRANGER, str(folder), json.dumps(texts)],
            cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip
    assert "ANSWER" in done.stdout, done.stderr
    answers = json.loads(done.stdout.rpartition("ANSWER")[2])
    assert answers == predictor.predict(pd.DataFrame({"body": texts}))["topic"].tolist()


def test_a_model_asks_for_what_its_encoders_need() -> None:
    names = {line.partition("==")[0] for line in requirements([("encoder", "transformer")])}
    assert "tokenizers" in names
    assert "transformers" not in names
    assert "tokenizers" not in {
        line.partition("==")[0] for line in requirements([("encoder", "bag")])
    }


TUNED = """
name: tuned_notes
sources: {notes: {text: body}}
tasks: {topic: {kind: multiclass, target: topic, metric: accuracy}}
split: {train: 0.5, valid: 0.25, test: 0.25, stratify: topic}
model:
  encoder:
    kind: [tfidf, pretrained]
    width: 8
    max_tokens: 24
    finetune: lora
    layers: {low: 1, high: 2}
    rank: {choices: [2, 4]}
    alpha: {low: 2, high: 16}
    dropout: {low: 0.0, high: 0.2}
  layers: [8]
train: {epochs: 3, batch_size: 32, lr: 0.02, encoder_lr: {low: 1.0e-4, high: 1.0e-2, log: true}}
search: {trials: 4, cohort: 4, pruner: none, finalists: null}
promote: {gates: {}}
"""


@pytest.mark.slow
def test_pretrained_layers_are_searched_alike_with_any_number_of_workers(store: Store) -> None:
    settings = {"model.encoder.path": str(tiny_folder(32, 2))}
    tables = {"notes": notes(160)}
    where = {"store": store, "tables": tables, "say": lambda text: None}
    found = []
    for n_workers in (1, 2):
        study = parse_study(TUNED, overrides={**settings, "name": f"tuned_notes_{n_workers}"})
        document = search(study, n_workers=n_workers, **where)
        found.append((document["trials"], document["best"]["score"], document["best"]["params"]))
    assert found[0] == found[1]
    assert found[0][0]["complete"] == 4
    assert promote(study, **where).decision == "promoted"
    session = open_searched(study, store, tables)
    predictor = model_of(session, find_trial(session, "best"), lambda text: None)
    raw = notes(20, seed=4)
    loaded = load_model(f"{study.spec.name}@champion", store.tracking_uri)
    pd.testing.assert_frame_equal(loaded.predict(raw), predictor.predict(raw), rtol=1e-5)
