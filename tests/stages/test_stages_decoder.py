"""A pretrained encoder-decoder from end to end: topics and texts, promoted, loaded alone."""

import json
import subprocess
import sys
from pathlib import Path
from shutil import copytree

import pandas as pd
import pytest
from encoder_cases import tiny_folder
from safetensors.torch import load_file, save_file
from seq_cases import STUDY, gists, seq_folder

from pipeline import evaluate, load_model, promote, search
from pipeline.errors import DataError
from pipeline.serving.bundle import bundle
from pipeline.stages.session import open_searched, prepare
from pipeline.stages.trials import find_trial, model_of
from pipeline.study.loading import parse_study
from pipeline.text.rouge import rouge
from pipeline.tracking.store import Store

# transformers itself imports sklearn to generate, where it is installed.
STRANGER = """
import json, sys, warnings
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("pipeline", "rouge_score"):
            raise ImportError(name)
sys.meta_path.insert(0, Refuse())
warnings.simplefilter("ignore")
import mlflow.pyfunc, pandas as pd
model = mlflow.pyfunc.load_model(sys.argv[1])
print("ANSWER" + model.predict(pd.read_csv(sys.argv[2])).to_json(orient="records"))
"""


@pytest.mark.slow
def test_a_pretrained_decoder_is_searched_promoted_and_answers_alone(
    store: Store, tmp_path: Path
) -> None:
    table = gists(120)
    gone = Path(copytree(seq_folder("t5"), tmp_path / "gone"))
    study = parse_study(STUDY, overrides={
        "model.encoder.path": str(gone), "train.epochs": 25, "promote.model": "gists",
        "train.encoder_lr": {"low": 3e-3, "high": 3e-2, "log": True},
    })  # fmt: skip
    where = {"store": store, "tables": {"notes": table}, "say": lambda text: None}
    found = search(study, n_workers=1, **where)
    assert found["trials"]["complete"] == 2
    assert promote(study, **where).decision == "promoted"
    session = open_searched(study, store, where["tables"])
    predictor = model_of(session, find_trial(session, "best"), lambda text: None)
    assert set(predictor.columns) == {"body"}
    own = evaluate(study, "best", "test", **where)["tasks"]
    raw = tmp_path / "raw.csv"
    asked = pd.concat([table[["body"]], pd.DataFrame({"body": [None, "", "  "]})])
    asked.assign(row=range(len(asked))).to_csv(raw, index=False)
    with bundle(predictor) as folder:
        for one in gone.iterdir():
            one.unlink()
        done = subprocess.run(
            [sys.executable, "-I", "-c", STRANGER, str(folder), str(raw)],
            cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip
    assert "ANSWER" in done.stdout, done.stderr
    answers = pd.DataFrame(json.loads(done.stdout.partition("ANSWER")[2]))
    assert answers["gist"].tolist()[-3:] == ["", "", ""]
    assert set(answers["gist"][:120]) != {""}
    served = load_model("gists@champion", store).predict(asked)
    assert served["gist"].tolist() == answers["gist"].tolist()
    test = session.prepared.parts["test"]
    documents = session.prepared.documents["gist"]
    numbers = test.targets["gist"][:, 0].astype(int)
    references = {documents[n].pieces[0]: documents[n].references[0] for n in numbers}
    written = dict(zip(table["body"], answers["gist"], strict=False))
    scores = [rouge("rouge1", written[body], [wanted]) for body, wanted in references.items()]
    assert sum(scores) / len(scores) == pytest.approx(own["gist"]["rouge1"], abs=1e-6)
    assert own["gist"]["rouge1"] > 0.6


def test_rows_without_a_text_or_a_reference_are_counted_and_long_ones_cut(store: Store) -> None:
    table = gists(90)
    table.loc[3, "gist"] = None
    table.loc[4, "body"] = "  "
    table.loc[5, "body"] = "<p>boat \x00 wave</p> " * 60
    table.loc[6, "gist"] = " ".join(["boat wave"] * 20)  # longer than what is written
    study = parse_study(
        STUDY, overrides={"name": "bad", "model.encoder.path": str(seq_folder("t5"))}
    )
    where = {"store": store, "tables": {"notes": table}, "say": lambda text: None}
    report = prepare(study, **{key: where[key] for key in ("store", "tables")}).report
    said = " ".join(report.warnings)
    assert "`gist`: 1 rows have no reference" in said
    assert "`gist`: 1 rows have no word" in said
    assert "1 of 90 documents is longer than 24 tokens" in said
    assert search(study, n_workers=1, **where)["trials"]["complete"] == 2


def test_a_model_without_a_decoder_is_refused_with_the_remedy(store: Store) -> None:
    study = parse_study(STUDY, overrides={"name": "none", "model.encoder.path": str(tiny_folder())})
    with pytest.raises(DataError, match=r"needs an encoder-decoder, such as T5.*leave `decoder`"):
        prepare(study, store, {"notes": gists()})
    study = parse_study(STUDY, overrides={
        "name": "long", "model.encoder.path": str(seq_folder("bart")), "tasks.gist.write": 100,
    })  # fmt: skip
    with pytest.raises(DataError, match=r"`tasks.gist.write` must be at most 64"):
        prepare(study, store, {"notes": gists()})


def test_a_decoder_whose_weights_are_missing_is_refused(store: Store, tmp_path: Path) -> None:
    """Transformers would draw them, and only warn."""
    folder = copytree(seq_folder("t5"), tmp_path / "half")
    weights = load_file(folder / "model.safetensors")
    half = {name: value for name, value in weights.items() if not name.startswith("decoder.block")}
    assert len(half) < len(weights)
    save_file(half, folder / "model.safetensors", {"format": "pt"})
    study = parse_study(STUDY, overrides={"name": "half", "model.encoder.path": str(folder)})
    with pytest.raises(DataError, match=r"must hold all weights of the decoder.*decoder\.block"):
        prepare(study, store, {"notes": gists()})
