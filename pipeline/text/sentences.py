"""Where sentences and clauses end, in English and Chinese.

Rules, not a model: they need no data, are the same in training and serving, and every boundary
can be explained. Pieces are slices of the text, so that joining them gives the text back.
"""

import re
from collections.abc import Iterator

from pipeline.text.function_words import FUNCTION_WORDS
from pipeline.text.tokens import UNSPACED

# Before a full stop these end no sentence, whatever follows.
_TITLES = """
mr mrs ms dr prof rev gen col lt sgt capt gov sen rep hon st mt messrs fr viz cf approx resp eg ie
e.g i.e ph.d vs jan feb mar apr jun jul aug sep sept oct nov dec
"""
# These do only before a number.
_NUMBERED = "no nos fig figs eq eqs sec ref refs vol vols pp p ch"
# These may end one: a function word with a capital then starts the next.
_ABBREVIATIONS = "inc ltd co corp etc plc llc dept univ est am pm jr sr al eds"
_ROLES = {
    **dict.fromkeys(_TITLES.split(), "title"),
    **dict.fromkeys(_NUMBERED.split(), "numbered"),
    **dict.fromkeys(_ABBREVIATIONS.split(), "abbreviation"),
}
_CLOSERS = "\"'\u2019\u201d)\\]}\u300d\u300f\u300b\uff09\u3011"
_OPENERS = "\"'\u2018\u201c(\\[{\u300c\u300e\u300a\uff08\u3010"
_END = re.compile(
    rf"(?P<stop>[.!?\u2026]+|[\u3002\uff01\uff1f\uff0e]+)(?P<close>[{_CLOSERS}]*)"
    r"|(?P<break>[^\S\n]*\n[^\S\n]*\n)"
)
_WORD_BEFORE = re.compile(r"[^\s(\[{\"'\u2018\u201c]{1,40}\Z")
_WORD_AFTER = re.compile(rf"\s+[{_OPENERS}]*(\w+)")
_ACRONYM = re.compile(r"(?:[a-z]\.)+[a-z]")
_NEXT = re.compile(rf"[{_OPENERS}]*(?P<letter>[^{_OPENERS}]?)(?P<second>.?)", re.DOTALL)
_SPACE = re.compile(r"\s*")
_IS_UNSPACED = re.compile(f"[{UNSPACED}]")
_WIDE_STOPS = "\u3002\uff01\uff1f\uff0e"
_CLAUSE_END = re.compile(
    r"[,;:](?=\s|$)"  # in spaced text a comma between digits is no end
    rf"|(?<=[{UNSPACED})\]])[,;:]|[,;:](?=[{UNSPACED}])"
    r"|[\uff0c\uff1b\uff1a]"
)


def split_sentences(text: str) -> list[str]:
    """Splits a text into sentences; each keeps the white space behind it.

    A sentence ends at a full stop, question or exclamation mark (and the quotes or brackets that
    close there), or at a blank line. Not inside a decimal, after an abbreviation or an initial,
    or where a small letter goes on. A full stop without a space behind it ends one where a
    capital follows a word, as in references glued from sentences; in Chinese text, where a
    character stands on either side.

    Returns:
        The pieces in order; joined they are the text. Empty for an empty text.
    """
    return _cut(text, _sentence_ends(text))


def split_clauses(text: str) -> list[str]:
    """Splits a text into clauses: sentences, and their parts between commas, semicolons, colons.

    Returns:
        The pieces in order; joined they are the text.
    """
    clauses: list[str] = []
    for sentence in split_sentences(text):
        ends = (
            _SPACE.match(sentence, found.end()).end()  # type: ignore[union-attr]
            for found in _CLAUSE_END.finditer(sentence)
        )
        clauses += _cut(sentence, ends)
    return clauses


def _cut(text: str, ends: Iterator[int]) -> list[str]:
    """Cuts a text at rising positions; white space alone stays with the piece before it."""
    pieces: list[str] = []
    start = 0
    for end in (*ends, len(text)):
        if text[start:end].strip():
            pieces.append(text[start:end])
            start = end
    if start < len(text):
        if pieces:
            pieces[-1] += text[start:]
        else:
            pieces.append(text)
    return pieces


def _sentence_ends(text: str) -> Iterator[int]:
    """Yields where a sentence ends, behind the white space that follows it."""
    quotes, counted = 0, 0  # straight quotes of the sentence so far, and up to where
    for found in _END.finditer(text):
        end = found.end()
        if found["break"] is None:
            quotes += text.count('"', counted, found.end("stop"))
            counted = found.end("stop")
            end = _after_closers(text, found, quotes % 2 == 1)
            if not _ends_here(text, found, end):
                continue
        quotes, counted = 0, end
        yield _SPACE.match(text, end).end()  # type: ignore[union-attr]


def _after_closers(text: str, found: re.Match[str], is_open: bool) -> int:
    """Returns where the marks that close a sentence end.

    A straight quote closes if one is open in the sentence, or if a space follows; else it opens
    the next sentence, as where sentences are glued.
    """
    end = found.end()
    closers = found["close"]
    if closers.endswith(('"', "'")) and end < len(text) and not text[end].isspace():
        n_quotes = closers.count('"')
        if closers[-1] == '"' and (n_quotes % 2 == 0 if is_open else n_quotes % 2 == 1):
            end -= 1
    return end


def _ends_here(text: str, found: re.Match[str], end: int) -> bool:
    """Tells whether a stop ends a sentence, from the word before it and what follows."""
    stop = found["stop"]
    if end == len(text) or stop[-1] in _WIDE_STOPS:
        return True
    start = found.start("stop")
    before = text[start - 1] if start else " "
    spaced = text[end].isspace()
    following = _NEXT.match(text, _SPACE.match(text, end).end())  # type: ignore[union-attr]
    letter = following["letter"] if following else ""
    if _IS_UNSPACED.match(before) or _IS_UNSPACED.match(letter):
        return not (before.isdigit() and letter.isdigit())
    second = following["second"] if following else ""
    if letter.islower() and not second.isupper():  # "iPhone" may begin one
        return False
    if stop == "." and _is_abbreviation(text, start, end, letter):
        return False
    if spaced:
        return True
    return _is_glued(text, start, end, letter, second)


def _is_abbreviation(text: str, stop: int, end: int, letter: str) -> bool:
    """Tells whether the word before a full stop is a title, an initial or an acronym."""
    found = _WORD_BEFORE.search(text, max(0, stop - 40), stop)
    if found is None:
        return False
    word = found[0].lower()
    role = _ROLES.get(word)
    if role == "title" or (role == "numbered" and letter.isdigit()):
        return True
    if len(word) == 1 and word.isalpha():
        return found[0].isupper() and word != "i"
    if role != "abbreviation" and not _ACRONYM.fullmatch(word):
        return False
    following = _WORD_AFTER.match(text, end)
    return following is None or following[1].lower() not in FUNCTION_WORDS


def _is_glued(text: str, stop: int, end: int, letter: str, second: str) -> bool:
    """Tells whether a stop without a space behind it stands between two sentences."""
    if not letter.isupper():
        # Only a quote or bracket that closed says that more follows than a number or a name.
        return end > stop + 1 and letter.isalnum()
    found = _WORD_BEFORE.search(text, max(0, stop - 40), stop)
    word = found[0] if found else text[stop - 1 : stop]
    if second == "." or "@" in word or "://" in word or word.lower().startswith("www."):
        return False
    starts_word = second.islower() or (letter in "AI" and second.isspace())
    return word[-1:].islower() or not word[-1:].isalpha() or starts_word
