"""A pretrained Hugging Face model: loaded, with every failure named."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence, Sized
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import DataError

_TOKENS = 4096
"""Tokens of a batch, padding among them: 16 documents of 256."""
_CHARACTERS = 32
"""Characters of a token at most, in the mean of a text: what is surely cut is not tokenized."""

_HUB_SECONDS = 10.0

_TOKENIZER_FILES = (
    "tokenizer.json", "vocab.txt", "vocab.json", "tokenizer.model", "spiece.model",
    "sentencepiece.bpe.model",
)  # fmt: skip

SAVE = (
    "Save both into one folder: `tokenizer.save_pretrained(FOLDER)` and "
    "`model.save_pretrained(FOLDER)`."
)
"""What to do where a folder is no whole model."""


class Loaded(NamedTuple):
    """A pretrained model.

    Attributes:
        tokenizer: A fast one.
        encoder: What reads.
        whole: What the encoder is a part of; itself, where nothing writes.
        missing: Parameters that the files lack: they were drawn at random. Places given by a
            formula, as Pegasus has them, need no file.
    """

    tokenizer: Any
    encoder: Any
    whole: Any
    missing: tuple[str, ...]

    def save(self, folder: Path) -> None:
        """Writes it into a folder, from which it can be loaded again."""
        self.tokenizer.save_pretrained(folder)
        self.whole.save_pretrained(folder)


def load_pretrained(path: str) -> Loaded:
    """Loads a tokenizer, an encoder, and the whole model that it is a part of, ready to answer.

    An encoder-decoder is loaded with its decoder and what writes words. It is what is to be saved:
    transformers saves an encoder taken out of it so that it is loaded without its weights.

    Raises:
        DataError: transformers is not installed; there is no such folder, or it has no tokenizer
            or no model; or a name of the hub cannot be fetched.
    """
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # it warns when processes fork
    try:
        from transformers import AutoConfig, AutoModel, AutoModelForSeq2SeqLM, AutoTokenizer
        from transformers.utils import logging
    except ImportError as error:
        raise DataError(
            "A pretrained encoder needs transformers. Install it by `pip install "
            "'mtl-pipeline[text]'`, or use `model.encoder.kind: tfidf`."
        ) from error
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    local = Path(path).is_dir()
    if local and (problem := folder_problem(Path(path))):
        raise DataError(f"`model.encoder.path`: {path} {problem}. {SAVE}")
    # Without a network transformers asks a dozen times in a minute, with a line each.
    kept = {} if local or _hub_answers(path) else {"local_files_only": True}
    try:
        tokenizer = AutoTokenizer.from_pretrained(path, **kept)
        probe = tokenizer(["a"])
        if not getattr(probe, "encodings", None):
            raise ValueError("its tokenizer is no fast one (tokenizer.json is missing)")
    except Exception as error:
        raise _unusable(path, "tokenizer", error, local) from error
    try:
        config = AutoConfig.from_pretrained(path, **kept)
        writes = type(config) in AutoModelForSeq2SeqLM._model_mapping
        kind = AutoModelForSeq2SeqLM if writes else AutoModel
        model, found = kind.from_pretrained(
            path, use_safetensors=True, output_loading_info=True, **kept
        )
    except Exception as error:
        raise _unusable(path, "model", error, local) from error
    model.eval().requires_grad_(False)
    encoder = model.get_encoder() if model.config.is_encoder_decoder else model
    named = {name for name, _ in model.named_parameters() if "embed_positions" not in name}
    return Loaded(tokenizer, encoder, model, tuple(sorted(named & set(found["missing_keys"]))))


def folder_problem(folder: Path) -> str:
    """Returns what a folder lacks to be a model, seen from the names of its files, as a clause."""
    if not (folder / "config.json").is_file():
        return "must hold a Hugging Face model: it has no config.json"
    if not any((folder / name).is_file() for name in _TOKENIZER_FILES):
        # transformers would make one that knows no word.
        return "must hold a tokenizer: it has none of its files"
    if not any(folder.glob("*.safetensors")):
        return "must hold weights: it has no file that ends in .safetensors"
    return ""


def _hub_answers(name: str) -> bool:
    """Tells, by asking once, whether the hub can be reached; what it says of a name comes later."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    try:
        HfApi().model_info(name, timeout=_HUB_SECONDS)
    except (HfHubHTTPError, HFValidationError):
        return True
    except Exception:  # of whatever library speaks HTTP, or told to stay offline
        return False
    return True


def _unusable(path: str, what: str, error: Exception, local: bool) -> DataError:
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
    remedy = (
        SAVE
        if local
        else "There is no such folder, and as a name of the Hugging Face hub it could not be "
        "fetched. Give the path of a downloaded model, or check the name and the network."
    )
    where = f"`model.encoder.path`: no {what} can be loaded from {path}"
    return DataError(f"{where}: {reason.rstrip('.')}. {remedy}")


def load_once(path: str) -> Loaded:
    """Loads as `load_pretrained` does; later calls of this process get the same.

    A folder whose files changed since is loaded anew.
    """
    folder = Path(path)
    files = sorted(folder.iterdir()) if folder.is_dir() else []
    return _once(path, tuple((file.name, file.stat().st_mtime_ns) for file in files))


@lru_cache(maxsize=2)
def _once(path: str, stamps: tuple[tuple[str, int], ...]) -> Loaded:
    return load_pretrained(path)


def check_length(model: Any, path: str, max_tokens: int) -> None:
    """Raises a `DataError` where a model reads fewer tokens than are asked for."""
    most = getattr(model.config, "max_position_embeddings", None) or max_tokens
    if max_tokens > most:
        raise DataError(
            f"`model.encoder.max_tokens` must be at most {most}, what {path} reads. "
            f"Found {max_tokens}."
        )


def tokenize(tokenizer: Any, texts: Sequence[str], most: int) -> tuple[Any, NDArray[np.bool_]]:
    """Returns what a tokenizer gives for N texts, and (N,) whether one was cut.

    Args:
        tokenizer: A fast one.
        texts: Cleaned.
        most: Tokens that are read.
    """
    longest = most * _CHARACTERS
    found = tokenizer([text[:longest] for text in texts], truncation=True, max_length=most)
    cut = [
        bool(encoding.overflowing) or len(text) > longest
        for encoding, text in zip(found.encodings, texts, strict=True)
    ]
    return found, np.array(cut, np.bool_)


def by_length(rows: Sequence[Sized]) -> Iterator[NDArray[np.int64]]:
    """Yields batches of rows of similar lengths, which together have a bounded number of tokens."""
    lengths = np.array([len(row) for row in rows])
    order = np.argsort(-lengths, kind="stable")
    low = 0
    while low < len(order):
        batch = order[low : low + max(1, _TOKENS // max(1, int(lengths[order[low]])))]
        yield batch
        low += len(batch)
