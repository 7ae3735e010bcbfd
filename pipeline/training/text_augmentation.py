"""Augmentation of the texts of train batches; each member has its own rates."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from pipeline.models.texts import Texts
from pipeline.text.numbering import PAD, UNKNOWN
from pipeline.training.augmentation import Augmentation
from pipeline.training.streams import Streams


def disturb(texts: Texts, augmentation: Augmentation, streams: Streams) -> Texts:
    """Deletes tokens, swaps neighbours, and makes tokens unknown, in this order.

    The three of Wei and Zou (2019, "EDA") that need no dictionary, and the word dropout of Iyyer
    et al. (2015, "Deep unordered composition rivals syntactic methods"). Of a document at least
    one token is left.

    Args:
        texts: Of B rows, shared by the members.
        augmentation: The members' rates.
        streams: Shared noise.

    Returns:
        Tokens as (K, B, L), or `texts` itself where no member changes them.
    """
    if not augmentation.changes_texts or not texts.tokens:
        return texts
    tokens = {name: _disturbed(own, augmentation, streams, name)
              for name, own in texts.tokens.items()}  # fmt: skip
    return replace(texts, tokens=tokens)


def _disturbed(tokens: Tensor, rates: Augmentation, streams: Streams, name: str) -> Tensor:
    shape = tuple(tokens.shape)
    if rates.deletion is not None:
        uniform = streams.uniform(f"augment.deletion.{name}", shape)
        tokens = delete(tokens, uniform, rates.deletion)
    if rates.swap is not None:
        odd = streams.uniform(f"augment.swap.odd.{name}", (shape[0], 1))
        uniform = streams.uniform(f"augment.swap.{name}", shape)
        tokens = swap(tokens, uniform, odd < 0.5, rates.swap)
    if rates.word_dropout is not None:
        uniform = streams.uniform(f"augment.word_dropout.{name}", shape)
        dropped = (uniform < rates.word_dropout) & (tokens != PAD)
        tokens = torch.where(dropped, UNKNOWN, tokens)
    return tokens


def delete(tokens: Tensor, uniform: Tensor, rate: Tensor) -> Tensor:
    """Deletes tokens; those behind them move up.

    Args:
        tokens: (B, L).
        uniform: (B, L) numbers in [0, 1): a token goes where its number is below the rate. That
            with the largest stays.
        rate: (K, 1, 1).

    Returns:
        (K, B, L), padded anew.
    """
    present = tokens != PAD
    shown = torch.where(present, uniform, -1.0)
    stays = shown == shown.max(1, keepdim=True).values
    gone = ((uniform < rate) & ~stays) | ~present  # (K, B, L)
    order = gone.to(torch.int8).argsort(stable=True, dim=2)
    left = torch.where(gone, PAD, tokens)
    return left.gather(2, order)


def swap(tokens: Tensor, uniform: Tensor, odd: Tensor, rate: Tensor) -> Tensor:
    """Swaps neighbours: each token has one of its two neighbours, and changes places at the rate.

    Args:
        tokens: (B, L), or (K, B, L).
        uniform: (B, L) numbers in [0, 1), of which that of a pair's first place counts.
        odd: (B, 1) whether pairs begin at the odd places, or at the even ones.
        rate: (K, 1, 1).

    Returns:
        (K, B, L).
    """
    length = tokens.shape[-1]
    place = torch.arange(length, device=tokens.device)
    is_first = (place % 2 == 1) == odd  # (B, L)
    partner = torch.where(is_first, place + 1, place - 1)
    partner = torch.where((partner < 0) | (partner >= length), place, partner)  # (B, L)
    chance = uniform.gather(1, torch.where(is_first, place, partner))
    whole = tokens.expand(len(rate), *tokens.shape[-2:])
    index = partner.expand(whole.shape)
    other = whole.gather(2, index)
    both = (whole != PAD) & (other != PAD)
    return torch.where((chance < rate) & both, other, whole)
