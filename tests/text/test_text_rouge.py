"""ROUGE equals the library's; the longest common subsequence equals the textbook's table."""

import math
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer

from pipeline.text.rouge import ROUGES, copied_share, length_ratio, longest_common, rouge
from pipeline.text.tokens import RougeTokenizer, is_unspaced, token_ends, tokenize

WORDS = st.lists(st.sampled_from(["a", "b", "c", "d1", "B"]), max_size=30)
ASCII = st.text(st.characters(max_codepoint=127), max_size=80)


@given(ASCII)
def test_on_ascii_the_tokens_are_the_librarys(text: str) -> None:
    library = RougeScorer(["rouge1"])._tokenizer
    assert tokenize(text) == library.tokenize(text)


@given(WORDS, st.lists(WORDS, min_size=1, max_size=3))
def test_every_score_is_the_librarys(summary: list[str], references: list[list[str]]) -> None:
    texts = [" ".join(words) for words in references]
    library = RougeScorer(list(ROUGES), tokenizer=RougeTokenizer())
    expected = library.score_multi(texts, " ".join(summary))
    for name in ROUGES:
        found = rouge(name, " ".join(summary), texts)
        assert found == pytest.approx(expected[name].fmeasure, abs=1e-12)


def table_length(first: list[str], second: list[str]) -> int:
    row = [0] * (len(second) + 1)
    for token in first:
        above = row[:]
        for column, other in enumerate(second):
            same = above[column] + 1 if token == other else 0
            row[column + 1] = max(same, above[column + 1], row[column])
    return row[-1]


@given(WORDS, WORDS)
def test_the_longest_common_subsequence_is_that_of_the_table(
    first: list[str], second: list[str]
) -> None:
    assert longest_common(first, second) == table_length(first, second)


@given(WORDS.filter(bool), WORDS)
def test_scores_lie_between_0_and_1_and_a_copy_scores_1(words: list[str], other: list[str]) -> None:
    for name in ROUGES:
        assert 0 <= rouge(name, " ".join(other), [" ".join(words)]) <= 1
    assert rouge("rougeL", " ".join(words), ["x", " ".join(words)]) == 1


def test_chinese_characters_are_tokens() -> None:
    assert tokenize("\u57fa\u4e8eMRP\u7684,3.5") == ["\u57fa", "\u4e8e", "mrp", "\u7684", "3", "5"]
    assert rouge("rouge1", "\u6c34\u706b", ["\u6c34\u571f"]) == pytest.approx(0.5)
    assert rouge("rouge2", "\u6c34\u706b\u5c71", ["\u6c34\u706b"]) == pytest.approx(2 / 3)
    assert is_unspaced("\u57fa\u4e8eMRP\u7684\u6a21\u578b")
    assert not is_unspaced("a plain text with \u6c34 in it")


def test_long_texts_are_scored_in_seconds() -> None:
    started = time.process_time()
    text = "one two three four five six " * 3000
    assert rouge("rougeL", text, [text[: len(text) // 2]]) == pytest.approx(2 / 3, abs=1e-3)
    assert time.process_time() - started < 5


def test_copied_share_and_length_ratio() -> None:
    document = "The quick fox runs. It sleeps."
    assert copied_share("Quick fox runs", document) == 1
    assert copied_share("quick dog runs", document) == 0
    assert copied_share("fox", document) == 1
    assert math.isnan(copied_share("", document))
    assert length_ratio("a b c", ["a b", "a b c d"]) == 1
    assert length_ratio("", ["a"]) == 0
    assert math.isnan(length_ratio("a", ["..."]))


@given(st.text(max_size=60), st.integers(0, 20))
def test_token_ends_bound_the_first_tokens(text: str, most: int) -> None:
    ends = token_ends(text, most)
    assert len(ends) <= most
    if ends:
        assert len(token_ends(text[: ends[-1]], 100)) == len(ends)
