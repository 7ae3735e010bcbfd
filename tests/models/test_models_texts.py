"""Texts of a batch: what is taken from ragged rows, and the product of sparse rows."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from pipeline.models.sparse import sparse_product
from pipeline.models.texts import LENGTH_STEP, NO_TEXTS, TextRows
from pipeline.text.ragged import Ragged, from_lengths


def ragged(lengths: list[int]) -> Ragged:
    return Ragged(from_lengths(lengths), np.arange(2, sum(lengths) + 2, dtype=np.int32))


@given(
    lengths=st.lists(st.integers(0, 40), min_size=1, max_size=8),
    order=st.lists(st.integers(0, 7), max_size=12),
)
def test_a_batch_has_the_tokens_of_its_rows(lengths: list[int], order: list[int]) -> None:
    rows = [row % len(lengths) for row in order]
    found = TextRows({"bag": ragged(lengths)}, ["bag"]).take(torch.tensor(rows, dtype=torch.int64))
    tokens = found.tokens["bag"]
    assert tokens.shape[0] == len(rows)
    assert tokens.shape[1] % LENGTH_STEP == 0
    assert tokens.shape[1] >= max([lengths[row] for row in rows], default=1)
    starts = np.cumsum([0, *lengths])
    for row, read in zip(rows, tokens.tolist(), strict=True):
        expected = list(range(starts[row] + 2, starts[row + 1] + 2))
        assert read == expected + [0] * (len(read) - len(expected))


def test_states_keep_their_values() -> None:
    plain = ragged([2, 0, 3])
    values = np.arange(10, dtype=np.float16).reshape(5, 2)
    texts = {"pretrained": Ragged(plain.starts, plain.items, values), "bag": ragged([1, 1, 1])}
    found = TextRows(texts, ["pretrained"], torch.float64).take(torch.tensor([2, 1, 0]))
    assert set(found.tokens) == set(found.states) == {"pretrained"}
    states = found.states["pretrained"]
    assert states.dtype == torch.float64
    assert states.shape == (3, LENGTH_STEP, 2)
    assert states[0, :3].tolist() == [[4, 5], [6, 7], [8, 9]]
    assert states[2, :2].tolist() == [[0, 1], [2, 3]]
    assert not states[0, 3:].any()
    assert not states[1].any()


def test_what_is_not_read_is_not_taken() -> None:
    assert TextRows({"bag": ragged([1, 2])}, []).take(torch.tensor([0, 1])) is NO_TEXTS


def test_the_sparse_product_is_that_of_dense_matrices() -> None:
    generator = torch.Generator().manual_seed(0)
    starts = torch.tensor([0, 3, 3, 7])
    items = torch.tensor([4, 0, 4, 1, 2, 3, 1])
    row = torch.tensor([0, 0, 0, 2, 2, 2, 2])
    for lead in ((), (2,)):
        values = torch.rand(*lead, 7, generator=generator, dtype=torch.float64).requires_grad_()
        table = torch.randn(2, 5, 3, generator=generator, dtype=torch.float64).requires_grad_()
        dense = torch.zeros(2, 3, 5, dtype=torch.float64)
        dense = dense.index_put(
            (torch.arange(2)[:, None], row, items), values.expand(2, 7), accumulate=True
        )
        outputs = (sparse_product(starts, items, values, table), dense @ table)
        weight = torch.randn(2, 3, 3, generator=generator, dtype=torch.float64)
        gradients = [torch.autograd.grad((o * weight).sum(), (values, table)) for o in outputs]
        torch.testing.assert_close(*outputs, rtol=0, atol=1e-12)
        for ours, theirs in zip(*gradients, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)
