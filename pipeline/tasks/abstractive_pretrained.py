"""A text that the decoder of a pretrained model writes, in the tokens of its own tokenizer.

A row is a document. Its target holds the number of the document and the tokens of its first
reference, each plus 1; what the decoder reads are the states of the encoder, which come with the
row's texts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.errors import DataError
from pipeline.tasks.abstractive import DEFAULTS, Abstractive
from pipeline.tasks.base import TaskInfo
from pipeline.tasks.labels import no_labels, target_columns
from pipeline.text.pretrained import Loaded, load_once

if TYPE_CHECKING:
    from pipeline.study.task_spec import TaskSpec

WRITE = 32
"""Most tokens that are written by default: about 24 words."""


class PretrainedAbstractive(Abstractive):
    """A text written by a pretrained decoder; see `models.pretrained_decoder`."""

    name: ClassVar[str] = "abstractive_pretrained"

    @classmethod
    def fit(cls, name: str, declared: str, spec: TaskSpec, train: pd.DataFrame) -> TaskInfo:
        """Fits nothing but the constant; see `Abstractive.fit`.

        Raises:
            DataError: No labelled row; or the model has no decoder, or one that writes less.
        """
        columns = target_columns(spec)
        rows = train[~train[columns[0]].isna()]
        if rows.empty:
            raise no_labels(name, columns[1:2], len(train))
        assert spec.path is not None  # filled in with the rows
        loaded = load_once(spec.path)
        check_writes(loaded, spec.path)
        encoder, whole = loaded.encoder, loaded.whole
        write = spec.write or WRITE
        most = getattr(whole.config, "max_position_embeddings", None) or write
        if write > most:
            raise DataError(
                f"`tasks.{declared}.write` must be at most {most}, what the decoder of {spec.path} "
                f"writes. Found {write}."
            )
        options = {
            "vocabulary": int(whole.get_output_embeddings().weight.shape[0]), "read": 0,
            "write": write, "width": int(encoder.config.hidden_size),
            "beam": spec.beam or DEFAULTS["beam"], "path": spec.path, "text": spec.text,
            "words": [],
        }  # fmt: skip
        made = cls.describe(name, declared, spec, columns=columns, classes=[], constant=[],
                            options=options)  # fmt: skip
        texts = cls(made).references([str(text) for text in rows[columns[1]]])
        common = Counter(map(tuple, texts.tolist())).most_common(1)[0][0]
        return cls.describe(name, declared, spec, columns=columns, classes=[], constant=common,
                            options=options)  # fmt: skip

    @cached_property
    def _tokenizer(self) -> Any:
        return load_once(self.info.options["path"]).tokenizer

    def ready(self) -> None:
        """Loads the tokenizer, from a folder that may last no longer than loading."""
        _ = self._tokenizer

    def references(self, texts: Sequence[str]) -> NDArray[np.int64]:
        """Returns the (N, T) tokens of references plus 1, 0 behind the end, never cut off."""
        found = np.zeros((len(texts), self.write_most), np.int64)
        if len(texts):
            given = self._tokenizer(
                text_target=list(texts), truncation=True, max_length=self.write_most
            )
            for row, tokens in enumerate(given["input_ids"]):
                found[row, : len(tokens)] = np.array(tokens) + 1
        return found

    def sources(self, texts: Sequence[str]) -> NDArray[np.int64]:
        """Returns (N, 0): no words are read but through the encoder."""
        return np.zeros((len(texts), 0), np.int64)

    def generator(self) -> Mapping[str, Any] | None:
        """Returns the shape of the decoder, and where the model lies."""
        return {key: self.info.options[key] for key in (*DEFAULTS, "path")}

    def spelled(self, numbers: Sequence[int], source: str) -> str:
        """Returns the text of written tokens."""
        tokens = [number - 1 for number in numbers if number > 0]
        return str(self._tokenizer.decode(tokens, skip_special_tokens=True)).strip()


def check_writes(loaded: Loaded, path: str) -> None:
    """Raises a `DataError` where a model has no decoder that writes, or not all of its weights."""
    model, missing = loaded.whole, loaded.missing
    if not (model.config.is_encoder_decoder and model.can_generate()):
        raise DataError(
            f"`decoder: pretrained` needs an encoder-decoder, such as T5, BART, mBART or Pegasus. "
            f"Found {type(model).__name__} in {path}, which writes nothing. Name another model "
            "under `model.encoder.path`, or leave `decoder` out: a small decoder is learned then."
        )
    if missing:
        raise DataError(
            f"`model.encoder.path`: the files in {path} must hold all weights of the decoder. They "
            f"lack {len(missing)}, such as {missing[0]}. Save the whole model that writes, such as "
            f"{type(model).__name__}."
        )
