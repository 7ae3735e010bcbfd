"""The frozen pretrained encoder, on the real one that the test package carries."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from encoder_cases import model_folder
from seq_cases import seq_folder
from text_cases import STUDY, notes

from pipeline.data.prepare import open_prepared, prepare_data
from pipeline.data.sentence_vectors import SentenceVectors
from pipeline.errors import DataError, StudyError
from pipeline.study.encoder_spec import EncoderSpec
from pipeline.study.loading import parse_study
from pipeline.text.pretrained import load_pretrained


@pytest.fixture(scope="module")
def vectors() -> SentenceVectors:
    found = SentenceVectors.fit([], EncoderSpec(path=str(model_folder()), max_tokens=16))
    assert isinstance(found, SentenceVectors)
    return found


def test_a_vector_is_the_scaled_mean_of_the_last_states(vectors: SentenceVectors) -> None:
    import torch

    texts = ["A boat on the sea.", "trees", "", "A boat on the sea."]
    found = vectors.encode(texts).vectors
    tokenizer, model, *_ = load_pretrained(str(model_folder()))
    for row, text in enumerate(texts[:2]):
        with torch.no_grad():
            mean = model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0].mean(0)
        expected = (mean / mean.norm() * 384**0.5).numpy()
        np.testing.assert_allclose(found[row], expected, atol=1e-4)
    assert not found[2].any()
    np.testing.assert_array_equal(found[3], found[0])


def test_what_is_cut_is_counted(vectors: SentenceVectors) -> None:
    long = "tree " * 100
    found = vectors.encode(["short", long, long, "boat " * 200_000])
    assert found.cut is not None
    assert found.cut.cut.tolist() == [False, True, True, True]
    assert np.isfinite(found.vectors).all()


def test_a_path_gives_both_vectors_side_by_side(tmp_path: Path) -> None:
    settings = {"model.encoder.path": str(model_folder())}
    spec = parse_study(STUDY, overrides=settings).spec
    prepared = prepare_data(spec, Path(), tmp_path, tables={"notes": notes(60)})
    assert prepared.parts["train"].numeric.shape[1] == 16 + 384
    assert prepared.folder is not None
    again = open_prepared(prepared.folder)
    table = pd.DataFrame({"body": ["a boat", "an owl"]})
    np.testing.assert_allclose(
        again.encoder.encode(table)[0], prepared.encoder.encode(table)[0], atol=1e-5
    )


def test_a_copy_in_another_folder_is_the_same_data(tmp_path: Path) -> None:
    from shutil import copytree

    copytree(model_folder(), tmp_path / "copy")
    digests = set()
    for path in (str(model_folder()), "copy"):
        spec = parse_study(STUDY, overrides={"model.encoder.path": path}).spec
        prepared = prepare_data(spec, tmp_path, tmp_path / "cache", tables={"notes": notes(60)})
        digests.add(prepared.prepared_digest)
    assert len(digests) == 1


def test_a_model_that_cannot_be_loaded_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(DataError, match=r"no config\.json"):
        load_pretrained(str(tmp_path))
    (tmp_path / "config.json").write_text((model_folder() / "config.json").read_text())
    with pytest.raises(DataError, match=r"must hold a tokenizer.*save_pretrained"):
        load_pretrained(str(tmp_path))
    # Read from the environment when first imported, which may have been in another test.
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(DataError, match="no such folder, and as a name of the Hugging Face hub"):
        load_pretrained("nobody/no-such-model")


def test_more_tokens_than_the_model_reads_are_refused() -> None:
    with pytest.raises(DataError, match="at most 512"):
        SentenceVectors.fit([], EncoderSpec(path=str(model_folder()), max_tokens=9999))


def test_a_pretrained_encoder_needs_a_path() -> None:
    with pytest.raises(StudyError, match="must name the model that `pretrained` loads"):
        parse_study(STUDY, overrides={"model.encoder": {"kind": "pretrained"}})


@pytest.mark.parametrize("kind", ["t5", "bart"])
@pytest.mark.parametrize("finetune", ["none", "full"])
def test_an_encoder_of_a_model_that_writes_is_saved_with_its_weights(
    kind: str, finetune: str, tmp_path: Path
) -> None:
    """What transformers saves of an encoder taken out alone is loaded as random numbers."""
    spec = EncoderSpec(path=str(seq_folder(kind)), max_tokens=16, finetune=finetune)
    part = SentenceVectors.fit([], spec)
    part.save(tmp_path)
    again = SentenceVectors.from_json(part.to_json(), {}, tmp_path)
    assert again.path == str(tmp_path / "pretrained")
    states = [
        one._loaded[1](**one._loaded[0]("boat and tide", return_tensors="pt")).last_hidden_state
        for one in (part, again)
    ]
    assert (states[0] == states[1]).all()
