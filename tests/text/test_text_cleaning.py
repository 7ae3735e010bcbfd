import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.text.cleaning import clean_text, has_html, look_at


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("<p>Fish &amp; chips</p>", " Fish & chips "),
        ("a < b and List<int>", "a < b and List<int>"),
        ("AT&T and R&D", "AT&T and R&D"),
        ("x<script>var a = '<b>';</script>y<!-- no -->z", "x y z"),
        ("tab\tand\x00zero\x1b[0m", "tab\tand zero [0m"),
        ("\uff21\uff22\uff23 \ufb01n", "ABC fin"),
        ("half \ud83d of it", "half \ufffd of it"),
        ("&#1;&#x263a;", "\u263a"),
        ("<a href='x'>link</a", " link</a"),
        ("", ""),
    ],
)
def test_what_is_read_of_a_text(text: str, cleaned: str) -> None:
    assert clean_text(text) == cleaned


@given(st.text(st.characters(), max_size=60))
def test_any_text_can_be_cleaned_and_written(text: str) -> None:
    cleaned = clean_text(text)
    assert cleaned.encode("utf-8").decode("utf-8") == cleaned
    assert not any(ord(c) < 32 and c not in "\t\n\r" for c in cleaned)


def test_a_page_of_unclosed_tags_takes_no_time() -> None:
    assert not has_html("<p" * 100_000)
    assert "x" in clean_text("<p " * 20_000 + "x" + "<!--" * 20_000)


def test_what_is_odd_is_counted() -> None:
    found = look_at(["", " .!", "fine", "a\x07b", "<br>x"])
    assert (found.n_texts, found.empty, found.control, found.html, found.longest) == (5, 2, 1, 1, 5)
