import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor
from training_data import member

from pipeline.data.prepared import Prepared
from pipeline.study.train_spec import AugmentSpec
from pipeline.training.augmentation import Augmentation, draw_mixing, hide_codes, perturb
from pipeline.training.population import Population
from pipeline.training.streams import Streams


def of(**rates: list[float]) -> Augmentation:
    """Makes the rates of as many members as each list is long."""
    specs = [
        AugmentSpec(**dict(zip(rates, row, strict=True)))
        for row in zip(*rates.values(), strict=True)
    ]
    return Augmentation.of(specs, torch.float64)


def started(epoch: int = 1) -> Streams:
    streams = Streams(3)
    streams.start(epoch)
    return streams


def test_noise_has_the_deviation_of_each_member() -> None:
    numeric = torch.randn(4000, 5, dtype=torch.float64)
    changed = perturb(numeric, of(noise=[0.0, 0.3, 2.0]), started())
    assert torch.equal(changed[0], numeric)
    for k, deviation in ((1, 0.3), (2, 2.0)):
        noise = (changed[k] - numeric).flatten().numpy()
        assert noise.std() == pytest.approx(deviation, rel=0.03)
        assert stats.kstest(noise / deviation, "norm").pvalue > 0.01


def test_numbers_and_categories_are_hidden_at_the_rate_of_each_member() -> None:
    rates = of(drop=[0.0, 0.2, 0.7])
    numeric = torch.ones(4000, 5, dtype=torch.float64)
    codes = torch.full((4000, 3), 4, dtype=torch.int32)
    hidden = perturb(numeric, rates, started()) == 0
    coded = hide_codes(codes, rates, started())
    assert set(coded.unique().tolist()) == {1, 4}
    for k, rate in enumerate((0.0, 0.2, 0.7)):
        assert float(hidden[k].double().mean()) == pytest.approx(rate, abs=0.01)
        assert float((coded[k] == 1).double().mean()) == pytest.approx(rate, abs=0.015)
    # Columns are hidden on their own: two at once by chance only.
    both = float((hidden[1][:, 0] & hidden[1][:, 1]).double().mean())
    assert both == pytest.approx(0.2**2, abs=0.01)


def test_without_rates_nothing_is_drawn_or_copied() -> None:
    numeric, codes = torch.randn(6, 2), torch.ones(6, 1).int()
    none = of(noise=[0.0], drop=[0.0], mixup=[0.0])
    assert (none.noise, none.drop, none.mixup) == (None, None, None)
    assert perturb(numeric, none, started()) is numeric
    assert hide_codes(codes, none, started()) is codes
    assert draw_mixing(none, 6, started()) is None


@pytest.mark.parametrize("alpha", [0.2, 1.0, 4.0])
def test_mixing_shares_are_beta_distributed(alpha: float) -> None:
    rates, streams = of(mixup=[0.0, alpha]), started()
    shares = []
    for _ in range(3000):
        mixing = draw_mixing(rates, 4, streams)
        assert mixing is not None
        assert float(mixing.share[0]) == 1
        shares.append(float(mixing.share[1]))
    drawn = np.random.default_rng(0).beta(alpha, alpha, 3000)
    assert stats.ks_2samp(shares, drawn).pvalue > 0.01
    assert np.mean(shares) == pytest.approx(0.5, abs=0.03)


def test_mixing_is_a_weighted_mean_of_two_rows() -> None:
    mixing = draw_mixing(of(mixup=[0.0, 1.0]), 6, started())
    assert mixing is not None
    assert sorted(mixing.other.tolist()) == list(range(6))
    features = torch.randn(2, 6, 3, dtype=torch.float64)
    share = float(mixing.share[1])
    expected = share * features[1] + (1 - share) * features[1][mixing.other]
    mixed = mixing.mix(features)
    torch.testing.assert_close(mixed[1], expected)
    assert torch.equal(mixed[0], features[0])


def test_mixed_rows_have_the_mixed_loss_of_both_labels(complete: Prepared) -> None:
    population = Population([member(0, mixup=1.0)], complete, torch.float64)
    numeric, codes, targets, _ = next(population.rows.batches(torch.arange(20), 20))
    mixing = draw_mixing(population.own.augmentation, 20, started())
    assert mixing is not None
    features = mixing.mix(population.model.encode(numeric, codes))
    outputs = population.model.decide(features)
    losses, labelled = population._losses(outputs, targets, population.own.smoothing, mixing)
    share = float(mixing.share)
    assert labelled is None  # every row is

    def mean_loss(which: int, target: Tensor) -> Tensor:
        kind = population.kinds[which]
        own = torch.split(outputs, [kind.width for kind in population.kinds], dim=1)[which]
        return kind.row_loss(own.mT, target, population.own.smoothing).mean()

    for t, target in enumerate(group[:, 0] for group in targets):
        expected = share * mean_loss(t, target) + (1 - share) * mean_loss(t, target[mixing.other])
        torch.testing.assert_close(losses[0, t], expected)


# --- streams -------------------------------------------------------------------------------------


def test_a_stream_is_known_by_seed_epoch_and_place() -> None:
    def draw(seed: int, epoch: int, site: str) -> Tensor:
        streams = Streams(seed)
        streams.start(epoch)
        return streams.uniform(site, (4,))

    first = draw(1, 1, "trunk.0")
    assert torch.equal(first, draw(1, 1, "trunk.0"))
    for other in (draw(2, 1, "trunk.0"), draw(1, 2, "trunk.0"), draw(1, 1, "trunk.1")):
        assert not torch.equal(first, other)


def test_one_stream_does_not_shift_another() -> None:
    streams = started()
    streams.normal("augment.noise", (100,))
    streams.permutation("augment.mixup.rows", 10)
    assert torch.equal(streams.uniform("trunk.0", (4,)), started().uniform("trunk.0", (4,)))
    assert not torch.equal(streams.uniform("trunk.0", (4,)), started().uniform("trunk.0", (4,)))


def test_an_epoch_can_be_drawn_without_those_before() -> None:
    streams = started(1)
    streams.permutation("order", 50)
    streams.start(2)
    assert torch.equal(streams.permutation("order", 50), started(2).permutation("order", 50))


def test_batches_and_noise_do_not_depend_on_the_population(prepared: Prepared) -> None:
    def drawn(n_members: int) -> list[Tensor]:
        population = Population([member(k, dropout=0.5) for k in range(n_members)], prepared)
        found: list[Tensor] = []
        for name in ("uniform", "permutation"):
            original = getattr(population.streams, name)

            def watched(*args: object, original=original) -> Tensor:  # type: ignore[no-untyped-def]
                found.append(original(*args))
                return found[-1]

            setattr(population.streams, name, watched)
        population.train_epoch(1)
        return found

    one, many = drawn(1), drawn(5)
    assert len(one) == len(many) == 1 + 5 * 2  # the order, and two layers in each of five steps
    assert all(torch.equal(a, b) for a, b in zip(one, many, strict=True))


def test_indicators_of_missing_values_stay_as_they_are() -> None:
    numbers = torch.randn(50, 3, dtype=torch.float64)
    flags = torch.randint(0, 2, (50, 2)).double()
    numeric = torch.cat([numbers, flags], dim=1)
    rates = of(noise=[0.5, 1.0], drop=[0.3, 0.6])
    changed = perturb(numeric, rates, started(), n_numbers=3)
    assert changed.shape == (2, 50, 5)
    assert not torch.equal(changed[0, :, :3], numeric[:, :3])
    for one in changed:
        assert torch.equal(one[:, 3:], numeric[:, 3:])
    assert torch.equal(changed[:, :, :3], perturb(numeric[:, :3], rates, started()))
