"""Members that read texts: alone as in an array, in batches as in whole parts, and served."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from encoder_cases import tiny_folder
from text_cases import notes

from pipeline.data.assembling import build_prepared
from pipeline.data.prepared import Prepared
from pipeline.driver.trials import make_member, make_predictor
from pipeline.models.sharing import SHARED
from pipeline.serving.predictor import Predictor
from pipeline.study.loading import Study, parse_study
from pipeline.training.loop import train
from pipeline.training.members import Member, architecture_of, arrays_of
from pipeline.training.population import Population
from pipeline.training.predict import predict_member, predict_part

STUDY = """
name: topics
sources: {notes: {path: notes.csv, text: body, numeric: [size]}}
tasks:
  topic: {kind: multiclass, target: topic, metric: accuracy}
  long: {kind: binary, target: long}
split: {train: 0.6, valid: 0.2, test: 0.2}
model:
  encoder: {kind: [bag, tfidf], width: 4, embed: 6, buckets: 32, vocabulary: 64}
  layers: [8]
train: {epochs: 12, batch_size: 32, lr: 0.03, patience: null}
"""
ENCODERS: dict[str, dict[str, Any]] = {
    "bag": {"kind": "bag"},
    "bag-attention": {"kind": "bag", "pool": "attention"},
    "joined": {"kind": ["tfidf", "bag"]},
    "linear": {"kind": "tfidf", "linear": True},
    "linear-joined": {"kind": ["bag", "tfidf"], "linear": True},
    "transformer": {"kind": "transformer", "max_tokens": 24, "heads": 2, "dropout": 0.2},
    "full": {"kind": "pretrained", "finetune": "full", "max_tokens": 24},
    "last_n": {
        "kind": ["tfidf", "pretrained"],
        "finetune": "last_n",
        "layers": 1,
        "max_tokens": 24,
    },
    "lora": {"kind": "pretrained", "finetune": "lora", "layers": 2, "rank": 2, "max_tokens": 24},
}


def study_of(encoder: dict[str, Any], **values: Any) -> Study:
    settings = {f"model.encoder.{key}": value for key, value in encoder.items()}
    kinds = encoder["kind"] if isinstance(encoder["kind"], list) else [encoder["kind"]]
    unread = [
        "" if "tfidf" in kinds else "width: 4, ",
        "" if "bag" in kinds else "buckets: 32, ",
        "" if {"bag", "transformer"} & {*kinds} else ", embed: 6",
        "" if {"bag", "transformer"} & {*kinds} else ", vocabulary: 64",
    ]
    if "pretrained" in kinds:
        settings |= {"model.encoder.path": str(tiny_folder(32, 2)), "train.encoder_lr": 0.003}
    text = STUDY
    for key in unread:
        text = text.replace(key, "")
    return parse_study(text, overrides=settings | values)


def prepared_of(study: Study) -> Prepared:
    table = notes(120)
    table["size"] = np.arange(120.0) % 7
    table["long"] = table["body"].str.len() > table["body"].str.len().median()
    table.loc[3, "body"] = None
    return build_prepared(study.spec, {"notes": table}, {})


@pytest.fixture(scope="module", params=list(ENCODERS))
def case(request: pytest.FixtureRequest) -> tuple[Study, Prepared]:
    study = study_of(ENCODERS[request.param])
    return study, prepared_of(study)


def members(study: Study, prepared: Prepared, values: list[dict[str, Any]]) -> list[Member]:
    return [make_member(study, prepared, number, given) for number, given in enumerate(values)]


def with_values(one: Member, **values: Any) -> Member:
    keys = type(one.model).__dataclass_fields__
    model = {key: value for key, value in values.items() if key in keys}
    rest = {key: value for key, value in values.items() if key not in keys}
    augment = {key: rest.pop(key) for key in list(rest)
               if key in type(one.train.augment).__dataclass_fields__}  # fmt: skip
    rest["augment"] = replace(one.train.augment, **augment)
    train_spec = {k: v for k, v in rest.items() if k in type(one.train).__dataclass_fields__}
    return replace(
        one, model=replace(one.model, **model), train=replace(one.train, **train_spec),
        **{k: v for k, v in rest.items() if k not in train_spec},
    )  # fmt: skip


DIFFERENT: list[dict[str, Any]] = [
    {},
    {"dropout": 0.5, "lr": 0.01},
    {"dropout_input": 0.3, "weights": (1.0, 0.0)},
    {"dropout_head": 0.2, "weight_decay": 0.1},
    {"mixup": 0.4, "word_dropout": 0.2},
    {"swap": 0.3, "deletion": 0.2},
]


def trained(some: list[Member], prepared: Prepared) -> Population:
    population = Population(some, prepared, torch.float64)
    for epoch in (1, 2):
        population.train_epoch(epoch)
    return population


@pytest.mark.parametrize("sharing", ["shared_bottom", "separate"])
def test_each_member_equals_the_same_member_alone(
    case: tuple[Study, Prepared], sharing: str
) -> None:
    study, prepared = case
    base = make_member(study, prepared, 0, {})
    some = [with_values(base, number=n, seed=100 + n, sharing=sharing, **given)
            for n, given in enumerate(DIFFERENT)]  # fmt: skip
    together = trained(some, prepared)
    for k, one in enumerate(some):
        alone = trained([one], prepared)
        torch.testing.assert_close(
            together.state.parameters[k], alone.state.parameters[0], rtol=0, atol=1e-9
        )


def test_with_separate_trunks_each_task_reads_for_itself(case: tuple[Study, Prepared]) -> None:
    study, prepared = case
    one = with_values(make_member(study, prepared, 0, {}), sharing="separate")
    model = Population([one], prepared).model
    for name, _ in model.named_parameters():
        assert (model.owners(name) != SHARED).all(), name
    both = trained([one, with_values(one, number=1, weights=(1.0, 0.0))], prepared)
    segments, owners = both.state.segments()
    own = segments == owners.index(0)
    first, second = both.state.parameters
    torch.testing.assert_close(first[own], second[own], rtol=0, atol=1e-9)
    assert not torch.allclose(first[~own], second[~own])


def test_whole_parts_are_read_as_batches_are(
    case: tuple[Study, Prepared], monkeypatch: pytest.MonkeyPatch
) -> None:
    study, prepared = case
    model = trained(members(study, prepared, [{}, {}]), prepared).model
    part = prepared.parts["train"]
    whole = predict_part(model, part)
    monkeypatch.setattr("pipeline.training.predict.CHUNK_NUMBERS", 1)
    for task, outputs in predict_part(model, part).items():
        np.testing.assert_allclose(outputs, whole[task], rtol=0, atol=1e-12)


def test_gradients_are_looked_at_on_texts_too(case: tuple[Study, Prepared]) -> None:
    study, prepared = case
    population = trained(members(study, prepared, [{}, {}]), prepared)
    gramian = population.gramian()
    assert gramian.shape == (2, 2, 2)
    assert (gramian.diagonal(dim1=1, dim2=2) > 0).all()


def test_what_is_learned_is_served_from_raw_text(
    case: tuple[Study, Prepared], tmp_path: Path
) -> None:
    study, prepared = case
    one = make_member(study, prepared, 0, {})
    result = train([one], prepared)[0]
    assert result.evaluation is not None
    assert result.evaluation.tasks["topic"]["accuracy"] > 0.6
    predictor = make_predictor(one, result, prepared)
    predictor.save(tmp_path / "model")
    again = Predictor.load(tmp_path / "model")
    raw = notes(40, seed=9).assign(size=1.0)
    raw.loc[5, "body"] = ""
    answers = again.predict(raw)
    np.testing.assert_array_equal(answers["topic"], predictor.predict(raw)["topic"])
    assert (answers["topic"] == raw["topic"]).mean() > 0.6
    found = prepared.encoder.encode_all(raw)
    rows = replace(prepared.parts["test"], numeric=found.numeric, codes=found.codes,
                   texts=found.texts)  # fmt: skip
    outputs = predict_member(architecture_of(one, prepared), result.parameters, rows)
    chosen = np.array(prepared.tasks[0].classes)[outputs["topic"].argmax(1)]
    np.testing.assert_array_equal(answers["topic"], chosen)


def test_settings_of_the_network_part_members_into_arrays() -> None:
    study = study_of({"kind": "bag", "embed": {"choices": [4, 6]}})
    some = members(study, prepared_of(study), [{"model.encoder.embed": n} for n in (4, 6, 4)])
    assert [[one.number for one in array] for array in arrays_of(some, 8)] == [[0, 2], [1]]
