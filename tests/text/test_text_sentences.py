"""Sentences and clauses: joined they are the text, and they end where readers see it."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.text.sentences import split_clauses, split_sentences

PIECES = st.sampled_from(
    [".", "!", "?", "\u3002", "\uff01", "...", '"', "'", "\u201d", ")", "(", " ", "  ", "\n",
     "\n\n", ",", "\uff0c", ";", ":", "Mr", "e.g", "U.S", "A", "I", "word", "Word", "3.14", "5",
     "%", "\u6c34", "\u706b\u5c71", "\t", "\x00", "\u00e9", "\U0001f600"]
)  # fmt: skip
TEXTS = st.one_of(st.text(max_size=80), st.lists(PIECES, max_size=40).map("".join))


def stripped(pieces: list[str]) -> list[str]:
    return [piece.strip() for piece in pieces]


@given(TEXTS)
def test_joining_gives_the_text_back(text: str) -> None:
    assert "".join(split_sentences(text)) == text
    assert "".join(split_clauses(text)) == text


@given(TEXTS)
def test_no_piece_is_empty_unless_the_text_is_blank(text: str) -> None:
    for pieces in (split_sentences(text), split_clauses(text)):
        assert all(piece.strip() for piece in pieces) or (len(pieces) == 1 and not text.strip())
        assert bool(pieces) == bool(text)


@given(TEXTS)
def test_every_sentence_end_is_a_clause_end(text: str) -> None:
    def ends(pieces: list[str]) -> set[int]:
        return {sum(map(len, pieces[: i + 1])) for i in range(len(pieces))}

    assert ends(split_sentences(text)) <= ends(split_clauses(text))


@pytest.mark.parametrize(
    "sentences",
    [
        ["It rose by 3.5 percent to $2.25.", "Then it fell."],
        ["Mr. Reed met Dr. Chen at 5 p.m. in St. Ives.", "They spoke."],
        ["J. R. Stone of the U.S. Army wrote it.", "See Fig. 3 and No. 7 for more."],
        ["Is it no?", "No.", "Nobody knows!", "Why?!"],
        ['"Stay!" he said.', "She left.", '"Why?"', "He wept."],
        ["It was (very) late.", "(We slept.)", "The end..."],
        ["Things such as e.g. This one stay whole.", "Acme Inc.", "They sell."],
        ["The firm Yahoo! said so.", "iPhone 3.0 came."],
        ["A heading", "A body without a stop"],
    ],
    ids=lambda sentences: sentences[0][:20],
)
def test_english_sentences_end_where_readers_see_it(sentences: list[str]) -> None:
    glue = "\n\n" if "heading" in sentences[0] else " "
    assert stripped(split_sentences(glue.join(sentences))) == sentences


@pytest.mark.parametrize(
    "sentences",
    [
        ["It fell by 4.5%.", "The end came.", "BA rose."],
        ['He said it was "grim".', '"We go," he added.', "All left."],
        ['"We go," he said.', '"We stay."', "All wept."],
        ["Goods cost 5 in the UK.", "A phone is dear."],
    ],
    ids=lambda sentences: sentences[0][:20],
)
def test_sentences_glued_without_a_space_are_parted(sentences: list[str]) -> None:
    assert split_sentences("".join(sentences)) == sentences


@pytest.mark.parametrize(
    "text",
    ["See www.bbc.co.uk now", "Mail a.b@Site.Org today", "Version 2.0.1", "the Ph.D. thesis"],
)
def test_stops_inside_names_and_numbers_end_nothing(text: str) -> None:
    assert split_sentences(text) == [text]


def test_chinese_sentences_and_clauses() -> None:
    sentences = [
        "\u6c34\u5728\u6d41\uff0c\u706b\u5728\u70e7\u3002",
        "\u5c71\u9ad8,\u6708\u5c0f.",
        "PM2.5\u5f88\u9ad8\uff1b\u4ed6\u8bf4\uff1a\u201c\u8d70\u5427\uff01\u201d",
        "\u597d\u3002",
    ]
    text = "".join(sentences)
    assert split_sentences(text) == sentences
    assert split_clauses(text) == [
        "\u6c34\u5728\u6d41\uff0c", "\u706b\u5728\u70e7\u3002", "\u5c71\u9ad8,", "\u6708\u5c0f.",
        "PM2.5\u5f88\u9ad8\uff1b", "\u4ed6\u8bf4\uff1a", "\u201c\u8d70\u5427\uff01\u201d",
        "\u597d\u3002",
    ]  # fmt: skip


def test_english_clauses_keep_numbers_and_times_whole() -> None:
    assert split_clauses("At 10:30, some 1,000 came; few left: why?") == [
        "At 10:30, ", "some 1,000 came; ", "few left: ", "why?",
    ]  # fmt: skip


@pytest.mark.parametrize("word", ["word ", 'He said "no."It. ', "a.", '".', "\u6c34\u3002", "x\n"])
def test_a_very_long_document_takes_linear_time(word: str) -> None:
    def seconds(n_words: int) -> float:
        text, started = word * n_words, time.process_time()
        assert "".join(split_sentences(text)) == text
        return time.process_time() - started

    # Eight times the words; quadratic time would be 64 times that of the shorter one.
    assert seconds(200_000) < 20 * seconds(25_000) + 0.5
