"""What every learned encoder of texts promises, and each against a second source."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
import torch
from encoder_cases import tiny_folder
from torch import Tensor

from pipeline.data.token_states import TokenStates
from pipeline.models.layers import MemberLayer
from pipeline.models.reader import Reader
from pipeline.models.trunk import Rates
from pipeline.study.catalogue import CATALOGUE, load_network
from pipeline.study.encoder_spec import EncoderSpec
from pipeline.training.streams import Streams

N_TOKENS = 30
SETTINGS: dict[str, list[dict[str, Any]]] = {
    "bag": [{}, {"pool": "attention"}, {"buckets": 0}],
    "transformer": [{}, {"pool": "attention", "depth": 1, "heads": 3}],
    "pretrained": [
        {"finetune": "full"},
        {"finetune": "lora", "rank": 2},
        {"finetune": "last_n", "layers": 3},
    ],
}
"""Settings under which each network is tried: a new one needs a line."""


def cases() -> Iterator[Any]:
    for name, entry in CATALOGUE["encoder"].items():
        if entry.network:
            for settings in SETTINGS[name]:
                shown = "-".join(f"{key}={value}" for key, value in settings.items())
                yield pytest.param(name, settings, id=f"{name}-{shown}")


each_reader = pytest.mark.parametrize(("name", "settings"), list(cases()))


def make(name: str, settings: dict[str, Any], seeds: list[int]) -> Reader:
    spec = EncoderSpec(
        kind=name, **{"embed": 8, "buckets": 16, "max_tokens": 24, "heads": 2, **settings}
    )
    reader: Reader = load_network(name)(len(seeds), shape_of(name, spec), torch.float64)
    with torch.no_grad():
        for parameter in reader.parameters():
            parameter.fill_(float("nan"))
    for member, seed in enumerate(seeds):
        generator = torch.Generator().manual_seed(seed)
        for module in reader.modules():
            if isinstance(module, MemberLayer):
                module.initialise(member, generator)
    with torch.no_grad():  # so that nothing stays at a start where it says nothing
        for parameter in reader.parameters():
            assert torch.isfinite(parameter).all()
            for member, seed in enumerate(seeds):
                generator = torch.Generator().manual_seed(seed)
                noise = torch.randn(parameter[0].shape, generator=generator, dtype=torch.float64)
                parameter[member] += noise / 4
    return reader


def shape_of(name: str, spec: EncoderSpec) -> dict[str, Any]:
    shape: dict[str, Any] = load_network(name).shape_of(spec, N_TOKENS)
    if name == "pretrained":  # which brings a shape of its own, as when it is prepared
        own = replace(spec, path=str(tiny_folder()), max_tokens=24)
        shape |= TokenStates.fit(own).shape
    return shape


def documents(lengths: list[int], width: int = 16, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(1, N_TOKENS, (len(lengths), width), generator=generator)
    return tokens * (torch.arange(width) < torch.tensor(lengths)[:, None])


def rates(chances: list[float]) -> Rates:
    streams = Streams(3, torch.float64)
    streams.start(1)
    chance = torch.tensor(chances, dtype=torch.float64).reshape(-1, 1, 1)
    return Rates(streams, inputs=chance, trunk=chance, head=chance, text=chance)


@each_reader
def test_documents_become_vectors(name: str, settings: dict[str, Any]) -> None:
    reader = make(name, settings, [1, 2])
    found = reader(documents([5, 0, 16, 1]), None, "a")
    assert found.shape == (2, 4, reader.width)
    assert reader.width == 8
    assert torch.isfinite(found).all()
    assert not found[:, 1].any()
    assert found[:, [0, 2, 3]].abs().sum(2).min() > 0.1
    assert reader(documents([]), None, "a").shape == (2, 0, 8)


@each_reader
def test_the_length_of_others_does_not_matter(name: str, settings: dict[str, Any]) -> None:
    reader = make(name, settings, [1])
    tokens = documents([3, 9, 16, 1])
    longer = torch.cat([tokens, torch.zeros(4, 16, dtype=torch.int64)], dim=1)
    together = reader(tokens, None, "a")
    torch.testing.assert_close(together, reader(longer, None, "a"), rtol=0, atol=1e-12)
    for row in range(4):
        alone = reader(tokens[row : row + 1], None, "a")
        torch.testing.assert_close(together[:, row], alone[:, 0], rtol=0, atol=1e-12)


@each_reader
def test_a_member_reads_as_it_does_alone(name: str, settings: dict[str, Any]) -> None:
    """With dropout, where members see the same tokens and where they differ; gradients too."""
    seeds, chances = [1, 2, 3], [0.0, 0.3, 0.6]
    same = documents([5, 0, 16, 7])
    for tokens in (same, torch.stack([same, documents([4, 3, 2, 9], seed=1), same.flip(0)])):
        together = make(name, settings, seeds)
        found = together(tokens, rates(chances), "a")
        weight = torch.linspace(-1, 1, found[0].numel(), dtype=torch.float64).reshape(
            found[0].shape
        )
        (found * weight).sum().backward()
        for k, seed in enumerate(seeds):
            alone = make(name, settings, [seed])
            own = tokens if tokens.dim() == 2 else tokens[k : k + 1]
            read = alone(own, rates(chances[k : k + 1]), "a")
            torch.testing.assert_close(found[k], read[0], rtol=0, atol=1e-12)
            (read * weight).sum().backward()
            for ours, theirs in zip(together.parameters(), alone.parameters(), strict=True):
                assert ours.grad is not None
                assert theirs.grad is not None
                torch.testing.assert_close(ours.grad[k], theirs.grad[0], rtol=0, atol=1e-10)


@each_reader
def test_a_shape_is_plain_json(name: str, settings: dict[str, Any]) -> None:
    shape = shape_of(name, EncoderSpec(kind=name, **settings))
    assert shape["width"] == (8 if name == "pretrained" else 64)
    assert {type(value) for value in shape.values()} <= {int, float, str, bool, type(None)}


def test_a_bag_is_the_normalised_mean_of_stock_embeddings() -> None:
    """Against torch.nn.EmbeddingBag over words and pairs, the pairs found one by one."""
    bag = make("bag", {}, [1])
    tokens = documents([5, 1, 16, 2])
    vectors = bag.table.vectors[0].detach()  # type: ignore[union-attr, index]
    stock = torch.nn.EmbeddingBag.from_pretrained(vectors, mode="mean")
    norm = torch.nn.LayerNorm(8, dtype=torch.float64)
    norm.weight.data, norm.bias.data = (
        parameter.detach()[0, 0]
        for parameter in (bag.norm.scale, bag.norm.shift)  # type: ignore
    )
    found = bag(tokens, None, "a")
    for row, read in enumerate(tokens.tolist()):
        words = [token - 1 for token in read if token]
        pairs = [
            29 + ((a * 0x9E3779B1 + b * 0x85EBCA6B >> 16) % 2**31) % 16 for a, b in pairwise(words)
        ]
        expected = norm(stock(torch.tensor([words + pairs])))
        torch.testing.assert_close(found[:, row], expected, rtol=0, atol=1e-12)


def test_attention_weighs_words_by_a_softmax() -> None:
    bag = make("bag", {"pool": "attention", "buckets": 0}, [1])
    tokens = documents([6])
    vectors, query = bag.table.vectors[0], bag.table.query[0]  # type: ignore
    own = vectors[tokens[0, :6] - 1]  # (6, D)
    mean = (own @ query).softmax(0).T @ own
    expected = torch.nn.functional.layer_norm(mean, (8,))
    expected = expected * bag.norm.scale[0] + bag.norm.shift[0]  # type: ignore
    torch.testing.assert_close(bag(tokens, None, "a")[:, 0], expected, rtol=0, atol=1e-12)


def test_a_transformer_is_that_of_stock_torch() -> None:
    """Against torch.nn.TransformerEncoderLayer, values and gradients."""
    reader = make("transformer", {}, [1])
    tokens = documents([5, 1, 16, 9])
    present = tokens != 0
    places: Tensor = reader.tokens.places[0, :16].detach()  # type: ignore
    x = reader.tokens.vectors[0].detach()[(tokens - 1).clamp_min(0)] + places  # type: ignore
    stock = [stock_block(block) for block in reader.blocks]  # type: ignore
    read = x
    for block in stock:
        read = block(read, src_key_padding_mask=~present)
    read = torch.nn.functional.layer_norm(read, (8,))
    read = read * reader.norm.scale[0] + reader.norm.shift[0]  # type: ignore
    shown = present.to(x.dtype).unsqueeze(2)
    expected = (read * shown).sum(1) / shown.sum(1)
    found = reader(tokens, None, "a")[0]
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)
    found.pow(2).sum().backward()
    expected.pow(2).sum().backward()
    for ours, theirs in zip(reader.blocks, stock, strict=True):  # type: ignore
        for name, gradient in gradients_of(ours).items():
            own = theirs.get_parameter(name).grad
            torch.testing.assert_close(gradient, own, rtol=0, atol=1e-9)


NAMES = {
    "first_norm": "norm1", "second_norm": "norm2", "widen": "linear1", "narrow": "linear2",
    "leave": "self_attn.out_proj", "enter": "self_attn.in_proj",
}  # fmt: skip


def as_stock(block: torch.nn.Module, read: Any) -> dict[str, Tensor]:
    """Returns what `read` gives of each parameter of member 0, in the form and by the names of
    `torch.nn.TransformerEncoderLayer`."""
    found = {}
    for name, parameter in block.named_parameters():
        part, _, kind = name.partition(".")
        value = read(parameter)[0]
        kind = {"scale": "weight", "shift": "bias"}.get(kind, kind)
        joint = "_" if part == "enter" else "."
        square = "norm" not in part and kind == "weight"
        found[f"{NAMES[part]}{joint}{kind}"] = value.T if square else value[0]
    return found


def stock_block(block: torch.nn.Module) -> torch.nn.TransformerEncoderLayer:
    stock = torch.nn.TransformerEncoderLayer(
        8, 2, 32, dropout=0.0, activation="gelu", batch_first=True, norm_first=True,
        dtype=torch.float64,
    )  # fmt: skip
    stock.load_state_dict(as_stock(block, lambda parameter: parameter.detach()))
    return stock


def gradients_of(block: torch.nn.Module) -> dict[str, Tensor]:
    return as_stock(block, lambda parameter: parameter.grad)


def test_answering_in_blocks_is_answering_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    reader = make("transformer", {}, [1, 2])
    tokens = documents([5, 0, 16, 9, 1, 12, 3])
    whole = reader(tokens, None, "a")
    for n_tokens in (1, 40, 10_000):
        monkeypatch.setattr("pipeline.models.transformer._TOKENS", n_tokens)
        with torch.no_grad():
            torch.testing.assert_close(reader(tokens, None, "a"), whole, rtol=0, atol=1e-12)
