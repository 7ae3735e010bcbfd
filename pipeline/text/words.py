"""Texts as numbers of words and back, for models that write."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b

from pipeline.text.tokens import UNSPACED

SPECIALS = ("<pad>", "<unknown>", "<end>")
"""Numbers 0, 1 and 2."""

_WORD = re.compile(rf"[{UNSPACED}]|[^\W_{UNSPACED}]+(?:['\u2019-][^\W_{UNSPACED}]+)*|[^\w\s]")
_OUTSIDE = 2**22  # numbers of words outside a vocabulary; exact in float32 beside a vocabulary
_NO_SPACE_BEFORE = frozenset(
    ",.;:!?)]}%\u2019\u201d\uff0c\u3002\uff1b\uff1a\uff01\uff1f\uff09\u3001"
)
_NO_SPACE_BEHIND = frozenset("([{\u201c\uff08$#")
_IS_UNSPACED = re.compile(f"[{UNSPACED}]")


def split_words(text: str, most: int | None = None) -> list[str]:
    """Returns words as written, single marks, and single characters of unspaced scripts."""
    found = (match[0] for match in _WORD.finditer(text))
    if most is None:
        return list(found)
    return [word for word, _ in zip(found, range(most), strict=False)]


def fit_vocabulary(texts: Iterable[Sequence[str]], size: int) -> list[str]:
    """Returns the most frequent lower-case words, the specials first.

    Args:
        texts: Words of each text.
        size: Words in all, the specials included. A word that occurs once is left out.
    """
    counts = Counter(word.lower() for words in texts for word in words)
    kept = [(word, n) for word, n in counts.items() if n > 1]
    kept.sort(key=lambda found: (-found[1], found[0]))
    return [*SPECIALS, *(word for word, _ in kept[: max(size - len(SPECIALS), 1)])]


def number_words(words: Sequence[str], numbers: Mapping[str, int]) -> list[int]:
    """Returns the number of each word; one outside the vocabulary gets a hash behind it.

    Args:
        words: As written; case does not matter.
        numbers: Word to number of the vocabulary.
    """
    lowered = [word.lower() for word in words]
    size = len(numbers)
    return [numbers[word] if word in numbers else size + _outside(word) for word in lowered]


def _outside(word: str) -> int:
    return int.from_bytes(blake2b(word.encode(), digest_size=4).digest(), "little") % _OUTSIDE


def spell(numbers: Sequence[int], vocabulary: Sequence[str], source: Mapping[int, str]) -> str:
    """Returns the text of numbers: words of the source as they stand there.

    Args:
        numbers: Written words.
        vocabulary: Words by their numbers.
        source: Number to the word as the source has it.
    """
    text = ""
    for number in numbers:
        word = source.get(number)
        if word is None:
            if not len(SPECIALS) <= number < len(vocabulary):
                continue
            word = vocabulary[number]
        text += _glue(text, word) + word
    return text[:1].upper() + text[1:]


def _glue(text: str, word: str) -> str:
    if not text or word in _NO_SPACE_BEFORE or text[-1] in _NO_SPACE_BEHIND:
        return ""
    return "" if _IS_UNSPACED.match(word) or _IS_UNSPACED.match(text[-1]) else " "
