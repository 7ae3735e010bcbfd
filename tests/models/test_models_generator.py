"""The decoder: chances sum to 1, scoring and writing agree, members are alone, a beam searches."""

import itertools

import pytest
import torch
from torch import Tensor

from pipeline.models.decoder import END, PAD, UNKNOWN
from pipeline.models.generator import Generator, GeneratorShape
from pipeline.models.layers import MemberLayer
from pipeline.models.source_words import Reading, first_places
from pipeline.models.trunk import Rates
from pipeline.training.streams import Streams

SHAPE = GeneratorShape(vocabulary=7, read=5, write=4, width=6, beam=1)
SOURCE = torch.tensor([[3, 9, 4, 9, 0], [12, 11, 12, 3, 5], [0, 0, 0, 0, 0]])


def made(n_members: int, shape: GeneratorShape = SHAPE, seed: int = 0) -> Generator:
    generator = Generator(n_members, shape, torch.float64)
    for member in range(n_members):
        random = torch.Generator().manual_seed(seed + member)
        for module in generator.modules():
            if isinstance(module, MemberLayer):
                module.initialise(member, random)
        with torch.no_grad():
            generator.output.weight[member].mul_(4)
    return generator


def opening(n_members: int) -> Tensor:
    return torch.randn(
        n_members, 3, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(9)
    )


def candidates(
    generator: Generator, state: Tensor, word: Tensor, reading: Reading, most: int
) -> tuple[Tensor, Tensor, Tensor]:
    return generator.candidates(state, word, reading, first_places(reading.words), most)


def test_the_chances_of_all_words_sum_to_one() -> None:
    generator = made(2)
    reading = generator.read(SOURCE)
    state = generator.begin(opening(2), reading)
    none = torch.zeros(2, 3, dtype=torch.int64)
    embedded = generator.words(none[:, :, None])
    moved = generator.step(state, generator.of_word(embedded.squeeze(2)))
    mixed, attention, writes = generator.look(
        moved.unsqueeze(2), embedded, none[:, :, None], reading
    )
    assert torch.allclose(attention.sum(-1), torch.ones(2, 3, 1, dtype=torch.float64))
    _, log_chance, words = candidates(generator, state, none, reading, SHAPE.vocabulary)
    whole = log_chance.exp().sum(-1)
    logits = generator.output(mixed.squeeze(2))
    never = writes[:, :, 0] * logits.softmax(-1)[..., [PAD, UNKNOWN]].sum(-1)
    pads = (1 - writes[:, :, 0]) * (attention[:, :, 0] * (SOURCE == PAD)).sum(-1)
    torch.testing.assert_close(whole, 1 - never - pads, atol=1e-6, rtol=0)
    possible = log_chance > -20
    for row in range(3):  # no word is a candidate twice
        found = words[0, row][possible[0, row]].tolist()
        assert len(found) == len(set(found))


def test_few_candidates_hold_the_likeliest_words() -> None:
    generator = made(2)
    reading = generator.read(SOURCE)
    state, word = generator.begin(opening(2), reading), torch.full((2, 3), 3)
    _, every, words = candidates(generator, state, word, reading, SHAPE.vocabulary)
    for most in (1, 2, 3):
        _, few, own = candidates(generator, state, word, reading, most)
        assert few.shape == (2, 3, most + SHAPE.read)
        best, wanted = few.topk(most, dim=2), every.topk(most, dim=2)
        torch.testing.assert_close(best.values, wanted.values)
        assert (own.gather(2, best.indices) == words.gather(2, wanted.indices)).all()


def test_scoring_a_text_gives_the_chances_of_writing_it() -> None:
    generator, start = made(2), opening(2)
    target = torch.tensor([[9, 4, END, PAD], [12, 11, 3, END], [3, END, PAD, PAD]])
    scored = generator.score(start, SOURCE, target)
    assert (scored[..., SHAPE.write :][:, target == PAD] == 0).all()
    reading = generator.read(SOURCE)
    state = generator.begin(start, reading)
    word = torch.zeros(2, 3, dtype=torch.int64)
    for position in range(SHAPE.write):
        state, chance, words = candidates(generator, state, word, reading, SHAPE.vocabulary)
        for row, wanted in enumerate(target[:, position].tolist()):
            if wanted != PAD:
                found = chance.masked_fill(words != wanted, -100)[:, row].amax(-1)
                torch.testing.assert_close(found, scored[:, row, position])
        word = target[:, position].expand(2, -1)


def test_rows_without_words_cost_nothing_and_change_nothing() -> None:
    """Of a batch of several sources only the rows of this task are read, to their own lengths."""
    generator, start = made(2), opening(2)
    target = torch.tensor([[9, 4, END, PAD], [0, 0, 0, 0], [3, END, PAD, PAD]])
    rates = Rates(Streams(0, torch.float64), head=torch.tensor([0.0, 0.5]).reshape(2, 1, 1))
    whole = generator.losses(start, SOURCE, target, None)
    assert whole.shape == (2, 3, 2)
    assert (whole[:, 1] == 0).all()
    for row in (0, 2):
        one = generator.losses(
            start[:, row : row + 1], SOURCE[row : row + 1], target[row : row + 1], None
        )
        torch.testing.assert_close(one[:, 0], whole[:, row])
        scores = -generator.score(start[:, row : row + 1], SOURCE[row : row + 1], target[[row]])
        n_words = int((target[row] != PAD).sum())
        for part in (0, 1):
            low = part * SHAPE.write
            mean = scores[:, 0, low : low + n_words].mean(1)
            torch.testing.assert_close(mean, whole[:, row, part])
    rates.noise.start(1)
    dropped = generator.losses(start, SOURCE, target, rates)
    torch.testing.assert_close(dropped[0], whole[0])  # the member that drops nothing
    assert (dropped[1, [0, 2], 0] != whole[1, [0, 2], 0]).all()
    assert (generator.losses(start, SOURCE, torch.zeros_like(target), rates) == 0).all()


def test_a_member_equals_itself_alone() -> None:
    together, start = made(3), opening(3)
    target = torch.tensor([[9, END, 0, 0], [12, 11, 3, END], [3, END, 0, 0]])
    scores, texts = together.score(start, SOURCE, target), together.write(start, SOURCE, 2)
    for member in range(3):
        alone = made(1, seed=member)
        one = start[member : member + 1]
        torch.testing.assert_close(alone.score(one, SOURCE, target)[0], scores[member])
        assert (alone.write(one, SOURCE, 2)[0] == texts[member]).all()


def test_a_row_does_not_depend_on_the_rows_beside_it() -> None:
    generator, start = made(2), opening(2)
    whole = generator.write(start, SOURCE, 3)
    for row in range(3):
        one = generator.write(start[:, row : row + 1], SOURCE[row : row + 1], 3)
        assert (one[:, 0] == whole[:, row]).all()


def test_no_rows_have_no_texts() -> None:
    found = made(2).write(opening(2)[:, :0], SOURCE[:0], 2)
    assert found.shape == (2, 0, SHAPE.write)


def test_a_wide_beam_finds_the_likeliest_text() -> None:
    shape = GeneratorShape(vocabulary=5, read=2, write=3, width=6, beam=64)
    generator = made(1, shape)
    source, start = torch.tensor([[3, 8]]), opening(1)[:, :1]
    best, likeliest = -1e9, None
    words = [END, 3, 4, 8]
    for length in range(1, 4):
        for text in itertools.product(words, repeat=length):
            ended = text[-1] == END
            if END in text[:-1] or (not ended and length < 3):
                continue
            padded = torch.tensor([[*text, *[PAD] * (3 - length)]])
            chances = generator.score(start, source, padded)[0, 0, :length]
            total = float(chances.sum().detach()) / ((5 + length) / 6) ** 0.8
            if total > best:
                best, likeliest = total, [word for word in text if word != END]
    found = [word for word in generator.write(start, source, 64)[0, 0].tolist() if word != PAD]
    assert found == likeliest


def test_gradients_reach_every_parameter_and_are_numbers() -> None:
    generator = made(2)
    target = torch.tensor([[9, 4, END, PAD], [12, 11, 3, END], [3, END, PAD, PAD]])
    (-generator.score(opening(2), SOURCE, target)[..., :4]).sum().backward()
    for name, parameter in generator.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize("beam", [1, 3])
def test_it_learns_to_copy_words_that_no_vocabulary_has(beam: int) -> None:
    shape = GeneratorShape(vocabulary=6, read=6, write=4, width=16, beam=beam)
    generator = made(1, shape)
    random = torch.Generator().manual_seed(3)
    optimizer = torch.optim.Adam(generator.parameters(), lr=0.02)

    def batch(n_rows: int) -> tuple[Tensor, Tensor]:
        source = torch.randint(6, 10_000, (n_rows, 6), generator=random)
        source[:, 0] = 3  # a mark, behind which stand the two words to copy
        turn = torch.randint(0, 3, (n_rows, 1), generator=random)
        source = source.gather(1, (torch.arange(6) - turn) % 6)
        target = torch.cat(
            [source.gather(1, turn + 1), source.gather(1, turn + 2),
             torch.full((n_rows, 1), END), torch.zeros(n_rows, 1, dtype=torch.int64)], dim=1,
        )  # fmt: skip
        return source, target

    zero = torch.zeros(1, 64, 16, dtype=torch.float64)
    for _ in range(150):
        source, target = batch(64)
        loss = -(generator.score(zero, source, target)[..., :4] * (target != PAD)).sum()
        optimizer.zero_grad()
        (loss / 64).backward()
        optimizer.step()
    source, target = batch(64)
    found = generator.write(zero, source, beam)[0]
    right = (found[:, :2] == target[:, :2]).all(1) & (found[:, 2:] == PAD).all(1)
    assert right.float().mean() > 0.9
