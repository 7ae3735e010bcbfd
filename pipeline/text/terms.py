"""Documents as 64-bit hashes of their terms: words, pairs and pieces of words, signs.

No term is ever a Python string: a batch of documents is one array of code points, a term is a run
in it, and a polynomial rolling hash names it. Preparing and serving share this code, a vocabulary
is a sorted array of hashes, and memory is that of a batch. Two terms of a million share a hash by
chance 3e-8.

A word is a run of letters and digits. A character of a script that writes no spaces (Chinese,
Japanese) is a word of its own, so that its words are characters and their pairs and triples.
"""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from pipeline.text.cleaning import clean_text

Hashes = NDArray[np.uint64]

_BASE = np.uint64(0x9E3779B97F4A7C15)  # odd, so that it has an inverse modulo 2**64
_INVERSE = np.uint64(pow(0x9E3779B97F4A7C15, -1, 2**64))
_WORD, _PAIR, _TRIPLE, _PIECE, _MARK = (np.uint64(salt) for salt in (
    0x776F7264, 0x70616972, 0x74726970, 0x70696563, 0x6D61726B
))  # fmt: skip
PIECES = (3, 4, 5)
"""Characters of a piece of a word."""
_SPACE, _SIGN, _LETTER, _ALONE = range(4)
# Han with its extensions, kana; Hangul writes spaces.
_UNSPACED = ((0x3040, 0x30FF), (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF),
             (0x20000, 0x323AF))  # fmt: skip


@dataclass(frozen=True)
class Words:
    """The words of a batch of documents, in their order.

    Attributes:
        codes: (C,) code points of all documents, one after the other.
        low: (W,) where each word begins in `codes`.
        high: (W,) where it ends.
        hashes: (W,) its hash.
        document: (W,) its document, from 0 in the batch.
        alone: (W,) whether it is a character of a script without spaces.
        ends: (D,) where each document ends in `codes`, with the line break behind it.
    """

    codes: NDArray[np.uint32]
    low: NDArray[np.int64]
    high: NDArray[np.int64]
    hashes: Hashes
    document: NDArray[np.int64]
    alone: NDArray[np.bool_]
    ends: NDArray[np.int64]

    @property
    def n_documents(self) -> int:
        """Documents of the batch."""
        return len(self.ends)


def read_words(texts: Sequence[str], lower: bool = True) -> Words:
    """Finds the words of documents, cleaned (see `clean_text`).

    Args:
        texts: The documents.
        lower: Whether capitals are read as small letters.
    """
    cleaned = [clean_text(text) for text in texts]
    cleaned = [text.lower() for text in cleaned] if lower else cleaned
    ends = np.cumsum([len(text) + 1 for text in cleaned], dtype=np.int64)
    joined = "".join(f"{text}\n" for text in cleaned)  # the end of a document ends its last word
    codes = np.frombuffer(joined.encode("utf-32-le"), dtype="<u4").astype(np.uint32)
    kinds = _kinds()[codes]
    low, high = _runs(kinds >= _LETTER, kinds == _ALONE)
    return Words(
        codes, low, high, _mix(_run_hashes(codes, low, high) ^ _WORD),
        np.searchsorted(ends, low, side="right"), kinds[low] == _ALONE, ends,
    )  # fmt: skip


def _runs(
    inside: NDArray[np.bool_], alone: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Returns where runs of `inside` begin and end; a place that is `alone` is a run by itself."""
    joins = inside[1:] & inside[:-1] & ~alone[1:] & ~alone[:-1]
    no = np.zeros(min(len(inside), 1), np.bool_)
    starts, ends = inside & ~np.concatenate([no, joins]), inside & ~np.concatenate([joins, no])
    return np.flatnonzero(starts), np.flatnonzero(ends) + 1


def word_terms(words: Words) -> tuple[Hashes, NDArray[np.int64]]:
    """Returns the hash and the document of each word, pair of words and unspaced triple."""
    hashes, document, alone = words.hashes, words.document, words.alone
    pair = document[1:] == document[:-1]
    pairs = pair_hashes(hashes[:-1], hashes[1:])
    triple = pair[1:] & pair[:-1] & alone[2:] & alone[1:-1] & alone[:-2]
    triples = _mix(pairs[:-1] * _INVERSE + hashes[2:] ^ _TRIPLE)
    return (
        np.concatenate([hashes, pairs[pair], triples[triple]]),
        np.concatenate([document, document[1:][pair], document[2:][triple]]),
    )


def pair_hashes(first: Hashes, second: Hashes) -> Hashes:
    """Returns the hash of words that follow each other; the order counts."""
    return _mix(first * _BASE + second ^ _PAIR)


def piece_terms(words: Words) -> tuple[Hashes, NDArray[np.int64]]:
    """Returns the hash and the document of each run of 3, 4 and 5 characters of a word.

    A space stands before and after each word and may begin or end a piece. Words of scripts
    without spaces have none: their characters are terms already.
    """
    spaced = ~words.alone
    low, lengths = words.low[spaced], (words.high - words.low)[spaced]
    padded = np.full(int(lengths.sum()) + len(low) + 1, ord(" "), dtype=np.uint32)
    owner = np.repeat(np.arange(len(low)), lengths)  # word of each character
    within = np.arange(len(owner)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    place = np.arange(len(owner)) + owner + 1
    padded[place] = words.codes[low[owner] + within]
    word_at = np.full(len(padded), -1, dtype=np.int64)
    word_at[place] = owner
    document = words.document[spaced]
    spaces = np.concatenate([[0], np.cumsum(word_at < 0)])  # spaces before each place
    hashes, documents = [], []
    for width in PIECES:
        first = np.arange(max(len(padded) - width + 1, 0))
        first = first[spaces[first + width - 1] == spaces[first + 1]]  # none inside the piece
        hashes.append(_mix(_run_hashes(padded, first, first + width) ^ _PIECE))
        documents.append(document[word_at[first + 1]])
    return np.concatenate(hashes), np.concatenate(documents)


def sign_terms(words: Words) -> tuple[Hashes, NDArray[np.int64]]:
    """Returns the hash and the document of each run of signs, and of each pair that has one.

    A sign is what is neither space, letter nor digit. Signs and words follow each other as they
    stand, with or without a space between them; a pair of two words is no term here.

    Args:
        words: In their own case: how a text is written is what signs tell.
    """
    marks = _kinds()[words.codes] == _SIGN
    low, high = _runs(marks, np.zeros_like(marks))
    hashes = _mix(_run_hashes(words.codes, low, high) ^ _MARK)
    order = np.argsort(np.concatenate([words.low, low]), kind="stable")
    is_sign = order >= len(words.low)
    every = np.concatenate([words.hashes, hashes])[order]
    document = np.searchsorted(words.ends, np.concatenate([words.low, low])[order], side="right")
    pair = (document[1:] == document[:-1]) & (is_sign[1:] | is_sign[:-1])
    return (
        np.concatenate([every[is_sign], pair_hashes(every[:-1], every[1:])[pair]]),
        np.concatenate([document[is_sign], document[1:][pair]]),
    )


def _run_hashes(
    codes: NDArray[np.uint32], low: NDArray[np.int64], high: NDArray[np.int64]
) -> Hashes:
    """Returns the hash of each run of code points, wherever it stands.

    With v the mixed code points and b the base, S[i] = sum of v[t] b**t over t < i; the run from
    i to j has the hash (S[j] - S[i]) / b**i, modulo 2**64.
    """
    terms = _mix(codes.astype(np.uint64)) * _powers(_BASE, len(codes))
    sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(terms)])
    found: Hashes = (sums[high] - sums[low]) * _powers(_INVERSE, len(codes) + 1)[low]
    return found


def _powers(base: np.uint64, n: int) -> Hashes:
    return np.cumprod(np.concatenate([np.ones(1, np.uint64), np.full(max(n - 1, 0), base)]))[:n]


def _mix(values: Hashes) -> Hashes:
    """Scrambles 64-bit integers (the finaliser of SplitMix64, Steele et al., 2014)."""
    values = values + _BASE
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


@cache
def _kinds() -> NDArray[np.uint8]:
    """Returns what each code point is: space, sign, part of a word, or a word of its own."""
    kinds = np.fromiter((_kind(code) for code in range(0x110000)), np.uint8, 0x110000)
    for low, high in _UNSPACED:
        kinds[low : high + 1] = np.where(kinds[low : high + 1] == _LETTER, _ALONE, _SIGN)
    return kinds


def _kind(code: int) -> int:
    character = chr(code)
    # Marks too: vowels of Indic scripts and accents written after their letter.
    if character.isalnum() or unicodedata.category(character).startswith("M"):
        return _LETTER
    return _SPACE if character.isspace() else _SIGN
