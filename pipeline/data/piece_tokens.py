"""The encoder `transformer`, as far as it is fitted: documents become numbers of word pieces."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipeline.data.text_encoding import Cut, Progress, TextInputs, named_progress
from pipeline.errors import DataError
from pipeline.text.batching import batches
from pipeline.text.cleaning import clean_text
from pipeline.text.numbering import PAD, UNKNOWN
from pipeline.text.ragged import Ragged, from_lengths

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from pipeline.study.encoder_spec import EncoderSpec

_SPECIALS = ["<pad>", "<unknown>"]  # numbers PAD and UNKNOWN
_CHARACTERS = 32
"""Characters of a piece at most, in the mean of a text: what is surely cut is not tokenized."""
_RARE = 2  # times that a character or a pair must stand in train
_CODES = 0x110000


@dataclass(frozen=True)
class PieceTokens:
    """Pieces of words as numbers; a network learns to read them.

    Byte-pair encoding (Sennrich et al., 2016) by the library `tokenizers`: from single characters
    the pairs that stand beside each other most often in train become pieces, inside runs of
    letters and digits and inside runs of marks, in lower case. A script without spaces gives
    characters, frequent pairs of them, and longer words.

    Attributes:
        serialized: The tokenizer as JSON, in UTF-8 bytes.
        max_tokens: Pieces that are read; what comes later is cut off, and counted.
    """

    serialized: bytes
    max_tokens: int

    name = "transformer"
    width = 0

    @cached_property
    def _tokenizer(self) -> Tokenizer:
        tokenizer: Tokenizer = _library().Tokenizer.from_str(self.serialized.decode())
        return tokenizer

    @property
    def vocabulary(self) -> Mapping[str, int]:
        """Numbers that may occur."""
        return {self.name: self._tokenizer.get_vocab_size()}

    @property
    def shape(self) -> Mapping[str, Any]:
        """Nothing; see `TextPart`."""
        return {}

    def encode(self, texts: Sequence[str], progress: Progress | None = None) -> TextInputs:
        """Turns documents into rows of numbers."""
        parts, cut = [], np.zeros(len(texts), np.bool_)
        for part in batches(texts, named_progress(progress, "Tokenizing, documents")):
            found, cut[part] = self._read(texts[part])
            parts.append(found)
        none = np.zeros((len(texts), 0), np.float32)
        ends = Cut(cut, self.max_tokens, "tokens", self.name, "model.encoder.max_tokens")
        return TextInputs(none, {self.name: Ragged.joined(parts)}, ends)

    def _read(self, texts: Sequence[str]) -> tuple[Ragged, NDArray[np.bool_]]:
        """Returns the rows of a batch of N documents, and (N,) whether one was cut."""
        most = self.max_tokens * _CHARACTERS
        cleaned = [_cleaned(text) for text in texts]
        found = [one.ids for one in self._tokenizer.encode_batch_fast([t[:most] for t in cleaned])]
        lengths = np.array([len(ids) for ids in found])
        cut = (lengths > self.max_tokens) | np.array([len(text) > most for text in cleaned])
        numbers = np.fromiter(chain.from_iterable(found), np.int32, int(lengths.sum()))
        numbers[numbers == PAD] = UNKNOWN  # a document may hold the very word
        return Ragged(from_lengths(lengths), numbers).cut(self.max_tokens), cut

    def to_json(self) -> Mapping[str, Any]:
        """Returns how far documents are read."""
        return {"max_tokens": self.max_tokens}

    def arrays(self) -> Mapping[str, NDArray[Any]]:
        """Returns the bytes of the tokenizer."""
        return {"tokenizer": np.frombuffer(self.serialized, np.uint8)}

    def save(self, folder: Path) -> None:
        """Writes nothing: its array is all."""

    @classmethod
    def from_json(
        cls,
        values: Mapping[str, Any],
        arrays: Mapping[str, NDArray[Any]],
        folder: Path | None = None,
    ) -> PieceTokens:
        """Rebuilds what `to_json` and `arrays` gave."""
        return cls(arrays["tokenizer"].tobytes(), values["max_tokens"])

    @classmethod
    def fit(
        cls, texts: Sequence[str], spec: EncoderSpec, progress: Progress | None = None
    ) -> PieceTokens:
        """Trains the tokenizer on the documents of train.

        Raises:
            DataError: The library is not installed.
        """
        library = _library()
        tokenizer = library.Tokenizer(library.models.BPE(unk_token=_SPECIALS[UNKNOWN]))
        tokenizer.pre_tokenizer = library.pre_tokenizers.Whitespace()
        # Chosen here: of equally frequent characters the library drops now one, now another.
        alphabet = _alphabet(texts, spec.vocabulary // 2)
        trainer = library.trainers.BpeTrainer(
            vocab_size=spec.vocabulary,
            min_frequency=_RARE,
            special_tokens=_SPECIALS,
            initial_alphabet=alphabet,
            limit_alphabet=len(alphabet),
            show_progress=False,
        )
        told = named_progress(progress, "Training the tokenizer, documents")
        cleaned = ([_cleaned(text) for text in texts[part]] for part in batches(texts, told))
        tokenizer.train_from_iterator(cleaned, trainer)
        return cls(tokenizer.to_str().encode(), spec.max_tokens)


def _cleaned(text: str) -> str:
    return clean_text(text).lower()


def _alphabet(texts: Sequence[str], most: int) -> list[str]:
    """Returns the most frequent characters of texts, of equal ones the smaller code points."""
    counts = np.zeros(_CODES, np.int64)
    for part in batches(texts):
        joined = "".join(_cleaned(text) for text in texts[part])
        counts += np.bincount(np.frombuffer(joined.encode("utf-32-le"), "<u4"), minlength=_CODES)
    kept = np.flatnonzero(counts >= _RARE)
    chosen = kept[np.argsort(-counts[kept], kind="stable")][:most]
    return [chr(code) for code in np.sort(chosen) if not chr(code).isspace()]


def _library() -> Any:
    """Imports the library.

    Raises:
        DataError: It is not installed.
    """
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # it warns when processes fork
    try:
        import tokenizers
        from tokenizers import models, pre_tokenizers, trainers  # noqa: F401
    except ImportError as error:
        raise DataError(
            "The encoder `transformer` needs tokenizers. Install it by `pip install "
            "'mtl-pipeline[text]'`, or use `model.encoder.kind: bag`."
        ) from error
    return tokenizers
