"""Tokens by which texts are compared: words, and each Chinese or Japanese character."""

import re
from functools import lru_cache

# Scripts written without spaces: Han with its extensions, kana.
UNSPACED = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_TOKEN = re.compile(rf"[{UNSPACED}]|[^\W_{UNSPACED}]+")
_HAN = re.compile(f"[{UNSPACED}]")
# Capitals that end before a capitalised word are one: `HTTPServer` is HTTP and Server.
_NAME_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^\W\dA-Za-z_]+")


def tokenize(text: str) -> list[str]:
    """Returns lower-case words of letters and digits; a Han character or kana is a word.

    On ASCII these are the tokens of the rouge-score library without a stemmer. Its own pattern
    drops every other letter, so that Chinese texts have no token and a score of 0.
    """
    return _TOKEN.findall(text.lower())


def is_unspaced(text: str) -> bool:
    """Tells whether most letters of a text are of a script without spaces."""
    n_han = len(_HAN.findall(text))
    n_spaced = sum(len(token) for token in _TOKEN.findall(text)) - n_han
    return n_han > n_spaced


class RougeTokenizer:
    """The tokens in the form that `rouge_score.RougeScorer(tokenizer=...)` takes.

    A reference is compared with many summaries, so the last texts are remembered.
    """

    def __init__(self) -> None:
        self.tokenize = lru_cache(maxsize=4096)(tokenize)


def token_ends(text: str, most: int) -> list[int]:
    """Returns where each of the first tokens ends in a text."""
    return [found.end() for found, _ in zip(_TOKEN.finditer(text), range(most), strict=False)]


def name_words(name: str) -> str:
    """Returns the words of a name that is written as one: `read_csvFile` is "read csv File"."""
    return " ".join(_NAME_WORD.findall(name))
