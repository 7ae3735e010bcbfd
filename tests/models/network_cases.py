"""Small networks of every way of sharing and of several shapes, and inputs for them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from pipeline.models.architecture import Architecture
from pipeline.models.build import build, initialise
from pipeline.models.network import MultiTaskModel
from pipeline.study import catalogue

OPTIONS = {"experts": 3, "task_experts": 2, "shared_experts": 2, "levels": 2, "stitch": 0.8}
HEADS = {"income": 1, "marital": 4, "hours": 1}


def architecture(sharing: str, **values: Any) -> Architecture:
    """Makes an architecture; options are those of `OPTIONS` that the sharing reads."""
    options = {name: OPTIONS[name] for name in catalogue.entry("sharing", sharing).options}
    given = {name: values.pop(name) for name in list(values) if name in OPTIONS}
    shape = {
        "layers": (6, 5),
        "activation": "tanh",
        "norm": "none",
        "head_layers": (),
        "embedding": 3,
        "n_numeric": 4,
        "n_codes": (5, 3),
        "heads": HEADS,
    }
    return Architecture(sharing=sharing, options={**options, **given}, **{**shape, **values})


PLAIN = architecture("shared_bottom", layers=(9, 6), activation="relu")
SHAPES = [
    PLAIN,
    replace(PLAIN, norm="layer", activation="gelu"),
    replace(PLAIN, norm="batch", head_layers=(5,)),
    replace(PLAIN, head_layers=(5, 4), activation="tanh"),
    replace(PLAIN, n_codes=(), layers=()),
    replace(PLAIN, n_numeric=0),
]
"""Of one trunk for all tasks."""


def made(shape: Architecture, n_members: int = 3) -> MultiTaskModel:
    model = build(shape, n_members, torch.float64)
    initialise(model, [10 + k for k in range(n_members)])
    return model


def inputs(shape: Architecture, n_rows: int = 9) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    numeric = torch.randn(n_rows, shape.n_numeric, generator=generator, dtype=torch.float64)
    codes = [torch.randint(0, n, (n_rows,), generator=generator) for n in shape.n_codes]
    return numeric, torch.stack(codes, 1).int() if codes else torch.zeros(n_rows, 0).int()


class SeededNoise:
    """The same numbers for a site whenever it is asked."""

    def uniform(self, site: str, shape: tuple[int, ...]) -> Tensor:
        seed = sum(map(ord, site))
        return torch.rand(shape, generator=torch.Generator().manual_seed(seed))
