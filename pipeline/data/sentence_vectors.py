"""The encoder `pretrained`: mean-pooled states of a frozen Hugging Face encoder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipeline.data.text_encoding import FOLDER, Cut, Progress, TextInputs, named_progress
from pipeline.data.token_states import TokenStates
from pipeline.text.batching import batches_of
from pipeline.text.cleaning import clean_text
from pipeline.text.pretrained import Loaded, by_length, check_length, load_once, tokenize

if TYPE_CHECKING:
    from pipeline.study.encoder_spec import EncoderSpec

_LOOK_AHEAD = 256  # documents tokenized at once, then batched by length


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

    @property
    def shape(self) -> Mapping[str, Any]:
        """Nothing: no network reads what is computed."""
        return {}

    @cached_property
    def _loaded(self) -> Loaded:
        return load_once(self.path)

    def encode(self, texts: Sequence[str], progress: Progress | None = None) -> TextInputs:
        """Turns documents into vectors; equal documents are read once."""
        cleaned = [clean_text(text).strip() for text in texts]
        # The empty text comes behind the others, and its vector stays 0.
        place = {text: i for i, text in enumerate(t for t in dict.fromkeys(cleaned) if t)}
        vectors = np.zeros((len(place) + 1, self.width), dtype=np.float32)
        cut = np.zeros(len(vectors), np.bool_)
        readable = list(place)
        told = named_progress(progress, "Encoding, documents")
        for part in batches_of(_LOOK_AHEAD, len(readable), told):
            vectors[part], cut[part] = self._read(readable[part])
        rows = np.array([place.get(text, len(place)) for text in cleaned], dtype=np.int64)
        ends = Cut(cut[rows], self.max_tokens, "tokens", self.name, "model.encoder.max_tokens")
        return TextInputs(vectors[rows], cut=ends)

    def _read(self, texts: Sequence[str]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Returns the (N, D) vectors of documents, and (N,) whether one was cut."""
        tokenizer = self._loaded.tokenizer
        found, cut = tokenize(tokenizer, texts, self.max_tokens)
        vectors = np.empty((len(texts), self.width), dtype=np.float32)
        for rows in by_length(found["input_ids"]):
            vectors[rows] = self._pool({key: [value[i] for i in rows]
                                        for key, value in found.items()})  # fmt: skip
        return vectors, cut

    def _pool(self, batch: Mapping[str, Any]) -> NDArray[np.float32]:
        import torch

        tokenizer, model = self._loaded.tokenizer, self._loaded.encoder
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
        self._loaded.save(folder / FOLDER)

    @classmethod
    def from_json(
        cls,
        values: Mapping[str, Any],
        arrays: Mapping[str, NDArray[Any]],
        folder: Path | None = None,
    ) -> SentenceVectors | TokenStates:
        """Rebuilds what `to_json` gave, from the files that `save` wrote where there are some."""
        if "below" in values:
            return TokenStates.from_json(values, folder)
        if folder is None or not (folder / FOLDER).is_dir():
            return cls(**values)
        found = cls(**{**values, "path": str(folder / FOLDER)})
        _ = found._loaded  # the folder may be a copy that lasts while loading
        return found

    @classmethod
    def fit(
        cls, texts: Sequence[str], spec: EncoderSpec, progress: Progress | None = None
    ) -> SentenceVectors | TokenStates:
        """Loads the model, and fits nothing.

        Returns:
            What gives vectors; where the model is trained, what gives the inputs of that.

        Raises:
            DataError: It cannot be loaded, or cut, or reads fewer tokens than are asked for.
        """
        assert spec.path is not None  # a rule of the study file
        model = load_once(spec.path).encoder
        check_length(model, spec.path, spec.max_tokens)
        if spec.finetune != "none" or spec.for_decoder:
            return TokenStates.fit(spec)
        return cls(spec.path, spec.max_tokens, int(model.config.hidden_size))
