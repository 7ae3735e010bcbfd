"""What every encoder of texts promises, as far as it is fitted."""

from typing import Any

import numpy as np
import pytest
from encoder_cases import model_folder
from text_cases import notes

from pipeline.data.text_encoding import TextEncoder, TextPart
from pipeline.data.text_fitting import encoder_settings
from pipeline.study.catalogue import CATALOGUE, load
from pipeline.study.encoder_spec import EncoderSpec
from pipeline.text.numbering import UNKNOWN

TEXTS = [*notes(60)["body"], "\u7814\u7a76\u4e86\u65b0\u65b9\u6cd5", "\u7814\u7a76\u65b9\u6cd5"]
HARD = ["", "...", "never seen", "boat\x00wave", "<p>a &amp; b</p> <pad>", "\u7814", "tree " * 3000]


def fitted(named: str) -> TextPart:
    kind, _, finetune = named.partition("-")
    path = str(model_folder()) if kind == "pretrained" else None
    settings: dict[str, Any] = {"max_tokens": 16, "max_words": 16, "width": 8, "path": path}
    if finetune == "signs":
        settings |= {"signs": True}
    elif finetune:
        most = 2 if finetune == "last_n" else None
        settings |= {"finetune": finetune, "most_layers": most}
    part: TextPart = load("encoder", kind).fit(TEXTS, EncoderSpec(kind=kind, **settings))
    return part


@pytest.fixture(
    scope="module",
    params=[*CATALOGUE["encoder"], "tfidf-signs", "pretrained-full", "pretrained-last_n"],
)
def part(request: pytest.FixtureRequest) -> TextPart:
    return fitted(request.param)


def test_each_document_has_its_vector_and_rows(part: TextPart) -> None:
    found = part.encode(HARD)
    assert found.vectors.shape == (len(HARD), part.width)
    assert found.vectors.dtype == np.float32
    assert np.isfinite(found.vectors).all()
    assert found.rows.keys() == part.vocabulary.keys()
    for name, rows in found.rows.items():
        assert len(rows) == len(HARD)
        assert rows.items.dtype == np.int32
        assert (rows.items >= 0).all()
        assert (rows.items < part.vocabulary[name]).all()


def test_a_document_is_read_as_it_is_alone(part: TextPart) -> None:
    whole = part.encode(HARD)
    for row, text in enumerate(HARD):
        alone = part.encode([text])
        np.testing.assert_allclose(alone.vectors[0], whole.vectors[row], atol=1e-5)
        for name, rows in alone.rows.items():
            own = whole.rows[name].take(np.array([row]))
            np.testing.assert_array_equal(rows.items, own.items)
    none = part.encode([])
    assert none.vectors.shape == (0, part.width)
    assert all(len(rows) == 0 for rows in none.rows.values())


def test_it_is_written_as_plain_values_and_arrays(part: TextPart) -> None:
    encoder = TextEncoder(("body",), (part,), "digest")
    again = TextEncoder.from_json(encoder.to_json(), encoder.arrays()).parts[0]
    first, second = part.encode(HARD), again.encode(HARD)
    np.testing.assert_allclose(first.vectors, second.vectors, atol=1e-6)
    for name, rows in first.rows.items():
        np.testing.assert_array_equal(rows.items, second.rows[name].items)
    assert (first.cut is None) == (second.cut is None)
    if first.cut is not None and second.cut is not None:
        np.testing.assert_array_equal(first.cut.cut, second.cut.cut)


def test_who_learns_vectors_gives_tokens(part: TextPart) -> None:
    if part.name not in part.vocabulary:
        pytest.skip("its vectors are not learned")
    rows = part.encode(HARD).rows[part.name]
    assert (rows.values is None) == ("below" not in part.shape or part.shape["below"] == 0)
    assert (rows.items >= UNKNOWN).all()  # padding is put in batches
    assert rows.lengths[0] == 0
    assert rows.lengths[-1] == 16
    cut = part.encode(HARD).cut
    assert cut is not None
    everything = np.ones(7, np.bool_)
    (note,) = cut.notes(everything, "documents")
    assert "1 of 7 documents is longer than 16" in note
    assert "`model.encoder.max_" in note
    assert cut.notes(everything & ~cut.cut, "documents") == ()


def test_words_have_numbers_by_how_many_documents_have_them() -> None:
    part = load("encoder", "bag").fit(["a b", "a b c", "a d", "e"], EncoderSpec(kind="bag"))
    assert part.vocabulary == {"bag": 4}  # c, d and e stand in one document
    a, b, c, unknown = part.encode(["a b c zzz"]).rows["bag"].items.tolist()
    other = part.encode(["A  B"]).rows["bag"].items
    assert a != b
    assert c == unknown == UNKNOWN
    assert other.tolist() == [a, b]


def test_a_chinese_character_is_a_word() -> None:
    part = fitted("bag")
    items = part.encode(["\u7814\u7a76\u4e86"]).rows["bag"].items
    assert len(items) == 3
    assert items[0] != items[1]
    assert items[2] == UNKNOWN  # in one document of train only


def test_settings_of_the_network_alone_shape_no_data() -> None:
    one, other = EncoderSpec(kind="bag"), EncoderSpec(kind="bag", embed=8, buckets=0)
    assert encoder_settings(one) == encoder_settings(other)
    assert encoder_settings(one) != encoder_settings(EncoderSpec(kind="bag", vocabulary=99))


def test_signs_are_named_among_settings_only_where_they_are_read() -> None:
    assert "signs" not in encoder_settings(EncoderSpec(kind="tfidf"))
    assert encoder_settings(EncoderSpec(kind="tfidf", signs=True))["signs"]


def test_the_tokenizer_is_the_same_each_time() -> None:
    first, second = (fitted("transformer") for _ in range(2))
    np.testing.assert_array_equal(first.arrays()["tokenizer"], second.arrays()["tokenizer"])


def test_pieces_are_frequent_runs_and_characters_of_unspaced_scripts() -> None:
    part = fitted("transformer")
    rows = part.encode(["harbour", "\u7814\u7a76", "harb", "Harbour"]).rows["transformer"]
    assert rows.lengths.tolist()[:2] == [1, 1]  # both stand in train more than once
    assert rows.lengths[2] > 1
    assert rows.items[-1] == rows.items[0]
