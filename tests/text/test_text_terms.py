"""Hashed terms against a plain reading with regular expressions and against scikit-learn."""

import re
from collections import Counter
from functools import partial
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.preprocessing import normalize

from pipeline.text.batching import batches
from pipeline.text.reduction import _BLOCK, _gram, as_matrix, fit_reduction
from pipeline.text.terms import piece_terms, read_words, sign_terms, word_terms
from pipeline.text.tfidf import Tfidf, fit_tfidf

DOCUMENTS = [
    "The cat sat on the mat. The cat!",
    "A dog, the cat's enemy, sat elsewhere",
    "",
    "cat dog cat dog mat",
    "dogs on mats: 42 of them na\u00efve",
    "the mat is on the dog",
]
WORD = r"[^\W_]+"


def texts_of(words: object) -> list[str]:
    return ["".join(map(chr, words.codes[a:b])) for a, b in zip(words.low, words.high, strict=True)]


def test_a_character_of_a_script_without_spaces_is_a_word() -> None:
    words = read_words(["Mi\u00e9 \u4eca\u5929\u5929 x9", "\u304b\u306a, \ud55c\uad6d\uc5b4"])
    assert texts_of(words) == [
        "mi\u00e9", "\u4eca", "\u5929", "\u5929", "x9", "\u304b", "\u306a", "\ud55c\uad6d\uc5b4",
    ]  # fmt: skip
    assert words.document.tolist() == [0] * 5 + [1] * 3
    assert words.alone.tolist() == [False, True, True, True, False, True, True, False]
    hashes, documents = word_terms(words)
    # 8 words; 4 + 2 pairs; the triple of the three Chinese characters.
    assert Counter(documents.tolist()) == {0: 5 + 4 + 1, 1: 3 + 2}
    assert len(set(hashes.tolist())) == len(hashes) - 1  # one character stands twice


@given(st.lists(st.text("ab \u4eca.", max_size=12), max_size=5))
def test_equal_terms_have_equal_hashes_and_others_do_not(texts: list[str]) -> None:
    words = read_words(texts)
    for hashes, (found, documents) in (
        ([(a,) for a in texts_of(words)], (words.hashes, words.document)),
    ):
        assert len(set(hashes)) == len(set(found.tolist()))
        assert len(found) == len(documents)


def test_pieces_are_those_of_scikit_learn() -> None:
    for text in DOCUMENTS:
        words = texts_of(read_words([text]))
        expected = Counter(
            f" {word} "[i : i + n]
            for word in words for n in (3, 4, 5) for i in range(len(word) + 3 - n)
        )  # fmt: skip
        hashes, _ = piece_terms(read_words([text]))
        assert sorted(Counter(hashes.tolist()).values()) == sorted(expected.values())


def plain_signs(text: str) -> Counter[str]:
    """A second source: runs of signs, and pairs of which one is a run of signs."""
    found = re.findall(r"[\u4e00-\u9fff]|[^\W_\u4e00-\u9fff]+|(?:[^\w\s]|_)+", text)
    signs = [run for run in found if not run[0].isalnum()]
    pairs = [f"{a} {b}" for a, b in pairwise(found)
             if not (a[0].isalnum() and b[0].isalnum())]  # fmt: skip
    return Counter(signs + pairs)


@given(st.lists(st.text("aB \u4eca._(\n", max_size=14), max_size=4))
def test_signs_are_those_of_a_plain_reading(texts: list[str]) -> None:
    hashes, documents = sign_terms(read_words(texts, lower=False))
    for index, text in enumerate(texts):
        found = Counter(hashes[documents == index].tolist())
        assert sorted(found.values()) == sorted(plain_signs(text).values())
    named = {term for text in texts for term in plain_signs(text)}
    assert len(set(hashes.tolist())) == len(named)


@pytest.fixture(scope="module")
def fitted() -> Tfidf:
    return fit_tfidf(DOCUMENTS)


def test_weights_are_those_of_scikit_learn(fitted: Tfidf) -> None:
    matrix = as_matrix(fitted.transform(DOCUMENTS), fitted.n_terms).toarray()
    theirs = TfidfVectorizer(
        ngram_range=(1, 2), token_pattern=WORD, sublinear_tf=True, min_df=2, norm="l2"
    ).fit_transform(DOCUMENTS).toarray()  # fmt: skip
    own = matrix[:, : len(fitted.words.terms)]
    # The columns stand in the order of hashes: compare what does not depend on it.
    np.testing.assert_allclose(own @ own.T, theirs @ theirs.T, atol=1e-6)
    np.testing.assert_allclose(np.sort(own.ravel()), np.sort(theirs.ravel()), atol=1e-6)
    pieces = matrix[:, len(fitted.words.terms) :]
    assert np.linalg.norm(pieces, axis=1).round(5).tolist() == [1, 1, 0, 1, 1, 1]


def test_pieces_weigh_by_the_share_of_words_that_have_them() -> None:
    texts = ["\u4eca\u5929\u5929 gene"] * 3
    tfidf = fit_tfidf(texts)
    row = as_matrix(tfidf.transform(texts), tfidf.n_terms).toarray()[0]
    assert np.sum(row[len(tfidf.words.terms) :] ** 2) == pytest.approx(1 / 4)


SIGNED = [*DOCUMENTS, "the mat (on it a dog)!", "dog (Cat)!"]


def test_signs_are_a_block_of_their_own_where_they_are_asked_for() -> None:
    plain, both = fit_tfidf(SIGNED), fit_tfidf(SIGNED, signs=True)
    # `(`, `)!` stand in two documents; no pair does, `Cat (` is not `cat (`.
    assert len(both.signs.terms) == 2
    rows = as_matrix(both.transform(SIGNED), both.n_terms).toarray()
    own = as_matrix(plain.transform(SIGNED), plain.n_terms).toarray()
    np.testing.assert_array_equal(rows[:, : plain.n_terms], own)
    lengths = np.linalg.norm(rows[:, plain.n_terms :], axis=1)
    np.testing.assert_allclose(lengths, [0] * 6 + [1, 1], atol=1e-6)


def test_arrays_bring_back_the_blocks(fitted: Tfidf) -> None:
    for tfidf in (fitted, fit_tfidf(SIGNED, signs=True)):
        again = Tfidf.from_arrays(tfidf.arrays())
        assert len(again.blocks) == len(tfidf.blocks)
        ours, theirs = tfidf.transform(SIGNED), again.transform(SIGNED)
        np.testing.assert_array_equal(ours.values, theirs.values)


def test_a_batch_makes_no_difference(fitted: Tfidf, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = fitted.transform(DOCUMENTS)
    monkeypatch.setattr("pipeline.text.tfidf.batches", partial(batches, n_characters=30))
    again = fit_tfidf(DOCUMENTS)
    np.testing.assert_array_equal(again.words.terms, fitted.words.terms)
    np.testing.assert_array_equal(again.pieces.idf, fitted.pieces.idf)
    parts = again.transform(DOCUMENTS)
    for name, array in whole.arrays().items():
        np.testing.assert_array_equal(array, parts.arrays()[name])


def test_the_most_frequent_terms_are_kept() -> None:
    tfidf = fit_tfidf(DOCUMENTS, most_terms=3)
    assert len(tfidf.words.terms) == len(tfidf.pieces.terms) == 3
    the = read_words(["the"]).hashes[0]
    assert the in tfidf.words.terms


def test_unknown_words_and_empty_texts_give_empty_rows(fitted: Tfidf) -> None:
    rows = fitted.transform(["", "zzz qqq", "\u4eca"])
    assert rows.lengths.tolist() == [0, 0, 0]


def test_a_very_long_document_does_not_drown_others() -> None:
    texts = ["a b", "word " * 200_000, "c"]
    tfidf = fit_tfidf(texts)
    assert tfidf.transform(texts).lengths.tolist()[1] <= tfidf.n_terms


def test_the_reduction_finds_the_exact_directions() -> None:
    random = np.random.default_rng(0)
    dense = random.normal(size=(60, 8)) @ random.normal(size=(8, 40))
    dense += 0.01 * random.normal(size=dense.shape)
    dense = normalize(dense).astype(np.float32)
    from scipy import sparse

    directions = fit_reduction(sparse.csr_matrix(dense), 5).astype(np.float64)
    exact = np.linalg.svd(dense, full_matrices=False)[2][:5]
    np.testing.assert_allclose(np.abs(np.sum(directions.T * exact, axis=1)), 1, atol=2e-3)
    all_of_it = fit_reduction(sparse.csr_matrix(dense), 500)
    assert all_of_it.shape == (40, 40)
    kept = dense @ all_of_it.astype(np.float32)
    np.testing.assert_allclose(kept @ kept.T, dense @ dense.T, atol=5e-3)


def test_products_by_blocks_are_those_of_the_whole_table() -> None:
    table = np.random.default_rng(0).normal(size=(2 * _BLOCK + 5, 3)).astype(np.float32)
    np.testing.assert_allclose(_gram(table), table.T.astype(np.float64) @ table, rtol=1e-12)
