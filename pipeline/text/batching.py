"""Documents batch by batch; whoever waits is told after each how far the work is."""

from collections.abc import Callable, Iterable, Iterator, Sequence

Tell = Callable[[int, int], None]
"""Told how many of how many are done."""

_CHARACTERS = 2**19
"""Of a batch: the arrays of its terms take some 100 MB at most, whatever the documents."""


def batches(
    texts: Sequence[str], tell: Tell | None = None, n_characters: int = _CHARACTERS
) -> Iterator[slice]:
    """Yields slices of documents that together have about so many characters.

    Args:
        texts: The documents; one that is longer is a batch of its own.
        tell: Told after the work on each batch how many documents are done.
        n_characters: Of a batch.
    """
    return _told(_by_characters(texts, n_characters), len(texts), tell)


def batches_of(size: int, n_documents: int, tell: Tell | None = None) -> Iterator[slice]:
    """Yields slices of so many documents, fewer in the last; `tell` as of `batches`."""
    parts = (slice(low, min(low + size, n_documents)) for low in range(0, n_documents, size))
    return _told(parts, n_documents, tell)


def _by_characters(texts: Sequence[str], n_characters: int) -> Iterator[slice]:
    low = total = 0
    for index, text in enumerate(texts):
        if index > low and total + len(text) > n_characters:
            yield slice(low, index)
            low, total = index, 0
        total += len(text)
    if low < len(texts):
        yield slice(low, len(texts))


def _told(parts: Iterable[slice], n_documents: int, tell: Tell | None) -> Iterator[slice]:
    for part in parts:
        yield part
        if tell is not None:  # the loop asks for the next part: the work on this one is done
            tell(part.stop, n_documents)
