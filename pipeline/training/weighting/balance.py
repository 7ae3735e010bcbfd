"""The gradient balancing methods of torchjd, through one adapter."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor

from pipeline.study.spec import WeightsSpec
from pipeline.training.streams import Streams
from pipeline.training.weighting.base import Step, Weighting

CLASSES: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "upgrad": ("UPGradWeighting", {}),
    "mgda": ("MGDAWeighting", {}),
    "pcgrad": ("PCGradWeighting", {}),
    "imtl_g": ("IMTLGWeighting", {}),
    "aligned": ("AlignedMTLWeighting", {}),
    "dualproj": ("DualProjWeighting", {}),
    "cagrad": ("CAGradWeighting", {"c": 0.4}),  # the paper's on NYUv2 and Cityscapes
    "fairgrad": ("FairGradWeighting", {"alpha": 2.0}),  # the paper's on NYUv2
}
"""Name after `balance:` to a class of torchjd.aggregation and its arguments without a default.

Those that take a Gramian and remember nothing: state of `GradVac` and `PCD` cannot be saved and
restored exactly in torchjd 0.18, and `ExcessMTL`, `MoDo` and `SDMGrad` need more than a Gramian.
"""


class Balance(Weighting):
    """Weights the gradients of the tasks with respect to what they share, by their Gramian.

    With J the (T, P) gradients of a member's active tasks with respect to the shared parameters,
    torchjd (Quinton and Rey, 2024) turns G = J J^T into weights w, and the shared parameters
    follow w J; what one task owns follows the gradient of that task alone, as in
    `torchjd.autojac.mtl_backward`. With the whole J the result would be the same at 1.1 to 4.4
    times the cost.

    | name | paper | w J does not conflict |
    | --- | --- | --- |
    | `upgrad` | Quinton and Rey, 2024, arXiv 2406.16232 | with any task: G w >= 0 |
    | `mgda` | Desideri, 2012; Sener and Koltun, 2018 | likewise, up to its stopping rule |
    | `dualproj` | Lopez-Paz and Ranzato, 2017 | likewise |
    | `pcgrad` | Yu et al., 2020 | with two tasks |
    | `imtl_g` | Liu et al., 2021 | its projections on all tasks are equal; weights may be below 0 |
    | `aligned` | Senushkin et al., 2023 | not promised |
    | `cagrad` | Liu et al., 2021 | not promised |
    | `fairgrad` | Ban and Ji, 2024 | not promised |

    Weights are multiplied by the constant that makes them 1 for gradients of one length at right
    angles, so that learning rates mean the same as under `equal`; and the Gramian is divided by
    the mean of its diagonal first, which changes the length of `fairgrad` alone. Computed in
    float64, whatever the parameters, and member by member: torchjd takes one Gramian at a time.
    Methods that draw (`pcgrad` draws the order of its projections) draw the same numbers for each
    member, from the study's stream. Where a member's Gramian is not finite or 0 its weights are 1.
    """

    reads_gramian = True

    def __init__(self, specs: Sequence[WeightsSpec], weights: Tensor, streams: Streams) -> None:
        super().__init__(specs, weights, streams)
        self._name = specs[0].strategy.partition(":")[2]

    def weigh(self, step: Step) -> Tensor:
        """Returns the weights of each member's gradients."""
        assert step.gramian is not None  # this strategy asks for it
        seed = self.streams.integer("weights")
        gramians, actives = step.gramian.double().cpu(), step.active.cpu()
        weights = torch.zeros(actives.shape, dtype=torch.float64)
        for own, gramian, active in zip(weights, gramians, actives, strict=True):
            tasks = active.nonzero().squeeze(1)
            if len(tasks):
                own[tasks] = balance(self._name, gramian[tasks][:, tasks], seed)
        return weights.to(step.losses)


def balance(name: str, gramian: Tensor, seed: int) -> Tensor:
    """Returns the (n,) weights of n gradients.

    Args:
        name: Of `CLASSES`.
        gramian: (n, n), float64.
        seed: Of what the method draws.
    """
    if not bool(gramian.isfinite().all()) or not bool(gramian.any()):
        return torch.ones_like(gramian[0])
    # torchjd takes a Gramian below 1e-4 for one of zeros.
    scaled = gramian / gramian.diagonal().mean()
    return _weigh(name, scaled, seed) / _unit(name, len(gramian))


@cache
def _unit(name: str, n_tasks: int) -> float:
    """Returns the weight of each of n gradients of length 1 at right angles."""
    return float(_weigh(name, torch.eye(n_tasks, dtype=torch.float64), 0).mean())


def _weigh(name: str, gramian: Tensor, seed: int) -> Tensor:
    # Some draw from torch's global generator: it must not be seen from outside.
    before = torch.get_rng_state()
    try:
        torch.manual_seed(seed)
        return _method(name)(gramian)
    finally:
        torch.set_rng_state(before)


@cache
def _method(name: str) -> Callable[[Tensor], Tensor]:
    # Here, because torchjd is an extra.
    from torchjd import aggregation

    found, arguments = CLASSES[name]
    method: Callable[[Tensor], Tensor] = getattr(aggregation, found)(**arguments)
    return method
