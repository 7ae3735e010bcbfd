"""The encoder `pretrained` where it is trained: its upper layers, all of it, or low-rank maps.

Howard and Ruder (2018, "ULMFiT") and Devlin et al. (2019, "BERT") train all layers; lower ones
change least and may stay as they are (Lee et al., 2019, "What would Elsa do?"); low-rank maps
beside them are Hu et al.'s (2021, "LoRA"). What is said of a document is what the frozen encoder
says: the mean of the last states over its tokens, scaled to a mean square of 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from pipeline.models.reader import Reader, blocks
from pipeline.models.slices import Slices
from pipeline.text.cutting import adapt, trained_names, upper_of
from pipeline.text.numbering import FIRST_TOKEN, PAD, UNKNOWN
from pipeline.text.pretrained import load_once

if TYPE_CHECKING:
    from pipeline.models.trunk import Rates
    from pipeline.study.encoder_spec import EncoderSpec

_TOKENS = 4096
"""Tokens, padding among them, that are read at once where no gradient is wanted."""


class Pretrained(Reader):
    """Tokens or states at the cut, through the trained layers of each member, to a mean."""

    def __init__(self, n_members: int, shape: Mapping[str, Any], dtype: torch.dtype) -> None:
        super().__init__(n_members, shape, dtype)
        self.width = shape["width"]
        self._below, self._places = shape["below"], shape["places"]
        self._pad, self._unknown = shape["pad"], shape["unknown"]
        _, model, _ = load_once(shape["path"])
        module, trained, drawn = _trainable(
            model, shape["below"], shape["layers"], shape["rank"], shape["scale"], self.width
        )
        self.layers = Slices(n_members, module, trained, dtype, drawn)

    @classmethod
    def shape_of(cls, spec: EncoderSpec, n_tokens: int) -> dict[str, Any]:
        """Returns what is trained; see `Reader.shape_of`. The rest is `TokenStates.shape`."""
        is_lora = spec.finetune == "lora"
        return {
            "tokens": n_tokens,
            "layers": spec.trained_layers,
            "rank": spec.rank if is_lora else 0,
            "scale": spec.alpha / spec.rank if is_lora else 0.0,
        }

    def forward(
        self, tokens: Tensor, rates: Rates | None, site: str, states: Tensor | None = None
    ) -> Tensor:
        """Reads (B, L) or (K, B, L) tokens, and (B, L, D) states at the cut, into (K, B, D)."""
        some = tokens.shape[-2] > 0  # models cannot read none
        if some and (torch.is_grad_enabled() or tokens.dim() == 3):
            return self._read(tokens, states, rates, site)
        like = next(self.layers.parameters())
        found = like.new_zeros(len(like), tokens.shape[-2], self.width)
        for rows, length in blocks((tokens != PAD).sum(-1), _TOKENS) if some else ():
            own = None if states is None else states[rows, :length]
            found[:, rows] = self._read(tokens[rows, :length], own, rates, site)
        return found

    def _read(
        self, tokens: Tensor, states: Tensor | None, rates: Rates | None, site: str
    ) -> Tensor:
        tokens = tokens[..., : self._places]  # padded to more than is ever read
        states = None if states is None else states[:, : self._places]
        present = tokens != PAD
        first = torch.arange(tokens.shape[-1], device=tokens.device) == 0
        shown = present | first  # attention among nothing is not a number
        own = (tokens - FIRST_TOKEN).masked_fill(tokens == UNKNOWN, self._unknown)
        own = own.masked_fill(~present, self._pad)
        each = [own] * len(next(self.layers.parameters())) if own.dim() == 2 else own.unbind(0)
        masks = [shown] * len(each) if shown.dim() == 2 else shown.unbind(0)
        means = []
        runs = self.layers.runs(rates, f"{site}.layers")
        for run, ids, mask in zip(runs, each, masks, strict=True):
            last = run(ids, states, mask.to(torch.int64))  # (B, L, D)
            weight = mask.unsqueeze(2).to(last.dtype)
            means.append((last * weight).sum(1) / weight.sum(1))
        unit: Tensor = nn.functional.normalize(torch.stack(means), dim=2) * self.width**0.5
        return unit.masked_fill(~present.any(-1).unsqueeze(-1), 0)


@lru_cache(maxsize=4)
def _trainable(
    model: nn.Module, below: int, layers: int | None, rank: int, scale: float, width: int
) -> tuple[nn.Module, list[str], dict[str, float]]:
    """Returns what runs above the cut, the names of what is trained, and what of it is drawn.

    One copy serves all networks of one shape in a process: members hold what they train.

    Args:
        model: The whole encoder.
        below: Layers below the cut.
        layers: Upper layers that are trained; None for all of the model.
        rank: Of the low-rank maps; 0 where weights are trained themselves.
        scale: alpha / rank.
        width: D.
    """
    upper = upper_of(model, below)
    if rank:
        drawn = adapt(upper, layers, rank, scale)
        return upper, [name for name, _ in upper.named_parameters() if ".lora_" in name], drawn
    return upper, trained_names(model, upper, width, layers), {}
