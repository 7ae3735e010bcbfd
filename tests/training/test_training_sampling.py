"""How often the rows of each source stand in an epoch, and what training makes of it."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from training_data import make_prepared, member, only, with_train

from pipeline.data.prepared import Prepared
from pipeline.errors import TrainingError
from pipeline.study.train_spec import SamplingSpec
from pipeline.training.members import arrays_of, structure_of
from pipeline.training.population import Population
from pipeline.training.sampling import Order, rows_shown
from pipeline.training.streams import Streams

SIZES = st.lists(st.integers(1, 10_000), min_size=1, max_size=6)
EXPONENTS = st.floats(0, 1)
FEW = st.lists(st.integers(1, 40), min_size=2, max_size=4)
WARM = SamplingSpec(temperature=2)


@given(SIZES, EXPONENTS)
def test_an_epoch_keeps_its_length_and_every_source_its_share(
    sizes: list[int], exponent: float
) -> None:
    shown = rows_shown(sizes, exponent)
    shares = np.array([size**exponent for size in sizes])
    assert sum(shown) == sum(sizes)
    assert np.abs(np.array(shown) - sum(sizes) * shares / shares.sum()).max() < 1
    assert min(shown) >= 1


@given(SIZES)
def test_the_ends_are_the_sizes_and_equal_numbers(sizes: list[int]) -> None:
    assert rows_shown(sizes, 1) == sizes
    uniform = rows_shown(sizes, 0)
    assert max(uniform) - min(uniform) <= 1


@given(st.lists(st.integers(1, 60), min_size=2, max_size=5))
def test_temperature_two_is_like_the_roots_of_the_sizes(roots: list[int]) -> None:
    sizes = [root**2 for root in roots]
    exact = [Fraction(sum(sizes) * root, sum(roots)) for root in roots]
    for shown, quota in zip(rows_shown(sizes, 1 / 2), exact, strict=True):
        assert int(quota) <= shown <= int(quota) + 1
        assert quota.denominator > 1 or shown == quota


def test_shares_by_hand() -> None:
    assert rows_shown([900, 100], 1 / 2) == [750, 250]
    assert rows_shown([8, 1], 1 / 3) == [6, 3]
    assert rows_shown([9, 1, 1], 0) == [4, 4, 3]  # of equal remainders the first


def numbered(sizes: list[int], seed: int) -> np.ndarray:
    """Numbers sources whose rows lie in any order; one number has no row."""
    numbers = np.repeat(np.arange(1, len(sizes) + 1, dtype=np.int32), sizes)
    return np.random.default_rng(seed).permutation(numbers)


def drawn(order: Order, epoch: int = 1, seed: int = 0) -> torch.Tensor:
    streams = Streams(seed)
    streams.start(epoch)
    return order.draw(streams, "order")


@given(FEW, EXPONENTS, st.integers(0, 99))
def test_the_rows_of_a_source_stand_equally_often(
    sizes: list[int], exponent: float, seed: int
) -> None:
    sources = numbered(sizes, seed)
    order = Order(len(sources), sources, exponent)
    times = np.bincount(drawn(order, seed=seed), minlength=len(sources))
    shown = [int(times[sources == number].sum()) for number in range(1, len(sizes) + 1)]
    assert shown == rows_shown(sizes, exponent)
    for number in range(1, len(sizes) + 1):
        assert np.ptp(times[sources == number]) <= 1
    torch.testing.assert_close(drawn(order, seed=seed), drawn(order, seed=seed), rtol=0, atol=0)


def test_epochs_leave_out_different_rows_until_all_were_seen() -> None:
    order = Order(100, np.repeat(np.int32([0, 1]), [90, 10]), exponent=0)
    seen = [set(drawn(order, epoch).tolist()) for epoch in range(1, 21)]
    assert len(seen[0]) == len(seen[1]) == 60
    assert seen[0] != seen[1]
    assert set.union(*seen) == set(range(100))


def test_a_batch_has_the_mix_on_average() -> None:
    """Counts in batches are those of drawing without return: within 5 standard deviations."""
    sources = np.repeat(np.int32([0, 1]), [1800, 200])
    order = drawn(Order(2000, sources, exponent=0)).numpy()
    counts = [int(sources[batch].sum()) for batch in np.split(order, 20)]
    assert sum(counts) == 1000
    assert max(abs(count - 50) for count in counts) < 25
    assert len(set(counts)) > 3  # shuffled, not dealt


@pytest.mark.parametrize("sources", [None, np.repeat(np.int32([0, 1]), [90, 10])])
def test_the_proportional_order_is_the_plain_permutation(sources: np.ndarray | None) -> None:
    streams = Streams(0)
    streams.start(1)
    plain = streams.permutation("order", 100)
    assert drawn(Order(100, sources)).tolist() == plain.tolist()
    if sources is None:
        assert drawn(Order(100, sources, 0.5)).tolist() == plain.tolist()


# --- in training ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def two() -> Prepared:
    """Rows of two sources, whose tasks they do not share."""
    data = only(make_prepared(), "bought", "colour")
    part = data.parts["train"]
    far = np.arange(len(part)) >= 120
    targets = {
        "bought": np.where(far, np.nan, part.targets["bought"]).astype(np.float32),
        "colour": np.where(far, part.targets["colour"], np.nan).astype(np.float32),
    }
    return with_train(data, targets=targets, sources=far.astype(np.int32))


def trained(data: Prepared, *settings: dict) -> Population:
    members = [member(n, weights=(1.0, 1.0), **values) for n, values in enumerate(settings)]
    population = Population(members, data, torch.float64)
    for epoch in (1, 2):
        population.train_epoch(epoch)
    return population


@pytest.mark.parametrize("sampling", ["uniform", WARM])
def test_each_member_equals_the_same_member_alone(two: Prepared, sampling: object) -> None:
    settings = [{"dropout": 0.4, "sampling": sampling}, {"lr": 3e-2, "sampling": sampling}]
    together = trained(two, *settings).state.snapshot()
    alone = trained(two, settings[0]).state.snapshot()
    torch.testing.assert_close(together[0], alone[0], rtol=0, atol=1e-9)


def test_a_mix_trains_the_small_source_more_often(two: Prepared) -> None:
    population = Population([member(weights=(1.0, 1.0), sampling="uniform")], two)
    n_labelled = torch.zeros(2)
    for _, labelled, _ in population.steps_of_epoch(1):
        assert labelled is not None
        n_labelled += labelled
    assert n_labelled[0] == 75  # of 150 rows; each of the 120 has a label
    present = int(np.isfinite(two.parts["train"].targets["colour"]).sum())
    rows = drawn(Order(150, two.parts["train"].sources, 0), seed=7)
    expected = torch.from_numpy(two.parts["train"].targets["colour"])[rows].isfinite().sum()
    assert n_labelled[1] == expected > 2 * present


def test_the_proportional_mix_trains_as_if_nobody_numbered_the_sources(two: Prepared) -> None:
    unnumbered = with_train(two, sources=None)
    for sampling in ("proportional", SamplingSpec(temperature=1)):
        found = trained(two, {"sampling": sampling}).state.snapshot()
        plain = trained(unnumbered, {}).state.snapshot()
        torch.testing.assert_close(found, plain, rtol=0, atol=0)


def test_members_of_one_array_share_the_mix(two: Prepared) -> None:
    mixes = ["proportional", WARM, SamplingSpec(temperature=3)]
    plain, warm, warmer = (member(weights=(1.0, 1.0), sampling=mix) for mix in mixes)
    assert len(arrays_of([plain, warm, warmer], 8)) == 3
    assert structure_of(plain) == structure_of(member(9, sampling=SamplingSpec(temperature=1)))
    with pytest.raises(TrainingError, match="one structure"):
        Population([plain, warm], two)


def test_a_look_at_gradients_has_the_mix(two: Prepared) -> None:
    one = member(weights=(1.0, 1.0), sampling="uniform", batch_size=150)
    population = Population([one], two)
    seen = []
    batches = population.rows.batches

    def watched(order: torch.Tensor, batch_size: int):
        seen.append(order)
        return batches(order, batch_size)

    population.rows.batches = watched  # type: ignore[method-assign]
    population.streams.start(1)
    population.gramian()
    assert int((seen[0] >= 120).sum()) == 75
