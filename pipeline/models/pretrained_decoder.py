"""The decoder of a pretrained encoder-decoder, trained by each member on the encoder's states.

Sutskever et al. (2014), in the form of Raffel et al. (2020, "T5") and Lewis et al. (2020, "BART").
It reads the last states of the encoder `pretrained`: those computed once where that stays as it
is, else those of the layers that the tasks train together. What the trunk says is added to each
state, scaled by a learned number for each entry that starts at 0 (Bachlechner et al., 2020,
"ReZero"): so a member begins as the pretrained model, and learns what its trunk is good for.

A written token has its number of the pretrained tokenizer plus 1; 0 stands behind the last.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from pipeline.models.decoder import PAD, Decoder
from pipeline.models.layers import MemberLayer
from pipeline.models.slices import Slices
from pipeline.text.cutting import with_part
from pipeline.text.pretrained import load_once

if TYPE_CHECKING:
    from pipeline.models.trunk import Rates

_IGNORED = -100  # what transformers calls no label
_WRITTEN_AT_ONCE = 32  # rows
_LENGTH_PENALTY = 0.8
"""Sums of log chances are divided by length ** 0.8 as `transformers` has it."""


class Scale(MemberLayer):
    """A number for each entry, which starts at 0."""

    def __init__(self, n_members: int, width: int, dtype: torch.dtype) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(n_members, 1, width, dtype=dtype))

    def initialise(self, member: int, generator: torch.Generator) -> None:
        """Sets all to 0."""
        with torch.no_grad():
            self.weight[member] = 0

    def forward(self, x: Tensor) -> Tensor:
        """Scales (K, B, D)."""
        return x * self.weight


class PretrainedDecoder(Decoder):
    """The decoder of one task: decoder, embeddings of words and head of the pretrained model.

    Args:
        n_members: K.
        shape: `path` of the model; `write`, most tokens that are written; `width`, D.
        dtype: Of the parameters.
    """

    def __init__(self, n_members: int, shape: Mapping[str, Any], dtype: torch.dtype) -> None:
        super().__init__()
        self.shape = shape
        module, trained = _writer(load_once(shape["path"]).whole)
        self.layers = Slices(n_members, module, trained, dtype)
        self.say = Scale(n_members, shape["width"], dtype)

    def losses(
        self, opening: Tensor, source: Tensor, target: Tensor, rates: Rates | None
    ) -> Tensor:
        """See `Decoder.losses`; the words are tokens."""
        present = target != PAD
        rows = present.any(1).nonzero().squeeze(1)
        found = opening[..., :2] * 0
        if not len(rows):
            return found
        tokens = target[rows, : int(present.sum(1).max())]
        inside = tokens != PAD
        labels = (tokens - 1).masked_fill(~inside, _IGNORED)
        at, count = (tokens - 1).clamp_min(0).unsqueeze(2), inside.sum(1)
        states, shown = self._read(opening[:, rows], source[:, rows])
        each = []
        runs = self.layers.runs(rates, "generator.layers")
        for run, own, mask in zip(runs, states, shown, strict=True):
            logits = run(own, mask, labels)  # (R, T, V)
            total = logits.logsumexp(2)
            both = torch.stack([total - logits.gather(2, at).squeeze(2), total - logits.mean(2)], 2)
            each.append((both * inside.unsqueeze(2)).sum(1) / count.unsqueeze(1))
        return found.index_copy(1, rows, torch.stack(each).to(found.dtype))

    def _read(self, opening: Tensor, source: Tensor) -> tuple[Tensor, Tensor]:
        states, shown = source[..., :-1], source[..., -1] > 0
        longest = max(1, int(shown.any(0).any(0).sum()))  # padding stands behind in every row
        states, shown = states[:, :, :longest], shown[:, :, :longest]
        return states + self.say(opening).unsqueeze(2), shown.to(torch.int64)

    def write(self, opening: Tensor, source: Tensor, beam: int) -> Tensor:
        """Writes by the beam search of transformers, member by member; see `Decoder.write`."""
        found = torch.zeros(*opening.shape[:2], self.shape["write"], dtype=torch.int64,
                            device=opening.device)  # fmt: skip
        for low in range(0, opening.shape[1], _WRITTEN_AT_ONCE):
            rows = slice(low, low + _WRITTEN_AT_ONCE)
            states, shown = self._read(opening[:, rows], source[:, rows])
            for member, _ in enumerate(self.layers.runs(None, "")):
                module = self.layers.module
                assert isinstance(module, Writer)
                own = module.write(states[member], shown[member], self.shape["write"], beam)
                found[member, rows, : own.shape[1]] = own
        return found


class Writer(nn.Module):
    """A pretrained encoder-decoder whose encoder is never asked: its states are given.

    Args:
        model: One of transformers that `generate`s; it is changed.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, states: Tensor, shown: Tensor, labels: Tensor) -> Tensor:
        """Returns the (B, T, V) logits of each token after those before it.

        Args:
            states: (B, L, D).
            shown: (B, L) int64.
            labels: (B, T) tokens, -100 behind the last.
        """
        shift = getattr(self.model, "prepare_decoder_input_ids_from_labels", None)
        given = {"labels": labels} if shift is None else {"decoder_input_ids": shift(labels)}
        found: Tensor = self.model(
            encoder_outputs=_given(states), attention_mask=shown, use_cache=False, **given
        ).logits
        return found

    def write(self, states: Tensor, shown: Tensor, most: int, beam: int) -> Tensor:
        """Returns (B, T) written tokens plus 1, 0 from the end on, T at most `most`.

        Of the model's own settings those of its special tokens are kept; its lengths, penalties
        and bans belong to the data that it was made for.
        """
        from transformers import GenerationConfig

        own = self.model.generation_config
        kept = {
            key: getattr(own, key, None) if getattr(own, key, None) is not None
            else getattr(self.model.config, key, None)
            for key in ("decoder_start_token_id", "bos_token_id", "eos_token_id", "pad_token_id",
                        "forced_bos_token_id")
        }  # fmt: skip
        searched = {"length_penalty": _LENGTH_PENALTY} if beam > 1 else {}
        config = GenerationConfig(  # type: ignore[no-untyped-call]
            num_beams=beam, max_new_tokens=most, do_sample=False, **searched, **kept
        )
        with torch.no_grad():
            tokens: Tensor = self.model.generate(
                encoder_outputs=_given(states), attention_mask=shown, generation_config=config
            )
        tokens = tokens[:, 1:]  # behind what decoding starts with
        ends = torch.as_tensor(kept["eos_token_id"], device=tokens.device).reshape(-1)
        is_end = torch.isin(tokens, ends)
        return torch.where(is_end.cumsum(1) > 0, PAD, tokens + 1)


def _given(states: Tensor) -> Any:
    from transformers.modeling_outputs import BaseModelOutput

    return BaseModelOutput(last_hidden_state=states)


@lru_cache(maxsize=2)
def _writer(model: Any) -> tuple[Writer, list[str]]:
    """Returns what writes, without the encoder's weights, and the names of what is trained.

    These are all parameters that have a part in the chances of words, where states are given.
    """
    writer = Writer(copy.deepcopy(model))
    width = int(model.config.hidden_size)
    states = torch.linspace(-1, 1, 2 * width).reshape(1, 2, width)
    labels = torch.tensor([[3, 4]])
    trained = with_part(writer, lambda: writer(states, torch.ones(1, 2).long(), labels))
    wanted = set(trained)
    own = {id(tensor) for name, tensor in writer.named_parameters() if name in wanted}
    for tensor in writer.model.get_encoder().parameters():
        if id(tensor) not in own:
            tensor.data = tensor.data.new_empty(0)
    return writer, trained
