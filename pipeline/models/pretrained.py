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
        self._dtype = dtype
        self.layers: Slices | None = None
        if shape["layers"] == 0:  # the last states are what was computed
            return
        model = load_once(shape["path"]).encoder
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
            "layers": 0 if spec.finetune == "none" else spec.trained_layers,
            "rank": spec.rank if is_lora else 0,
            "scale": spec.alpha / spec.rank if is_lora else 0.0,
        }

    def forward(
        self, tokens: Tensor, rates: Rates | None, site: str, states: Tensor | None = None
    ) -> Tensor:
        """Reads (B, L) or (K, B, L) tokens, and (B, L, D) states at the cut, into (K, B, D)."""
        some = tokens.shape[-2] > 0  # models cannot read none
        if some and (torch.is_grad_enabled() or tokens.dim() == 3):
            return self._pooled(*self._last(tokens, states, rates, site))
        found = self._zeros(tokens.shape[-2], self.width)
        for rows, length in blocks((tokens != PAD).sum(-1), _TOKENS) if some else ():
            own = None if states is None else states[rows, :length]
            found[:, rows] = self._pooled(*self._last(tokens[rows, :length], own, rates, site))
        return found

    def read(
        self, tokens: Tensor, rates: Rates | None, site: str, states: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """See `Reader.read`."""
        some = tokens.shape[-2] > 0
        if not some:
            empty = self._zeros(0, tokens.shape[-1], self.width + 1)
            return empty[:, :, 0, :-1], empty
        last, present, shown = self._last(tokens, states, rates, site)
        whole = torch.cat([last, shown.unsqueeze(-1).expand_as(last[..., :1]).to(last.dtype)], 3)
        missing = tokens.shape[-1] - whole.shape[2]
        return self._pooled(last, present, shown), nn.functional.pad(whole, (0, 0, 0, missing))

    def _zeros(self, *sizes: int) -> Tensor:
        """Returns zeros like the answers: of all members, or of one where they are the same."""
        if self.layers is None:
            return torch.zeros(1, *sizes, dtype=self._dtype)
        like = next(self.layers.parameters())
        return like.new_zeros(len(like), *sizes)

    def _last(
        self, tokens: Tensor, states: Tensor | None, rates: Rates | None, site: str
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Returns (K, B, L, D) last states, whether there is a token, and whether it is shown."""
        tokens = tokens[..., : self._places]  # padded to more than is ever read
        states = None if states is None else states[:, : self._places]
        present = tokens != PAD
        first = torch.arange(tokens.shape[-1], device=tokens.device) == 0
        shown = present | first  # attention among nothing is not a number
        if self.layers is None:
            assert states is not None, "nothing is trained, so all was computed"
            return states.unsqueeze(0), present, shown
        own = (tokens - FIRST_TOKEN).masked_fill(tokens == UNKNOWN, self._unknown)
        own = own.masked_fill(~present, self._pad)
        each = [own] * len(next(self.layers.parameters())) if own.dim() == 2 else own.unbind(0)
        masks = [shown] * len(each) if shown.dim() == 2 else shown.unbind(0)
        runs = self.layers.runs(rates, f"{site}.layers")
        lasts = [
            run(ids, states, mask.to(torch.int64))
            for run, ids, mask in zip(runs, each, masks, strict=True)
        ]
        return torch.stack(lasts), present, shown

    def _pooled(self, last: Tensor, present: Tensor, shown: Tensor) -> Tensor:
        """Returns the (K, B, D) scaled means of the states that are shown."""
        weight = shown.unsqueeze(-1).to(last.dtype)
        mean = (last * weight).sum(2) / weight.sum(-2)
        unit: Tensor = nn.functional.normalize(mean, dim=2) * self.width**0.5
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
