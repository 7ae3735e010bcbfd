"""A pretrained decoder in training: members, cached states, tasks beside it."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from seq_cases import STUDY, gists, seq_folder

from pipeline.data.assembling import build_prepared
from pipeline.data.prepared import Prepared
from pipeline.driver.trials import make_member
from pipeline.study.loading import parse_study
from pipeline.training.loop import train
from pipeline.training.members import Member, arrays_of, gains_nothing
from pipeline.training.population import Population


def case(kind: str, finetune: str = "none", **values: Any) -> tuple[Member, Prepared]:
    settings = {"model.encoder.path": str(seq_folder(kind)), "model.encoder.finetune": finetune}
    study = parse_study(STUDY, overrides={**settings, **values})
    prepared = build_prepared(study.spec, {"notes": gists()}, {})
    return make_member(study, prepared, 0, {}), prepared


def with_train(one: Member, number: int, **values: Any) -> Member:
    return replace(one, number=number, seed=number, train=replace(one.train, **values))


@pytest.mark.parametrize(("kind", "finetune", "sharing"), [
    ("t5", "none", "shared_bottom"), ("bart", "full", "shared_bottom"), ("t5", "full", "separate"),
])  # fmt: skip
def test_members_that_write_equal_themselves_alone(kind: str, finetune: str, sharing: str) -> None:
    one, prepared = case(kind, finetune, **{
        "model.encoder.dropout": 0.2, "train.label_smoothing": 0.1, "model.sharing": sharing,
    })  # fmt: skip
    members = [with_train(one, 0), with_train(one, 1, encoder_lr=1e-3),
               replace(with_train(one, 2), weights=(1.0, 0.0))]  # fmt: skip
    assert gains_nothing(one)
    assert [len(array) for array in arrays_of(members, 8)] == [1, 1, 1]
    together = train(members, prepared)
    for member, found in zip(members, together, strict=True):
        (alone,) = train([member], prepared)
        assert alone.score == pytest.approx(found.score)
        for name, values in alone.parameters.items():
            np.testing.assert_allclose(found.parameters[name], values, atol=2e-4, err_msg=name)


def test_computed_states_are_those_of_an_encoder_that_does_not_move() -> None:
    """Of float16, so the loss differs in the fourth digit."""
    losses = []
    for finetune in ("none", "full"):
        one, prepared = case("t5", finetune, **{"model.encoder.dropout": 0.0})
        population = Population([one], prepared)
        state = population.state
        with torch.no_grad():
            features = population.model.encode(*inputs_of(population, prepared))
            outputs = population.model.decide(features, words=words_of_all(population, prepared))
        losses.append(outputs[0, 3])  # the topics have three outputs
        assert any("readers" in name for name, _ in state.model.named_parameters()) == (
            finetune == "full"
        )
    torch.testing.assert_close(losses[0], losses[1], atol=5e-3, rtol=0)
    assert bool((losses[0] > 0).all())


def inputs_of(population: Population, prepared: Prepared) -> Any:
    part = prepared.parts["train"]
    rows = torch.arange(len(part))
    numeric, codes, _, texts = next(population.rows.batches(rows, len(part)))
    return numeric, codes, texts


def words_of_all(population: Population, prepared: Prepared) -> Any:
    part = prepared.parts["train"]
    _, _, targets, _ = next(population.rows.batches(torch.arange(len(part)), len(part)))
    return population._pass.words(targets, population.own)


def test_the_decoder_has_the_rate_of_pretrained_layers_and_the_trunk_its_own() -> None:
    one, prepared = case("t5", "none", **{"train.encoder_lr": 1e-3})
    population = Population([one], prepared)
    assert population.own.lr_shares is not None
    for name in ("generators.0.layers.", "generators.0.say", "sharing."):
        shares = population.own.lr_shares[0][population.state.columns(name)]
        expected = torch.full_like(shares, 0.1 if "layers" in name else 1.0)
        assert len(shares)
        torch.testing.assert_close(shares, expected)
    default, _ = case("t5", "none")
    shares = Population([with_train(default, 0, encoder_lr=None)], prepared).own.lr_shares
    assert shares is not None
    assert float(shares.min()) == pytest.approx(5e-5 / 0.01)


def test_it_learns_to_write_and_what_others_learn_stays_theirs() -> None:
    one, prepared = case("bart", "none", **{"train.epochs": 25, "model.encoder.dropout": 0.0})
    found: list[float] = []

    def note(results: Any) -> dict[int, Any]:
        found.append(results[0].losses["gist"])
        return {}

    result = train([one], prepared, note)[0]
    assert found[-1] < found[0] / 2
    assert result.evaluation is not None
    (alone,) = train([replace(one, weights=(1.0, 0.0))], prepared)
    fresh = Population([one], prepared)
    start = fresh.state.named(fresh.state.snapshot()[0])
    for name, values in alone.parameters.items():
        if name.startswith("generators."):
            np.testing.assert_array_equal(values, start[name])
