"""Changes of tokens: their rates, what they leave, and where they are refused."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from text_cases import STUDY
from torch import Tensor

from pipeline.errors import StudyError
from pipeline.models.texts import Texts
from pipeline.study.loading import parse_study
from pipeline.study.train_spec import AugmentSpec
from pipeline.training.augmentation import Augmentation
from pipeline.training.streams import Streams
from pipeline.training.text_augmentation import disturb


def documents(lengths: list[int], width: int = 32) -> Tensor:
    """Returns tokens that tell their place: 2, 3, 4, ..."""
    place = torch.arange(width)
    return torch.where(place < torch.tensor(lengths)[:, None], place + 2, 0)


def changed(tokens: Tensor, *rates: dict[str, float]) -> Tensor:
    streams = Streams(5)
    streams.start(1)
    rates_ = Augmentation.of([AugmentSpec(**rate) for rate in rates], torch.float32)
    return disturb(Texts({"bag": tokens}), rates_, streams).tokens["bag"]


def test_without_rates_nothing_is_copied() -> None:
    texts = Texts({"bag": documents([3])})
    assert disturb(texts, Augmentation.of([AugmentSpec()], torch.float32), Streams(0)) is texts


@pytest.mark.parametrize("name", ["word_dropout", "swap", "deletion"])
def test_each_member_has_its_own_rate(name: str) -> None:
    tokens = documents([32] * 2000)
    found = changed(tokens, *({name: rate} for rate in (0.0, 0.2, 0.6)))
    assert torch.equal(found[0], tokens)
    for k, rate in ((1, 0.2), (2, 0.6)):
        if name == "deletion":
            share = (found[k] == 0).double().mean()
        else:
            share = (found[k] != tokens).double().mean()
        # Of an even number of places the two at the ends have no neighbour half of the time.
        wanted = rate * (1 - 1 / 32) if name == "swap" else rate
        assert float(share) == pytest.approx(wanted, abs=0.015)


@given(
    lengths=st.lists(st.integers(0, 32), min_size=1, max_size=5),
    rates=st.tuples(*[st.floats(0, 0.99)] * 3),
)
def test_documents_stay_documents(lengths: list[int], rates: tuple[float, float, float]) -> None:
    tokens = documents(lengths)
    names = ("word_dropout", "swap", "deletion")
    found = changed(tokens, dict(zip(names, rates, strict=True)), {}).expand(2, *tokens.shape)
    assert torch.equal(found[1], tokens)  # a member without rates
    for row, n in zip(found[0], lengths, strict=True):
        left = row[row != 0].tolist()
        assert row.tolist() == left + [0] * (32 - len(left))
        assert min(n, 1) <= len(left) <= n
        known = [token for token in left if token != 1]
        assert len(set(known)) == len(known)
        assert set(known) <= set(range(2, n + 2))


def test_what_is_deleted_leaves_the_rest_in_order() -> None:
    found = changed(documents([32] * 50), {"deletion": 0.5})[0]
    for row in found:
        left = row[row != 0]
        assert torch.equal(left, left.sort().values)


def test_a_swap_is_one_of_neighbours() -> None:
    tokens = documents([31] * 200)
    found = changed(tokens, {"swap": 0.5})[0]
    assert torch.equal(found.sort(1).values, tokens.sort(1).values)
    assert int((found - tokens).abs().max()) == 1


@pytest.mark.parametrize("rate", ["word_dropout", "swap", "deletion"])
@pytest.mark.parametrize("kind", ["tfidf", ["tfidf", "bag"]])
def test_frozen_vectors_cannot_be_changed(rate: str, kind: object) -> None:
    changes = {"model.encoder.kind": kind, f"train.augment.{rate}": {"low": 0.0, "high": 0.2}}
    with pytest.raises(StudyError) as caught:
        parse_study(STUDY, overrides=changes)
    said = str(caught.value)
    assert f"`train.augment.{rate}` cannot change what `tfidf` reads" in said
    assert "`bag`, `transformer`" in said
    assert "Found 0.2" in said


def test_texts_are_changed_only_where_there_are_some() -> None:
    bag = STUDY.replace("{width: 16}", "{kind: bag}")
    study = parse_study(bag, overrides={"train.augment.swap": {"low": 0.0, "high": 0.2}})
    assert study.spec.train.augment.swap == 0.1
    text = bag.replace(", text: body", "").replace("model: {encoder: {kind: bag}, ", "model: {")
    with pytest.raises(StudyError, match=r"swap` is not read: no source has `text`"):
        parse_study(text, overrides={"train.augment.swap": 0.1})
