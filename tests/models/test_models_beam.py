"""Beam search over a table that says how likely each word follows another."""

import torch
from torch import Tensor

from pipeline.models.beam import search
from pipeline.models.decoder import END, PAD

# From the word before (PAD begins) to the chances of END, 3 and 4.
WORDS = torch.tensor([END, 3, 4])
FOLLOWS = {
    PAD: [0.1, 0.5, 0.4],
    3: [0.1, 0.5, 0.4],  # nothing is sure after the likelier beginning
    4: [0.98, 0.01, 0.01],
    END: [1.0, 0.0, 0.0],
}


def advance(state: Tensor, word: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Says the same of every row; the state counts the words."""
    chances = torch.tensor([[FOLLOWS[w] for w in row] for row in word.tolist()])
    return state + 1, chances.clamp_min(1e-9).log(), WORDS.expand_as(chances)


def found(beam: int, n_words: int) -> list[list[list[int]]]:
    texts: list[list[list[int]]] = search(advance, torch.zeros(2, 3, 1), beam, n_words).tolist()
    return texts


def test_one_text_takes_the_likeliest_word_each_time() -> None:
    assert found(1, 3) == [[[3, 3, 3]] * 3] * 2


def test_several_find_the_text_that_begins_less_likely() -> None:
    assert found(3, 3) == [[[4, PAD, PAD]] * 3] * 2


def test_more_texts_are_kept_than_there_are_words() -> None:
    assert found(20, 3) == found(3, 3)


def test_no_text_is_longer_than_asked_for() -> None:
    assert found(1, 1) == [[[3]] * 3] * 2
