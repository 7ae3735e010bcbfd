"""Tiny encoder-decoders with random weights and tokenizers of their own, written to folders."""

import atexit
from functools import cache
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from typing import Any

from text_cases import FILLER, WORDS

SPECIALS = ["<pad>", "</s>", "<unk>", "<s>"]


def _tokenizer(begins: bool) -> Any:
    from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    words = [*FILLER, *(word for words in WORDS.values() for word in words)]
    raw = Tokenizer(models.WordLevel(unk_token="<unk>"))
    raw.pre_tokenizer = pre_tokenizers.Whitespace()
    raw.train_from_iterator(
        [" ".join(words)], trainers.WordLevelTrainer(special_tokens=SPECIALS, show_progress=False)
    )
    raw.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>" if begins else "$A </s>", special_tokens=[("<s>", 3), ("</s>", 1)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=raw, pad_token="<pad>", eos_token="</s>", unk_token="<unk>",
        bos_token="<s>" if begins else None,
    )  # fmt: skip


def _model(kind: str, n_words: int) -> Any:
    from transformers import (
        BartConfig,
        BartForConditionalGeneration,
        T5Config,
        T5ForConditionalGeneration,
    )

    if kind == "t5":
        return T5ForConditionalGeneration(
            T5Config(
                vocab_size=n_words, d_model=16, d_kv=8, d_ff=32, num_layers=2, num_heads=2,
                pad_token_id=0, eos_token_id=1, decoder_start_token_id=0,
            )  # fmt: skip
        )
    return BartForConditionalGeneration(
        BartConfig(
            vocab_size=n_words, d_model=16, encoder_layers=2, decoder_layers=2,
            encoder_attention_heads=2, decoder_attention_heads=2, encoder_ffn_dim=32,
            decoder_ffn_dim=32, max_position_embeddings=64, pad_token_id=0, bos_token_id=3,
            eos_token_id=1, decoder_start_token_id=1, forced_eos_token_id=1,
        )  # fmt: skip
    )


@cache
def seq_folder(kind: str) -> Path:
    """Writes a tiny `t5` or `bart` with random weights; it lasts as the process."""
    import torch
    from transformers.utils.logging import disable_progress_bar

    tokenizer = _tokenizer(begins=kind == "bart")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = _model(kind, len(tokenizer))
        with torch.no_grad():  # of a size at which layers do something, and words differ
            for parameter in model.parameters():
                parameter.add_(torch.randn(parameter.shape) / 10)
    folder = Path(mkdtemp(prefix=f"tiny-{kind}-"))
    atexit.register(rmtree, folder, ignore_errors=True)
    disable_progress_bar()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
