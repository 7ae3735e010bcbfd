"""A pretrained decoder: what transformers computes, members alone, and where it starts."""

from pathlib import Path
from typing import Any

import pytest
import torch
from seq_cases import seq_folder
from torch import Tensor, nn

from pipeline.models.decoder import PAD
from pipeline.models.layers import MemberLayer
from pipeline.models.pretrained_decoder import PretrainedDecoder
from pipeline.models.trunk import Rates
from pipeline.text.pretrained import load_once
from pipeline.training.streams import Streams

IDS = torch.tensor([[5, 8, 9, 1], [7, 1, 0, 0], [12, 6, 1, 0]])
SHOWN = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0], [1, 1, 1, 0]])
LABELS = torch.tensor([[4, 5, 6, 1], [7, 1, -100, -100], [-100] * 4])
TARGET = torch.where(LABELS < 0, PAD, LABELS + 1)


@pytest.fixture(params=["t5", "bart"])
def folder(request: pytest.FixtureRequest) -> Path:
    return seq_folder(request.param)


def made(folder: Path, n_members: int, dtype: torch.dtype = torch.float64) -> PretrainedDecoder:
    decoder = PretrainedDecoder(n_members, {"path": str(folder), "write": 6, "width": 16}, dtype)
    for member in range(n_members):
        random = torch.Generator().manual_seed(member)
        for module in decoder.modules():
            if isinstance(module, MemberLayer):
                module.initialise(member, random)
    return decoder


def differing(decoder: PretrainedDecoder) -> PretrainedDecoder:
    """Moves each member's parameters by noise of its own."""
    with torch.no_grad():
        for parameter in decoder.parameters():
            for member, own in enumerate(parameter):
                random = torch.Generator().manual_seed(member)
                own.add_(torch.randn(own.shape, generator=random, dtype=own.dtype) / 10)
    return decoder


def read(folder: Path, n_members: int) -> Tensor:
    """The states of transformers, as a reader gives them."""
    encoder = load_once(str(folder))[1]
    states = encoder(input_ids=IDS, attention_mask=SHOWN).last_hidden_state.double()
    whole = torch.cat([states, SHOWN.unsqueeze(2)], 2)
    return nn.functional.pad(whole, (0, 0, 0, 2)).expand(n_members, -1, -1, -1)


def opening(n_members: int) -> Tensor:
    random = torch.Generator().manual_seed(3)
    return torch.randn(n_members, 3, 16, generator=random, dtype=torch.float64)


def test_it_starts_as_the_pretrained_model(folder: Path) -> None:
    """Losses, smoothed too, are those of transformers and torch; no reference, no loss."""
    decoder, whole = made(folder, 2), load_once(str(folder))[2]
    found = decoder.losses(opening(2), read(folder, 2), TARGET, None)
    logits = whole(input_ids=IDS, attention_mask=SHOWN, labels=LABELS.clamp_min(-100)).logits
    for row in range(2):
        inside = LABELS[row] >= 0
        for smoothing in (0.0, 0.1):
            expected = nn.functional.cross_entropy(
                logits[row, inside], LABELS[row, inside], label_smoothing=smoothing
            )
            for member in range(2):
                first, uniform = found[member, row]
                ours = (1 - smoothing) * first + smoothing * uniform
                torch.testing.assert_close(ours, expected.double(), atol=1e-5, rtol=0)
    assert not found[:, 2].any()


@pytest.mark.parametrize("beam", [1, 3])
def test_it_writes_what_transformers_generates(folder: Path, beam: int) -> None:
    decoder, whole = made(folder, 1), load_once(str(folder)).whole
    found = decoder.write(opening(1), read(folder, 1), beam)[0]
    given: dict[str, Any] = {"length_penalty": 0.8} if beam > 1 else {}
    expected = whole.generate(
        input_ids=IDS, attention_mask=SHOWN, num_beams=beam, max_new_tokens=6, do_sample=False,
        forced_eos_token_id=None, **given,
    )[:, 1:]  # fmt: skip
    assert found.shape == (3, 6)
    for own, tokens in zip(found.tolist(), expected.tolist(), strict=True):
        until = tokens[: tokens.index(1)] if 1 in tokens else tokens
        assert [word - 1 for word in own if word] == until
        assert not any(own[len(until) :])


def test_a_member_equals_itself_alone_with_dropout(folder: Path) -> None:
    decoder = differing(made(folder, 3))
    streams = Streams(5)
    chances = torch.tensor([0.0, 0.2, 0.5]).reshape(3, 1, 1)

    def run(one: PretrainedDecoder, rates: Tensor, index: slice) -> tuple[Tensor, Tensor, Tensor]:
        streams.start(1)
        said, source = opening(3)[index], read(folder, 3)[index]
        loss = one.losses(said, source, TARGET, Rates(streams, text=rates))
        loss.sum().backward()  # type: ignore[no-untyped-call]
        slope = torch.cat([p.grad.flatten(1) for p in one.parameters() if p.grad is not None], 1)
        return loss.detach(), slope, one.write(said, source, 2)

    together = run(decoder, chances, slice(None))
    for member in range(3):
        alone = made(folder, 1)
        with torch.no_grad():
            for mine, theirs in zip(alone.parameters(), decoder.parameters(), strict=True):
                mine[0] = theirs[member]
        found = run(alone, chances[member : member + 1], slice(member, member + 1))
        for one, other in zip(found, together, strict=True):
            torch.testing.assert_close(one[0], other[member])
    assert not torch.allclose(together[0][0], together[0][1])
    streams.start(1)
    undropped = decoder.losses(opening(3), read(folder, 3), TARGET, None)
    assert torch.allclose(undropped[0], together[0][0])
    assert not torch.allclose(undropped[2], together[0][2])


def test_what_reads_the_states_is_trained_and_the_encoder_is_not(folder: Path) -> None:
    decoder = made(folder, 1)
    names = {name.removeprefix("layers.model-").replace("-", ".")
             for name, _ in decoder.named_parameters()}  # fmt: skip
    whole = load_once(str(folder))[2]
    decoding = {id(p) for p in whole.get_decoder().parameters()}
    expected = {name for name, p in whole.named_parameters() if id(p) in decoding}
    head = whole.get_output_embeddings().weight
    expected |= {name for name, p in whole.named_parameters() if p is head}
    assert names == expected | {"say.weight"}
    loss = decoder.losses(opening(1), read(folder, 1), TARGET, None)[..., 0].sum()
    loss.backward()  # type: ignore[no-untyped-call]
    assert all(p.grad is not None and bool(p.grad.any()) for p in decoder.parameters())
