"""A pretrained encoder cut between its layers, whatever its architecture."""

from typing import Any

import pytest
import torch
from encoder_cases import tiny_folder

from pipeline.errors import DataError
from pipeline.text.cutting import adapt, layers_of, states_at, trained_names, upper_of
from pipeline.text.pretrained import load_once

SIZES: dict[str, Any] = {
    "hidden_size": 12, "num_hidden_layers": 3, "num_attention_heads": 3, "intermediate_size": 20,
    "vocab_size": 40, "max_position_embeddings": 32,
}  # fmt: skip
OTHERS: dict[str, dict[str, Any]] = {
    "DistilBert": {
        "dim": 12, "n_layers": 3, "n_heads": 3, "hidden_dim": 20, "vocab_size": 40,
        "max_position_embeddings": 32,
    },
    "ModernBert": {
        **SIZES, "pad_token_id": 0, "cls_token_id": 1, "sep_token_id": 2, "bos_token_id": 1,
        "eos_token_id": 2,
    },
    "Electra": {**SIZES, "embedding_size": 8},
    "DebertaV2": {**SIZES, "relative_attention": True},
    "Albert": {**SIZES, "embedding_size": 8},
}  # fmt: skip
CUT = ["Bert", "Roberta", "XLMRoberta", "DistilBert", "MPNet", "ModernBert", "Electra", "DebertaV2"]
TOKENS = torch.tensor([[5, 6, 7, 8], [9, 10, 11, 3]])
SHOWN = torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0]])


def encoder(name: str) -> Any:
    import transformers

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        config = getattr(transformers, f"{name}Config")(**OTHERS.get(name, SIZES))
        model = getattr(transformers, f"{name}Model")(config)
    return model.eval().requires_grad_(False)


@pytest.mark.parametrize("name", CUT)
@pytest.mark.parametrize("below", [1, 2])
def test_above_the_cut_is_what_the_whole_model_gives(name: str, below: int) -> None:
    model = encoder(name)
    upper = upper_of(model, below)
    with torch.no_grad():
        whole = model(input_ids=TOKENS, attention_mask=SHOWN).last_hidden_state
        states = states_at(model, below, TOKENS, SHOWN)
        found = upper(TOKENS, states, SHOWN)
    inside = SHOWN.bool()
    torch.testing.assert_close(found[inside], whole[inside], rtol=0, atol=1e-5)
    kept = {id(one) for layer in list(layers_of(upper.model))[below:] for one in layer.parameters()}
    trained = dict(upper.named_parameters())
    names = trained_names(model, upper, 12, 3 - below)
    assert kept <= {id(trained[name]) for name in names}
    assert not any("embeddings" in name for name in names)


@pytest.mark.parametrize("name", ["Bert", "ModernBert"])
def test_without_a_cut_all_that_matters_is_trained(name: str) -> None:
    model = encoder(name)
    upper = upper_of(model, 0)
    names = trained_names(model, upper, 12, None)
    assert any("embeddings" in found for found in names)
    assert not any("pooler" in found for found in names)
    last = trained_names(model, upper, 12, 1)
    assert set(last) < set(names)
    assert last == [f for f in trained_names(model, upper_of(model, 2), 12, 1) if f in names]


def test_what_cannot_be_cut_is_named() -> None:
    with pytest.raises(DataError, match=r"AlbertModel cannot be cut.*no list of layers.*full"):
        upper_of(encoder("Albert"), 1)
    import transformers

    config = transformers.T5Config(
        d_model=12, d_kv=4, num_layers=3, num_heads=3, d_ff=20, vocab_size=40
    )
    stack = transformers.T5EncoderModel(config).get_encoder().eval().requires_grad_(False)
    with pytest.raises(DataError, match="T5Stack cannot be cut between its layers"):
        upper_of(stack, 1)


def test_low_rank_maps_start_at_nothing_and_add_their_product() -> None:
    model = load_once(str(tiny_folder())).encoder
    upper = upper_of(model, 1)
    states = torch.randn(2, 4, 8, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        before = upper(TOKENS, states, SHOWN)
        bounds = adapt(upper, 1, 2, 0.5)
        layer = layers_of(upper.model)[2]
        assert len(bounds) == sum("lora_a" in name for name, _ in layer.named_parameters()) == 6
        assert set(bounds.values()) == {8**-0.5, 16**-0.5}
        torch.testing.assert_close(upper(TOKENS, states, SHOWN), before, rtol=0, atol=0)
        query = layer.get_submodule("attention.self.query")
        query.lora_a.normal_(generator=torch.Generator().manual_seed(3))
        query.lora_b.normal_(generator=torch.Generator().manual_seed(4))
        x = states[0]
        whole = query.linear.weight + 0.5 * query.lora_b @ query.lora_a
        torch.testing.assert_close(query(x), x @ whole.T + query.linear.bias)
