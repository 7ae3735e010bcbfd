"""Ranks, labels and choices: bounds, orders and second sources."""

import itertools
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.text.choice import Budget, choose, choose_near, first_words, join, n_words
from pipeline.text.labels import label_sentences, members_of
from pipeline.text.ranking import textrank
from pipeline.text.rouge import rouge

SIZES = st.lists(st.tuples(st.floats(-5, 5), st.integers(0, 9)), min_size=1, max_size=12)
SENTENCES = st.lists(
    st.lists(st.sampled_from(["ant", "bee", "cat", "dog", "elk", "fox"]), min_size=1, max_size=5)
    .map(" ".join), min_size=1, max_size=6,
)  # fmt: skip


@given(SIZES, st.integers(1, 30))
def test_a_budget_of_words_is_kept_unless_the_best_alone_passes_it(
    sizes: list[tuple[float, int]], amount: int
) -> None:
    scores, lengths = [s for s, _ in sizes], [n for _, n in sizes]
    chosen = choose(scores, lengths, Budget("words", amount))
    assert chosen == sorted(set(chosen))
    used = sum(lengths[i] for i in chosen)
    assert chosen
    assert used <= amount or len(chosen) == 1
    # Nothing that was left out would still fit.
    left = [n for i, n in enumerate(lengths) if i not in chosen and n]
    assert used > amount or all(used + n > amount for n in left)


@given(SIZES, st.integers(1, 5))
def test_a_budget_of_sentences_takes_the_highest(
    sizes: list[tuple[float, int]], amount: int
) -> None:
    scores, lengths = [s for s, _ in sizes], [n + 1 for _, n in sizes]
    chosen = choose(scores, lengths, Budget("sentences", amount))
    assert len(chosen) == min(amount, len(sizes))
    left = [scores[i] for i in range(len(scores)) if i not in chosen]
    assert not left or max(left) <= min(scores[i] for i in chosen)


def test_a_share_is_of_the_documents_words() -> None:
    assert choose([1, 3, 2], [10, 10, 20], Budget("share", 0.5)) == [0, 1]
    assert choose([1, 3, 2], [10, 10, 20], Budget("share", 0.75)) == [1, 2]
    assert choose([float("nan"), 0.1], [3, 3], Budget("sentences", 1)) == [1]
    assert choose([], [], Budget("sentences", 1)) == []
    assert choose([9.0, 1.0], [0, 4], Budget("sentences", 1)) == [1]  # the first has no word


@given(SIZES, st.integers(0, 40))
def test_the_nearest_length_is_no_farther_than_one_sentence(
    sizes: list[tuple[float, int]], n_wanted: int
) -> None:
    scores, lengths = [s for s, _ in sizes], [n + 1 for _, n in sizes]
    chosen = choose_near(scores, lengths, n_wanted)
    used = sum(lengths[i] for i in chosen)
    assert abs(used - n_wanted) <= max(lengths) or len(chosen) in (1, len(lengths))


def test_chosen_sentences_are_joined_as_the_script_asks() -> None:
    assert join(["One. ", "Two. ", "Three."], [0, 2], unspaced=False) == "One. Three."
    assert (
        join(["\u6c34\u3002", "\u706b\u3002"], [0, 1], unspaced=True) == "\u6c34\u3002\u706b\u3002"
    )
    assert first_words("One, two; three.", 2) == "One, two"
    assert first_words("...", 2) == ""
    assert n_words("\u6c34\u706b one") == 3


def test_textrank_solves_its_equation() -> None:
    sentences = [
        "Rain fell on the northern valley.", "The valley flooded after rain.",
        "Shops closed early.", "Northern shops sold rain coats.", "Zebras!",
    ]  # fmt: skip
    found = textrank(sentences)
    words = [
        {"rain", "fell", "northern", "valley"}, {"valley", "flooded", "rain"},
        {"shops", "closed", "early"}, {"northern", "shops", "sold", "rain", "coats"}, {"zebras"},
    ]  # fmt: skip
    links = np.zeros((5, 5))
    for i, j in itertools.permutations(range(5), 2):
        scale = np.log(len(words[i])) + np.log(len(words[j]))
        links[i, j] = len(words[i] & words[j]) / scale if scale else 0
    flow = np.where(links.sum(1, keepdims=True) > 0, links, 1.0)
    flow = flow / flow.sum(1, keepdims=True)
    exact = np.linalg.solve(np.eye(5) - 0.85 * flow.T, np.full(5, 0.15 / 5))
    np.testing.assert_allclose(found, exact, atol=1e-5)
    assert found.argmax() == 0 or found.argmax() == 3


@given(SENTENCES)
def test_ranks_are_a_distribution_whatever_the_text(sentences: list[str]) -> None:
    ranks = textrank(sentences)
    assert ranks.min() > 0
    assert ranks.sum() == pytest.approx(1)


def test_degenerate_documents_are_ranked() -> None:
    assert textrank([]).shape == (0,)
    assert textrank(["...", "!"]).tolist() == [0.5, 0.5]
    started = time.process_time()
    assert (textrank(["a common word"] * 4000)[3000:] == 0).all()
    assert time.process_time() - started < 20


@settings(max_examples=40)
@given(SENTENCES, SENTENCES)
def test_a_sentence_alone_is_worth_its_rouge(sentences: list[str], references: list[str]) -> None:
    found = label_sentences(sentences, references)
    for sentence, value in zip(sentences, found.value, strict=True):
        expected = max(
            (rouge("rouge1", sentence, [r]) + rouge("rouge2", sentence, [r])) / 2
            for r in references
        )
        assert value == pytest.approx(expected)


@settings(max_examples=40)
@given(SENTENCES, SENTENCES.map(" ".join))
def test_the_oracle_beats_every_single_sentence(sentences: list[str], reference: str) -> None:
    found = label_sentences(sentences, [reference])
    if found.origin == "membership":
        return
    text = join(sentences, np.flatnonzero(found.chosen).tolist(), unspaced=False)
    if found.value.max() == 0:
        assert not found.chosen.any()
        return
    # Pairs across sentences count only in the joined text, so ROUGE-1 is what must not fall.
    assert rouge("rouge1", text, [reference]) > 0


def test_a_reference_of_the_documents_sentences_gives_membership() -> None:
    sentences = ["The sun rose over hills.", "He said.", "Birds sang, he said.", "It was late."]
    found = label_sentences(sentences, ["Birds sang, he said.The sun rose over hills."])
    assert found.origin == "membership"
    assert found.chosen.tolist() == [True, False, True, False]
    words = [sentence.lower().strip(".").replace(",", "").split() for sentence in sentences]
    assert members_of(words, ["he", "said", "it", "was"]).tolist() == [False, True, False, False]


def test_the_best_of_several_references_labels() -> None:
    sentences = ["Red apples fall down.", "Green pears rise up.", "Nothing else here."]
    found = label_sentences(sentences, ["green pears often rise", "an orange"], most=1)
    assert (found.origin, found.chosen.tolist()) == ("oracle", [False, True, False])


def test_a_reference_that_shares_nothing_labels_nothing() -> None:
    found = label_sentences(["One two.", "Three four."], ["Something unlike it"])
    assert not found.chosen.any()
    assert label_sentences([], ["x"]).chosen.shape == (0,)
