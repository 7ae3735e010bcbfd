"""Pretrained layers in training: against stock torch and transformers, and against frozen ones."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from encoder_cases import model_folder, tiny_folder
from text_cases import notes
from torch import Tensor, nn

from pipeline.data.assembling import build_prepared
from pipeline.data.prepared import Prepared
from pipeline.driver.trials import make_member
from pipeline.study.loading import parse_study
from pipeline.text.numbering import FIRST_TOKEN
from pipeline.text.pretrained import load_pretrained
from pipeline.training.encoder_rates import encoder_lr
from pipeline.training.loop import train
from pipeline.training.members import EpochResult, Member, arrays_of, gains_nothing
from pipeline.training.population import Population
from pipeline.training.streams import Streams

STUDY = """
name: tuned
sources: {notes: {path: notes.csv, text: body}}
tasks: {topic: {kind: multiclass, target: topic, metric: accuracy}}
split: {train: 0.6, valid: 0.2, test: 0.2}
model: {encoder: {kind: pretrained, max_tokens: 32}, layers: [8]}
train: {epochs: 8, batch_size: 16, lr: 0.003, patience: null, diagnostics: false}
"""


def case(path: Path, finetune: str, n_rows: int = 107, **keys: Any) -> tuple[Member, Prepared]:
    settings = {f"model.encoder.{key}": value for key, value in keys.items()}
    settings |= {"model.encoder.path": str(path), "model.encoder.finetune": finetune}
    study = parse_study(STUDY, overrides=settings)
    prepared = build_prepared(study.spec, {"notes": notes(n_rows)}, {})
    return make_member(study, prepared, 0, {}), prepared


def with_train(one: Member, number: int, **values: Any) -> Member:
    return replace(one, number=number, seed=number, train=replace(one.train, **values))


class Stock(nn.Module):
    """The encoder of transformers, a mean, two linear layers; started as a member is."""

    def __init__(self, population: Population, k: int, path: Path) -> None:
        super().__init__()
        self.encoder = load_pretrained(str(path))[1].double().requires_grad_(True)
        named = {
            name: torch.from_numpy(array)
            for name, array in population.state.named(population.state.snapshot()[k]).items()
        }
        self.trunk, self.head = nn.Linear(8, 8).double(), nn.Linear(8, 3).double()
        for layer, name in ((self.trunk, "sharing.trunk.layers.0"), (self.head, "heads")):
            layer.weight.data = named[f"{name}.weight"].T.clone()
            layer.bias.data = named[f"{name}.bias"][0].clone()

    def forward(self, ids: list[Tensor]) -> Tensor:
        tokens = nn.utils.rnn.pad_sequence(ids, batch_first=True)
        mask = torch.stack([torch.arange(tokens.shape[1]) < len(own) for own in ids]).long()
        states = self.encoder(input_ids=tokens, attention_mask=mask).last_hidden_state
        mean = (states * mask.unsqueeze(2)).sum(1) / mask.sum(1, keepdim=True)
        found: Tensor = self.head(self.trunk(nn.functional.normalize(mean) * 8**0.5).relu())
        return found


def trained_by_stock(network: Stock, one: Member, prepared: Prepared, epochs: int) -> None:
    part = prepared.parts["train"]
    rows, target = part.texts["pretrained"], torch.from_numpy(part.targets["topic"]).long()
    ids = [
        torch.from_numpy(rows.items[low:high].astype("int64") - FIRST_TOKEN)
        for low, high in pairwise(rows.starts)
    ]
    rate = encoder_lr(one)
    assert rate is not None
    groups: list[dict[str, Any]] = [
        {"params": [p for name, p in network.encoder.named_parameters() if "pooler" not in name],
         "lr": rate},
        {"params": [*network.trunk.parameters(), *network.head.parameters()]},
    ]  # fmt: skip
    optimizer = torch.optim.AdamW(groups, one.train.lr, weight_decay=one.train.weight_decay)
    n_steps = -(-len(part) // one.train.batch_size) * one.train.epochs
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=n_steps)
    streams = Streams(one.stream)
    for epoch in range(1, epochs + 1):
        streams.start(epoch)
        for batch in streams.permutation("order", len(part)).split(one.train.batch_size):
            loss = nn.functional.cross_entropy(network([ids[row] for row in batch]), target[batch])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()


def test_all_of_it_trains_like_a_plain_loop_of_transformers() -> None:
    """Two members with rates of their own for the encoder, float64, 10 steps."""
    one, prepared = case(tiny_folder(), "full", dropout=0.0)
    some = [
        with_train(one, 0, encoder_lr=1e-3, weight_decay=0.1),
        with_train(one, 1, encoder_lr=None, lr=1e-2),
    ]
    population = Population(some, prepared, torch.float64)
    networks = [Stock(population, k, tiny_folder()) for k in range(2)]
    for epoch in (1, 2):
        population.train_epoch(epoch)
    for k, (network, member) in enumerate(zip(networks, some, strict=True)):
        trained_by_stock(network, member, prepared, 2)
        found = population.state.named(population.state.snapshot()[k])
        prefix = "readers.pretrained.0.layers.model-"
        own = {key.removeprefix(prefix).replace("-", "."): value for key, value in found.items()
               if key.startswith(prefix)}  # fmt: skip
        expected = dict(network.encoder.named_parameters())
        assert own.keys() == {name for name in expected if "pooler" not in name}
        for name, value in own.items():
            torch.testing.assert_close(
                torch.from_numpy(value), expected[name].detach(), rtol=0, atol=1e-9
            )
        head = torch.from_numpy(found["heads.weight"]).T
        torch.testing.assert_close(head, network.head.weight.detach(), rtol=0, atol=1e-9)


def losses(one: Member, prepared: Prepared) -> tuple[list[float], float]:
    """Returns the train loss of each epoch, and the best valid score."""
    found: list[float] = []

    def note(results: list[EpochResult]) -> dict[int, Any]:
        found.append(results[0].losses["topic"])
        return {}

    score = train([one], prepared, note)[0].score
    assert score is not None
    return found, score


@pytest.mark.parametrize("finetune", ["last_n", "lora"])
def test_the_real_encoder_fits_better_trained_than_frozen(finetune: str) -> None:
    """In 32 steps of 16 documents on the last two layers; all else is the same.

    Topics are so plain here that valid says little: it is no worse.
    """
    frozen, valid = losses(*case(model_folder(), "none"))
    one, prepared = case(model_folder(), finetune, layers=2)
    tuned, tuned_valid = losses(with_train(one, 0, encoder_lr=5e-4), prepared)
    assert len(tuned) == len(frozen) == 8
    assert tuned[-1] < frozen[-1] - 0.02, (tuned, frozen)
    assert tuned_valid >= valid - 0.1


def test_the_best_epoch_is_kept_with_its_layers() -> None:
    one, prepared = case(tiny_folder(), "last_n", layers=1)
    result = train([with_train(one, 0, encoder_lr=0.01)], prepared)[0]
    assert result.best_epoch
    again = Population([with_train(one, 0, encoder_lr=0.01)], prepared)
    for epoch in range(1, result.best_epoch + 1):
        again.train_epoch(epoch)
    expected = again.state.named(again.state.snapshot()[0])
    assert expected.keys() == result.parameters.keys()
    for name, value in expected.items():
        torch.testing.assert_close(
            torch.from_numpy(value), torch.from_numpy(result.parameters[name])
        )


def test_members_with_pretrained_layers_train_one_by_one() -> None:
    one, _ = case(tiny_folder(), "lora", rank={"choices": [2, 4]})
    assert gains_nothing(one)
    assert [len(array) for array in arrays_of([one, with_train(one, 1)], 8)] == [1, 1]
    frozen, _ = case(tiny_folder(), "none")
    assert not gains_nothing(frozen)


def test_members_join_and_leave_with_their_own_layers() -> None:
    one, prepared = case(tiny_folder(), "lora", rank=2)

    def make(number: int) -> Member:
        return with_train(one, number, encoder_lr=0.01)

    population = Population([make(0)], prepared, torch.float64)
    population.train_epoch(1)
    population.add([make(1)])
    population.train_epoch(2)
    population.keep(torch.tensor([1]))
    population.train_epoch(3)
    alone = Population([make(1)], prepared, torch.float64)
    alone.train_epoch(2)
    alone.train_epoch(3)
    torch.testing.assert_close(
        population.state.parameters, alone.state.parameters, rtol=0, atol=1e-9
    )


def test_the_rate_of_an_encoder_has_a_default_for_each_way() -> None:
    for finetune, rate in (("none", None), ("last_n", 5e-5), ("full", 5e-5), ("lora", 5e-4)):
        one, _ = case(tiny_folder(), finetune)
        assert encoder_lr(one) == rate
    assert encoder_lr(with_train(one, 0, encoder_lr=0.1)) == 0.1
