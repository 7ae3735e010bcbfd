"""What the first trained layer of a pretrained encoder reads, computed once."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from encoder_cases import model_folder, tiny_folder
from text_cases import STUDY, notes

from pipeline.data.prepare import open_prepared, prepare_data
from pipeline.data.sentence_vectors import SentenceVectors
from pipeline.data.token_states import TokenStates
from pipeline.errors import DataError, StudyError
from pipeline.models.pretrained import Pretrained
from pipeline.models.texts import TextRows
from pipeline.study.encoder_spec import EncoderSpec
from pipeline.study.loading import parse_study
from pipeline.text.numbering import FIRST_TOKEN
from pipeline.text.pretrained import load_once

TEXTS = ["A boat on the sea.", "trees", "", "A boat on the sea and " + "a wave " * 40]


def encoder(**keys: Any) -> tuple[TokenStates, EncoderSpec]:
    spec = EncoderSpec(kind="pretrained", path=str(model_folder()), max_tokens=16, **keys)
    found = SentenceVectors.fit([], spec)
    assert isinstance(found, TokenStates)
    return found, spec


def network(part: TokenStates, spec: EncoderSpec) -> Pretrained:
    shape = {**Pretrained.shape_of(spec, part.vocabulary["pretrained"]), **part.shape}
    reader = Pretrained(1, shape, torch.float32)
    reader.layers.initialise(0, torch.Generator().manual_seed(0))
    return reader


@pytest.mark.parametrize(
    ("keys", "tolerance"),
    [
        ({"finetune": "full"}, 1e-4),
        ({"finetune": "lora"}, 1e-4),
        ({"finetune": "lora", "layers": 2, "most_layers": 2}, 1e-2),
        ({"finetune": "last_n", "layers": 2, "most_layers": 2}, 1e-2),
        ({"finetune": "last_n", "layers": 1, "most_layers": 3}, 1e-2),
    ],
)
def test_before_training_documents_have_the_vectors_of_the_frozen_model(
    keys: dict[str, Any], tolerance: float
) -> None:
    """The tolerance is that of states rounded to float16, on vectors of mean square 1."""
    part, spec = encoder(**keys)
    frozen = SentenceVectors.fit([], EncoderSpec(path=str(model_folder()), max_tokens=16))
    inputs = part.encode(TEXTS)
    expected = frozen.encode(TEXTS)
    assert inputs.vectors.shape == (4, 0)
    assert inputs.cut is not None
    assert inputs.cut.cut.sum() == 1
    batch = TextRows(inputs.rows, ["pretrained"]).take(torch.arange(4))
    with torch.no_grad():
        reader = network(part, spec)
        found = reader(batch.tokens["pretrained"], None, "a", batch.states.get("pretrained"))
    np.testing.assert_allclose(found[0].numpy(), expected.vectors, rtol=0, atol=tolerance)


def test_states_are_those_that_the_stock_model_gives_between_its_layers() -> None:
    part, _ = encoder(finetune="last_n", layers=2, most_layers=2)
    told: list[tuple[str, int, int]] = []
    rows = part.encode(TEXTS, lambda *told_now: told.append(told_now)).rows["pretrained"]
    assert ("Tokenizing, documents", 4, 4) in told
    assert ("Encoding, documents", 4, 4) in told
    tokenizer, model, *_ = load_once(str(model_folder()))
    assert rows.values is not None
    assert rows.values.dtype == np.float16
    assert rows.lengths.tolist() == [8, 3, 0, 16]
    for row, text in enumerate(TEXTS[:2]):
        ids = tokenizer(text, return_tensors="pt")
        with torch.no_grad():
            stock = model(**ids, output_hidden_states=True).hidden_states[4][0]
        inside = slice(rows.starts[row], rows.starts[row + 1])
        np.testing.assert_array_equal(rows.items[inside] - FIRST_TOKEN, ids["input_ids"][0])
        np.testing.assert_allclose(rows.values[inside], stock.numpy(), rtol=1e-3, atol=1e-3)


def test_the_cut_is_below_the_most_layers_of_any_trial(tmp_path: Path) -> None:
    settings = {
        "model.encoder": {
            "kind": "pretrained", "path": str(tiny_folder()), "finetune": "last_n",
            "layers": {"low": 1, "high": 2}, "max_tokens": 16,
        },
    }  # fmt: skip
    spec = parse_study(STUDY, overrides=settings).spec
    prepared = prepare_data(spec, Path(), tmp_path, tables={"notes": notes(60)})
    part = prepared.encoder.text
    assert part is not None
    assert part.parts[0].shape["below"] == 1
    assert prepared.folder is not None
    again = open_prepared(prepared.folder)
    rows, same = (one.parts["valid"].texts["pretrained"] for one in (prepared, again))
    np.testing.assert_array_equal(np.asarray(rows.values), np.asarray(same.values))
    assert again.encoder.text is not None
    assert again.encoder.text.parts[0].shape == part.parts[0].shape


def test_a_frozen_study_keeps_its_prepared_data() -> None:
    """The keys of what is trained do not shape what is not."""
    plain = EncoderSpec(path="somewhere")
    keys = {"kind", "width", "linear", "path", "max_tokens", "vocabulary", "max_words"}
    assert set(plain.fitted()) == keys
    full = EncoderSpec(path="somewhere", finetune="full").fitted()
    assert full == EncoderSpec(path="somewhere", finetune="lora").fitted() != plain.fitted()


def test_more_layers_than_there_are_are_refused() -> None:
    spec = EncoderSpec(
        kind="pretrained", path=str(tiny_folder()), max_tokens=16, finetune="last_n", layers=4,
        most_layers=4,
    )  # fmt: skip
    with pytest.raises(DataError, match=r"layers` must be at most 3, the layers of .* Found 4"):
        SentenceVectors.fit([], spec)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"rank": 4}, "`model.encoder.rank` is not read with `finetune: none`"),
        ({"finetune": "last_n", "alpha": 4}, "`model.encoder.alpha` is not read with"),
        ({"finetune": "full", "layers": 2}, "`model.encoder.layers` is not read with"),
        ({"dropout": 0.2}, "`model.encoder.dropout` is not read with `finetune: none`"),
        ({"finetune": "last"}, "`model.encoder.finetune`"),
    ],
)
def test_keys_that_mean_nothing_are_refused(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(StudyError) as found:
        parse_study(STUDY, overrides={"model.encoder": {"kind": "pretrained", "path": "x",
                                                        **settings}})  # fmt: skip
    assert told in str(found.value)


@pytest.mark.parametrize("finetune", ["none", "last_n", "lora", "full"])
def test_texts_are_changed_only_where_tokens_are_read_anew(finetune: str) -> None:
    settings = {
        "model.encoder": {"kind": "pretrained", "path": "x", "finetune": finetune},
        "train.augment.word_dropout": 0.1,
    }
    if finetune == "full":
        parse_study(STUDY, overrides=settings)
        return
    with pytest.raises(StudyError, match="cannot change what `pretrained` reads"):
        parse_study(STUDY, overrides=settings)
