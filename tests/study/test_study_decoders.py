"""What a study may say of a pretrained decoder."""

from typing import Any

import pytest
from seq_cases import STUDY

from pipeline.errors import StudyError
from pipeline.study.loading import parse_study

HERE = {"model.encoder.path": "some/model"}


def test_a_pretrained_decoder_is_a_kind_and_told_to_the_encoder() -> None:
    study = parse_study(STUDY, overrides=HERE)
    assert study.spec.tasks["gist"].kind == "abstractive_pretrained"
    assert study.spec.tasks["gist"].writes
    assert study.spec.model.encoder.for_decoder
    own = parse_study(STUDY, overrides={**HERE, "tasks.gist.decoder": "own"})
    assert own.spec.tasks["gist"].kind == "abstractive"
    assert not own.spec.model.encoder.for_decoder
    assert "for_decoder" not in own.spec.model.encoder.fitted()


@pytest.mark.parametrize(("change", "key", "rule"), [
    ({"model.encoder.kind": "bag", "model.encoder.path": None, "model.encoder.max_tokens": None},
     "tasks.gist.decoder", "needs `pretrained` among the encoders"),
    ({"tasks.gist.read": 50}, "tasks.gist.read", "is not read by `abstractive_pretrained`"),
    ({"tasks.gist.width": 50}, "tasks.gist.width", "is not read by `abstractive_pretrained`"),
    ({"tasks.gist.unit": "clause"}, "tasks.gist.unit", "is not read by `abstractive_pretrained`"),
    ({"tasks.gist.mode": "extractive"}, "tasks.gist.decoder", "is not read by `summarisation`"),
    ({"tasks.topic.decoder": "pretrained"}, "tasks.topic.decoder", "is not read by `multiclass`"),
    ({"tasks.gist.path": "there"}, "tasks.gist.path", "is not read"),
    ({"tasks.gist.text": "title"}, "tasks.gist.text", "must be among the texts of its source"),
    ({"tasks.gist.inputs": ["title"]}, "tasks.gist.text", "must be among the inputs of its task"),
    ({"train.augment.mixup": 0.2}, "train.augment.mixup", "words do not mix"),
])  # fmt: skip
def test_what_is_not_possible_is_told(change: dict[str, Any], key: str, rule: str) -> None:
    dropped = {path for path, value in change.items() if value is None}
    text = STUDY.replace(", max_tokens: 24", "") if dropped else STUDY
    settings = {path: value for path, value in {**HERE, **change}.items() if path not in dropped}
    with pytest.raises(StudyError) as caught:
        parse_study(text, overrides=settings)
    faults = {fault.key: fault.rule for fault in caught.value.faults}
    assert rule in faults[key], faults


def test_the_decoder_has_the_dropout_of_the_encoder() -> None:
    parse_study(STUDY, overrides={**HERE, "model.encoder.dropout": {"low": 0.0, "high": 0.2}})
