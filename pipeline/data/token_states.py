"""The encoder `pretrained` where it is trained or a decoder reads it: states computed once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from itertools import chain, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipeline.data.text_encoding import FOLDER, Cut, Progress, TextInputs, named_progress
from pipeline.errors import DataError
from pipeline.text.batching import batches_of
from pipeline.text.cleaning import clean_text
from pipeline.text.numbering import FIRST_TOKEN
from pipeline.text.pretrained import Loaded, by_length, load_once, tokenize
from pipeline.text.ragged import Ragged, from_lengths, room

if TYPE_CHECKING:
    from pipeline.study.encoder_spec import EncoderSpec

_LOOK_AHEAD = 256  # documents at once
_LARGEST = 65504  # of float16


@dataclass(frozen=True)
class TokenStates:
    """Tokens of documents, and where lower layers stay as they are, the states that these give.

    A token has the number of the pretrained tokenizer plus `FIRST_TOKEN`. States are float16:
    half the disk and half of what a batch reads, for a document's vector, of mean square 1, that
    is wrong by less than 0.01 in any entry (tested). A model that answers rounds alike.

    Attributes:
        path: Folder, or name of the hub.
        max_tokens: Tokens that are read; what comes later is cut off, and counted.
        states: D, the model's hidden width.
        below: Layers whose states are computed once; 0 where tokens alone are read.
        n_tokens: Tokens that the model knows.
        pad: Number of the model's own padding.
        unknown: Number of what stands for an unknown word.
    """

    path: str
    max_tokens: int
    states: int
    below: int
    n_tokens: int
    pad: int
    unknown: int

    name = "pretrained"
    width = 0

    @property
    def vocabulary(self) -> Mapping[str, int]:
        """Numbers that may occur."""
        return {self.name: self.n_tokens + FIRST_TOKEN}

    @property
    def shape(self) -> Mapping[str, Any]:
        """Where the model lies, where it is cut, and how its tokens are numbered."""
        return {
            "path": self.path, "width": self.states, "below": self.below,
            "places": self.max_tokens, "pad": self.pad, "unknown": self.unknown,
        }  # fmt: skip

    @cached_property
    def _loaded(self) -> Loaded:
        return load_once(self.path)

    def encode(self, texts: Sequence[str], progress: Progress | None = None) -> TextInputs:
        """Turns documents into rows of tokens, with their states; one without a word has none."""
        parts, cut = [], np.zeros(len(texts), np.bool_)
        told = named_progress(progress, "Tokenizing, documents")
        for part in batches_of(_LOOK_AHEAD, len(texts), told):
            found, cut[part] = self._tokens(texts[part])
            parts.append(found)
        tokens = Ragged.joined(parts)
        if self.below:
            tokens = replace(tokens, values=self._states(tokens, progress))
        none = np.zeros((len(texts), 0), np.float32)
        ends = Cut(cut, self.max_tokens, "tokens", self.name, "model.encoder.max_tokens")
        return TextInputs(none, {self.name: tokens}, ends)

    def _tokens(self, texts: Sequence[str]) -> tuple[Ragged, NDArray[np.bool_]]:
        """Returns the tokens of a batch of N documents, and (N,) whether one was cut."""
        cleaned = [clean_text(text).strip() for text in texts]
        readable = [text for text in cleaned if text]
        cut = np.zeros(len(texts), np.bool_)
        ids: Iterator[list[int]] = iter(())
        if readable:
            has_word = np.array([bool(text) for text in cleaned])
            found, cut[has_word] = tokenize(self._loaded.tokenizer, readable, self.max_tokens)
            ids = iter(found["input_ids"])
        rows = [next(ids) if text else [] for text in cleaned]
        starts = from_lengths([len(row) for row in rows])
        items = np.fromiter(chain.from_iterable(rows), np.int32, int(starts[-1]))
        return Ragged(starts, items + np.int32(FIRST_TOKEN)), cut

    def _states(self, tokens: Ragged, progress: Progress | None) -> NDArray[np.float16]:
        """Returns the (n, D) states of all tokens at the cut."""
        values = room((len(tokens.items), self.states), np.float16)
        told = named_progress(progress, "Encoding, documents")
        for part in batches_of(_LOOK_AHEAD, len(tokens), told):
            starts = tokens.starts[part.start : part.stop + 1]
            rows = [tokens.items[a:b] - FIRST_TOKEN for a, b in pairwise(starts)]
            for batch in by_length(rows):
                self._fill(values, starts, batch, [rows[row] for row in batch])
        return values

    def _fill(
        self,
        values: NDArray[np.float16],
        starts: NDArray[np.int64],
        batch: NDArray[np.int64],
        rows: Sequence[NDArray[np.int32]],
    ) -> None:
        """Computes the states of a batch of rows, which begin at `starts[batch]`."""
        import torch

        from pipeline.text.cutting import states_at

        longest = max(map(len, rows))
        if not longest:
            return
        tokens = np.full((len(rows), longest), self.pad, np.int64)
        shown = np.zeros((len(rows), longest), np.int64)
        for row, (ids, own) in enumerate(zip(tokens, rows, strict=True)):
            ids[: len(own)] = own
            shown[row, : len(own)] = 1
        shown[:, 0] = 1  # attention among nothing is not a number
        with torch.inference_mode():
            found = states_at(
                self._loaded.encoder, self.below, torch.from_numpy(tokens), torch.from_numpy(shown)
            )
        states = found.clamp(-_LARGEST, _LARGEST).to(torch.float16).numpy()
        for row, (position, own) in enumerate(zip(batch, rows, strict=True)):
            values[starts[position] : starts[position] + len(own)] = states[row, : len(own)]

    def to_json(self) -> Mapping[str, Any]:
        """Returns where the model lies and how it is read."""
        return asdict(self)

    def arrays(self) -> Mapping[str, NDArray[Any]]:
        """Returns none: the weights stay in their own files."""
        return {}

    def save(self, folder: Path) -> None:
        """Writes model and tokenizer beside a served model."""
        self._loaded.save(folder / FOLDER)

    @classmethod
    def from_json(cls, values: Mapping[str, Any], folder: Path | None = None) -> TokenStates:
        """Rebuilds what `to_json` gave, from the files that `save` wrote where there are some."""
        found = cls(**values)
        if folder is not None and (folder / FOLDER).is_dir():
            found = replace(found, path=str(folder / FOLDER))
            _ = found._loaded  # the folder may be a copy that lasts while loading
        return found

    @classmethod
    def fit(cls, spec: EncoderSpec) -> TokenStates:
        """Finds the cut, and fits nothing.

        Raises:
            DataError: The model cannot be cut, or has fewer layers than are to be trained.
        """
        from pipeline.text.cutting import layers_of, upper_of

        assert spec.path is not None  # a rule of the study file
        loaded = load_once(spec.path)
        tokenizer, model = loaded.tokenizer, loaded.encoder
        below = 0
        n_layers = 0 if spec.finetune == "full" else len(layers_of(model))
        if spec.finetune == "none":  # the last states, for a decoder
            below = n_layers
        if spec.most_layers is not None:
            if spec.most_layers > n_layers:
                raise DataError(
                    f"`model.encoder.layers` must be at most {n_layers}, the layers of "
                    f"{spec.path}. Found {spec.most_layers}."
                )
            below = n_layers - spec.most_layers
            if below:
                upper_of(model, below)  # tried before long work
        pad, unknown = tokenizer.pad_token_id, tokenizer.unk_token_id
        return cls(
            path=spec.path,
            max_tokens=spec.max_tokens,
            states=int(model.config.hidden_size),
            below=below,
            n_tokens=int(model.get_input_embeddings().num_embeddings),
            pad=0 if pad is None else int(pad),
            unknown=0 if unknown is None else int(unknown),
        )
