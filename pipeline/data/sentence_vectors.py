"""The encoder `pretrained`: mean-pooled states of a frozen Hugging Face encoder."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipeline.data.text_encoding import Progress, TextInputs
from pipeline.errors import DataError
from pipeline.text.cleaning import clean_text

if TYPE_CHECKING:
    from pipeline.study.encoder_spec import EncoderSpec

_TOKENS = 4096
"""Tokens of a batch, padding among them: 16 documents of 256."""
_LOOK_AHEAD = 256  # documents tokenized at once, then batched by length
_CHARACTERS = 32
"""Characters of a token at most, in the mean of a text: what is surely cut is not tokenized."""
FOLDER = "pretrained"
_TOKENIZER_FILES = (
    "tokenizer.json", "vocab.txt", "vocab.json", "tokenizer.model", "spiece.model",
    "sentencepiece.bpe.model",
)  # fmt: skip


@dataclass(frozen=True)
class SentenceVectors:
    """A frozen encoder: nothing of it is fitted, and the vectors are computed once.

    A vector is the mean of the last states over a document's tokens, scaled to a mean square of
    1 over its entries (that of a document without a word is 0).

    Attributes:
        path: Folder, or name of the hub.
        max_tokens: Tokens that are read; what comes later is cut off, and counted.
        width: D, the model's hidden width.
    """

    path: str
    max_tokens: int
    width: int

    name = "pretrained"

    @property
    def vocabulary(self) -> Mapping[str, int]:
        """None: it has vectors only."""
        return {}

    @cached_property
    def _loaded(self) -> tuple[Any, Any]:
        return load_pretrained(self.path)

    def encode(self, texts: Sequence[str], progress: Progress | None = None) -> TextInputs:
        """Turns documents into vectors; equal documents are read once."""
        cleaned = [clean_text(text).strip() for text in texts]
        # The empty text comes behind the others, and its vector stays 0.
        place = {text: i for i, text in enumerate(t for t in dict.fromkeys(cleaned) if t)}
        vectors = np.zeros((len(place) + 1, self.width), dtype=np.float32)
        n_cut = 0
        readable = list(place)
        for low in range(0, len(readable), _LOOK_AHEAD):
            part = readable[low : low + _LOOK_AHEAD]
            vectors[low : low + len(part)], cut = self._read(part)
            n_cut += cut
            if progress is not None:
                done = min(low + _LOOK_AHEAD, len(readable))
                progress("Encoding, documents", done, len(readable))
        rows = np.array([place.get(text, len(place)) for text in cleaned], dtype=np.int64)
        notes: tuple[str, ...] = ()
        if n_cut:
            share = f"{n_cut:,} of {len(readable):,} different documents"
            notes = (
                f"{share} are longer than {self.max_tokens} tokens, and the pretrained encoder "
                "does not read the rest. `model.encoder.max_tokens` sets how far it reads.",
            )
        return TextInputs(vectors[rows], notes=notes)

    def _read(self, texts: Sequence[str]) -> tuple[NDArray[np.float32], int]:
        """Returns the (N, D) vectors of documents, and how many were cut."""
        tokenizer, _ = self._loaded
        most = self.max_tokens * _CHARACTERS
        found = tokenizer(
            [text[:most] for text in texts], truncation=True, max_length=self.max_tokens
        )
        cut = sum(
            bool(encoding.overflowing) or len(text) > most
            for encoding, text in zip(found.encodings, texts, strict=True)
        )
        lengths = np.array([len(ids) for ids in found["input_ids"]])
        vectors = np.empty((len(texts), self.width), dtype=np.float32)
        order = np.argsort(-lengths, kind="stable")
        low = 0
        while low < len(order):
            rows = order[low : low + max(1, _TOKENS // int(lengths[order[low]]))]
            vectors[rows] = self._pool({key: [value[i] for i in rows]
                                        for key, value in found.items()})  # fmt: skip
            low += len(rows)
        return vectors, cut

    def _pool(self, batch: Mapping[str, Any]) -> NDArray[np.float32]:
        import torch

        tokenizer, model = self._loaded
        padded = tokenizer.pad(dict(batch), return_tensors="pt")
        with torch.inference_mode():
            states = model(**padded).last_hidden_state  # (B, L, D)
            mask = padded["attention_mask"].unsqueeze(-1).to(states.dtype)
            mean = (states * mask).sum(1) / mask.sum(1)
            unit = torch.nn.functional.normalize(mean, dim=1)
        found: NDArray[np.float32] = (unit * self.width**0.5).numpy()
        return found

    def to_json(self) -> Mapping[str, Any]:
        """Returns where the model lies and how it is read."""
        return {"path": self.path, "max_tokens": self.max_tokens, "width": self.width}

    def arrays(self) -> Mapping[str, NDArray[Any]]:
        """Returns none: the weights stay in their own files."""
        return {}

    def save(self, folder: Path) -> None:
        """Writes model and tokenizer beside a served model."""
        tokenizer, model = self._loaded
        tokenizer.save_pretrained(folder / FOLDER)
        model.save_pretrained(folder / FOLDER)

    @classmethod
    def from_json(
        cls,
        values: Mapping[str, Any],
        arrays: Mapping[str, NDArray[Any]],
        folder: Path | None = None,
    ) -> SentenceVectors:
        """Rebuilds what `to_json` gave, from the files that `save` wrote where there are some."""
        if folder is None or not (folder / FOLDER).is_dir():
            return cls(**values)
        found = cls(**{**values, "path": str(folder / FOLDER)})
        _ = found._loaded  # the folder may be a copy that lasts while loading
        return found

    @classmethod
    def fit(
        cls, texts: Sequence[str], spec: EncoderSpec, progress: Progress | None = None
    ) -> SentenceVectors:
        """Loads the model, and fits nothing.

        Raises:
            DataError: It cannot be loaded, or reads fewer tokens than are asked for.
        """
        assert spec.path is not None  # a rule of the study file
        tokenizer, model = load_pretrained(spec.path)
        del tokenizer
        most = getattr(model.config, "max_position_embeddings", None) or spec.max_tokens
        if spec.max_tokens > most:
            raise DataError(
                f"`model.encoder.max_tokens` must be at most {most}, what {spec.path} reads. "
                f"Found {spec.max_tokens}."
            )
        return cls(spec.path, spec.max_tokens, int(model.config.hidden_size))


def load_pretrained(path: str) -> tuple[Any, Any]:
    """Loads a tokenizer and an encoder, ready to answer.

    Raises:
        DataError: transformers is not installed; there is no such folder, or it has no tokenizer
            or no model; or a name of the hub cannot be fetched.
    """
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # it warns when processes fork
    try:
        from transformers import AutoModel, AutoTokenizer
        from transformers.utils import logging
    except ImportError as error:
        raise DataError(
            "A pretrained encoder needs transformers. Install it by `pip install "
            "'mtl-pipeline[text]'`, or use `model.encoder.kind: tfidf`."
        ) from error
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    local = Path(path).is_dir()
    if local and not (Path(path) / "config.json").is_file():
        raise DataError(
            f"`model.encoder.path`: the folder {path} has no config.json, so it is no Hugging Face "
            "model. Name the folder that `save_pretrained` wrote."
        )
    try:
        tokenizer = AutoTokenizer.from_pretrained(path)
        if local and not any((Path(path) / name).is_file() for name in _TOKENIZER_FILES):
            # transformers would make one that knows no word.
            raise ValueError("it has no file of a tokenizer")
        probe = tokenizer(["a"])
        if not getattr(probe, "encodings", None):
            raise ValueError("its tokenizer is no fast one (tokenizer.json is missing)")
    except Exception as error:
        raise _unusable(path, "tokenizer", error, local) from error
    try:
        model = AutoModel.from_pretrained(path, use_safetensors=True)
    except Exception as error:
        raise _unusable(path, "model", error, local) from error
    encoder = model.get_encoder() if model.config.is_encoder_decoder else model
    return tokenizer, encoder.eval().requires_grad_(False)


def _unusable(path: str, what: str, error: Exception, local: bool) -> DataError:
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
    remedy = (
        "Save both into one folder: `tokenizer.save_pretrained(FOLDER)` and "
        "`model.save_pretrained(FOLDER)`."
        if local
        else "There is no such folder, and as a name of the Hugging Face hub it could not be "
        "fetched. Give the path of a downloaded model, or check the name and the network."
    )
    where = f"`model.encoder.path`: no {what} can be loaded from {path}"
    return DataError(f"{where}: {reason.rstrip('.')}. {remedy}")
