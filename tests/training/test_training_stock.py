from collections.abc import Callable

import pytest
import torch
from stock_torch import StockNetwork, train_stock
from training_data import member

from pipeline.data.prepared import Prepared
from pipeline.training.population import Population


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("sgd", lambda p, m: torch.optim.SGD(p, m.train.lr, momentum=m.train.momentum)),
        ("adam", lambda p, m: torch.optim.Adam(p, m.train.lr, weight_decay=m.train.l2)),
        ("adamw", lambda p, m: torch.optim.AdamW(p, m.train.lr, weight_decay=m.train.weight_decay)),
    ],
)  # fmt: skip
def test_members_train_like_a_plain_loop_of_torch(
    prepared: Prepared, name: str, make: Callable[..., torch.optim.Optimizer]
) -> None:
    penalty = {"sgd": {}, "adam": {"l2": 0.01}, "adamw": {"weight_decay": 0.1}}[name]
    members = [
        member(0, optimizer=name, lr=1e-2, clip=0.5),
        member(1, optimizer=name, lr=3e-3, weights=(0.5, 2.0, 0.5, 1.0), **penalty),
    ]
    population = Population(members, prepared, torch.float64)
    networks = [StockNetwork(population, k) for k in range(2)]
    for epoch in range(1, members[0].train.epochs + 1):
        population.train_epoch(epoch)
    for k, (network, one) in enumerate(zip(networks, members, strict=True)):
        train_stock(network, one, prepared, make)
        expected = StockNetwork(population, k).state_dict()
        for key, value in network.state_dict().items():
            torch.testing.assert_close(expected[key], value, rtol=0, atol=1e-9)
