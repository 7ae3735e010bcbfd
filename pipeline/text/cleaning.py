"""Texts made plain before anything reads them, the same way for training and for serving."""

import html
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

_TAG_NAMES = (
    "a|abbr|article|aside|b|blockquote|body|br|button|caption|center|cite|code|dd|div|dl|dt|em|"
    "figure|font|footer|form|h[1-6]|head|header|hr|html|i|iframe|img|input|label|li|link|main|meta|"
    "nav|ol|option|p|pre|q|s|script|section|select|small|span|strong|style|sub|sup|svg|table|tbody|"
    "td|textarea|tfoot|th|thead|title|tr|u|ul|video"
)
_HIDDEN = re.compile(r"<(script|style)\b[^<>]*>.*?(?:</\1\s*>|\Z)|<!--.*?(?:-->|\Z)", re.I | re.S)
# Only the names of HTML: `List<int>` and `a < b` are text.
_TAG = re.compile(rf"</?(?:{_TAG_NAMES})(?:\s[^<>]*)?/?>|<!doctype[^<>]*>", re.IGNORECASE)
_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200b\ufeff\ufffe\uffff]")
_SURROGATE = re.compile("[\ud800-\udfff]")  # half a character, which no encoding can write

_BROKEN = re.compile("[\ud800-\udfff\ufffd]")


@dataclass(frozen=True)
class Found:
    """What cleaning found among texts.

    Attributes:
        n_texts: Texts.
        empty: Texts without a letter or digit.
        control: Texts with control characters, or with characters that were broken on the way.
        html: Texts with tags or entities of HTML.
        longest: Characters of the longest.
    """

    n_texts: int = 0
    empty: int = 0
    control: int = 0
    html: int = 0
    longest: int = 0


def clean_text(text: str) -> str:
    """Returns a text in normal form (NFKC), without HTML and control characters.

    Full-width letters become plain ones; see `shown_text`.
    """
    text = shown_text(text)
    return text if unicodedata.is_normalized("NFKC", text) else unicodedata.normalize("NFKC", text)


def shown_text(text: str) -> str:
    """Returns what a text shows: without HTML and control characters, its letters as they are.

    `<p>` becomes a line break's worth of space, `&amp;` an ampersand; line breaks and tabs stay,
    because sentences and paragraphs end there.
    """
    text = _plain(text)
    if has_html(text):
        text = _ENTITY.sub(_character, _TAG.sub(" ", _HIDDEN.sub(" ", text)))
        text = _plain(text)  # `&#1;` is a control character too
    return text


def has_html(text: str) -> bool:
    """Tells whether a text holds tags or entities of HTML."""
    tagged = "<" in text and (_TAG.search(text) or _HIDDEN.search(text))
    return bool(tagged or ("&" in text and _ENTITY.search(text)))


def look_at(texts: Iterable[str]) -> Found:
    """Counts what is odd among texts as they were given."""
    n_texts = empty = control = with_html = longest = 0
    for text in texts:
        n_texts += 1
        empty += not any(map(str.isalnum, clean_text(text)))
        control += bool(_CONTROL.search(text) or _BROKEN.search(text))
        with_html += has_html(text)
        longest = max(longest, len(text))
    return Found(n_texts, empty, control, with_html, longest)


def _plain(text: str) -> str:
    return _SURROGATE.sub("\ufffd", _CONTROL.sub(" ", text))


def _character(entity: re.Match[str]) -> str:
    return html.unescape(entity[0])
