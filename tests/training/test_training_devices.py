"""A population on another device: everything that trains is there, and learns what a CPU learns."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import stand_in
import torch
from stand_in import DEVICE, watch
from training_data import make_prepared, member

from pipeline.data.prepared import Prepared
from pipeline.errors import InputError
from pipeline.study.catalogue import names
from pipeline.training import devices, placement
from pipeline.training.calibration import seconds_per_step
from pipeline.training.devices import CPU, find_device, is_out_of_memory
from pipeline.training.loop import Answer, train, train_epochs
from pipeline.training.members import Member, Stop, Trained, architecture_of
from pipeline.training.placement import Placed
from pipeline.training.population import Population
from pipeline.training.predict import predict_member

EVERYTHING = {
    "dropout": 0.2, "dropout_input": 0.1, "dropout_head": 0.1, "head_layers": [6], "norm": "batch",
    "mixup": 0.3, "noise": 0.1, "drop": 0.1, "label_smoothing": 0.1, "clip": 1.0, "l1": 0.01,
    "l2": 0.01, "weight_decay": 0.1, "warmup_epochs": 1.0,
}  # fmt: skip
SHARINGS = [name for name in names("sharing") if ":" not in name]
STRATEGIES = [name for name in names("strategy") if not name.startswith("balance:")]
CASES: dict[str, dict[str, Any]] = {
    "plain": {},
    "everything": EVERYTHING,
    **{f"optimizer {name}": {"optimizer": name} for name in names("optimizer")},
    **{f"sharing {name}": {"sharing": name, "dropout": 0.1} for name in SHARINGS},
    **{f"strategy {name}": {"strategy": name} for name in [*STRATEGIES, "balance:pcgrad"]},
    "one layer": {"layers": [4], "norm": "layer", "activation": "gelu", "dropout": 0.3},
}  # fmt: skip


def two(**values: Any) -> list[Member]:
    return [member(0, **values), member(1, **{**values, "lr": 3e-3, "weights": (2.0, 0, 1.0, 1.0)})]


def assert_alike(ours: list[Trained], theirs: list[Trained]) -> None:
    for one, other in zip(ours, theirs, strict=True):
        assert (one.state, one.epochs, one.best_epoch) == (
            other.state, other.epochs, other.best_epoch,
        )  # fmt: skip
        assert one.score == pytest.approx(other.score, abs=1e-5)
        for name, array in one.parameters.items():
            # A CPU updates one row after the other, other devices all at once.
            np.testing.assert_allclose(other.parameters[name], array, rtol=1e-3, atol=1e-4)


@pytest.fixture(scope="module")
def data() -> Prepared:
    return make_prepared()


@pytest.mark.parametrize("values", CASES.values(), ids=CASES.keys())
def test_a_population_trains_on_its_device_as_on_the_cpu(
    values: dict[str, Any], data: Prepared
) -> None:
    members = two(epochs=1, **values)
    with watch() as account:
        found = train(members, data, placed=Placed(data, DEVICE))
        assert account.ran["aten.baddbmm.default"] > 0  # it was there that they trained
    assert_alike(train(members, data), found)
    for one in found:
        assert {type(array) for array in one.parameters.values()} == {np.ndarray}


def test_members_that_join_and_leave_do_so_on_the_device(data: Prepared) -> None:
    members = two(**EVERYTHING)

    def run(placed: Placed) -> list[Trained]:
        epochs = train_epochs(members[:1], data, placed=placed)
        next(epochs)
        epochs.send(Answer(joining=members[1:]))
        ended = list(epochs.send(Answer({0: Stop("pruned", "")})).trained)
        try:
            while True:
                ended += epochs.send(Answer()).trained
        except StopIteration as stop:
            return ended + stop.value

    with watch():
        found = run(Placed(data, DEVICE))
    assert [one.state for one in found] == ["pruned", "complete"]
    assert_alike(run(Placed(data)), found)


def test_a_step_waits_for_nothing_that_the_device_computes(data: Prepared) -> None:
    """What comes back does not grow with the steps of an epoch."""
    back = {}
    for batch_size in (75, 15):
        with watch() as account:
            train(two(epochs=1, batch_size=batch_size, **EVERYTHING), data,
                  placed=Placed(data, DEVICE))  # fmt: skip
            back[batch_size] = account.back.total()
    assert back[15] == back[75] > 0


def test_the_data_goes_to_the_device_once_for_all_arrays(data: Prepared) -> None:
    placed = Placed(data, DEVICE)
    rows = str((150, 5))  # the train rows' numbers
    with watch() as account:
        for _ in range(3):
            train(two(epochs=1), data, placed=placed)
        assert account.sent[rows] == 1


def test_data_that_does_not_fit_stays_and_travels_in_blocks(
    data: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    members = two(epochs=2)
    room = {CPU: float("inf"), DEVICE: 1000.0}
    monkeypatch.setattr(placement, "free_bytes", room.__getitem__)
    with watch() as account:
        placed = Placed(data, DEVICE)
        assert placed.part("train").numeric.device == CPU
        found = train(members, data, placed=placed)
        assert account.sent[str((150, 5))] == 2  # once an epoch
    assert_alike(train(members, data), found)


def test_a_default_device_of_the_callers_changes_nothing(data: Prepared) -> None:
    members = two(epochs=2, **EVERYTHING)
    expected = train(members, data)
    torch.set_default_device("meta")
    try:
        found = train(members, data)
    finally:
        torch.set_default_device(None)
    for one, other in zip(expected, found, strict=True):
        for name, array in one.parameters.items():
            np.testing.assert_array_equal(other.parameters[name], array)


def test_the_noise_is_that_of_a_cpu(data: Prepared) -> None:
    streams = []
    with watch():
        for device in (CPU, DEVICE):
            population = Population(two(), data, placed=Placed(data, device))
            population.streams.start(3)
            drawn = [
                population.streams.uniform("trunk.0", (7, 5)),
                population.streams.normal("augment.noise", (4,)),
                population.streams.permutation("order", 150),
            ]
            assert {one.device.type for one in drawn} == {device.type}
            streams.append([one.cpu() for one in drawn])
    for ours, theirs in zip(*streams, strict=True):
        assert torch.equal(ours, theirs)


def test_a_model_answers_on_the_device(data: Prepared) -> None:
    (one,) = train([member(0)], data)
    shape = architecture_of(member(0), data)
    expected = predict_member(shape, one.parameters, data.parts["test"])
    with watch() as account:
        found = predict_member(shape, one.parameters, data.parts["test"], device=DEVICE)
        assert account.ran["aten.baddbmm.default"] > 0
    for task, values in expected.items():
        np.testing.assert_allclose(found[task], values, atol=1e-6)


def test_steps_are_timed_on_the_device(data: Prepared) -> None:
    with watch() as account:
        assert seconds_per_step(two(), data, placed=Placed(data, DEVICE)) > 0
        assert account.ran["aten.baddbmm.default"] > 0


def test_the_stand_in_is_as_strict_as_a_gpu() -> None:
    with watch() as account:
        there = torch.ones(3, device=DEVICE)
        with pytest.raises(RuntimeError, match="all tensors must be on the device"):
            there + torch.ones(3)
        with pytest.raises(RuntimeError, match="all tensors must be on the device"):
            there[torch.tensor([0])]
        with pytest.raises(TypeError, match="numpy cannot read"):
            there.numpy()
        assert account.back.total() == 0
        assert float((there + 1).sum()) == 6
        assert account.back.total() == 1
        assert account.n_bytes == 12
        del there
        assert account.n_bytes == 0
        account.limit = 100
        with pytest.raises(torch.OutOfMemoryError):
            torch.ones(30, device=DEVICE)
    assert stand_in.account is not account


def test_short_memory_is_known_in_whatever_words() -> None:
    with watch() as account:
        account.limit = 100
        with pytest.raises(RuntimeError) as raised:
            torch.ones(30, device=DEVICE)
    assert is_out_of_memory(raised.value)
    assert is_out_of_memory(RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling"))
    assert is_out_of_memory(RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"))
    assert not is_out_of_memory(RuntimeError("expected dtype float but got dtype c10::BFloat16"))
    assert not is_out_of_memory(ValueError("_STATUS_ALLOC_FAILED"))


def test_auto_takes_a_gpu_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert find_device() == find_device("cpu") == CPU
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
    assert find_device("auto") == find_device("cuda") == torch.device("cuda:1")
    assert find_device("cpu") == CPU


def test_a_device_that_is_not_here_is_refused_with_the_remedy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", None)
    with pytest.raises(InputError, match=r"has no CUDA.*--device cpu"):
        find_device("cuda")
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    with pytest.raises(InputError, match=r"built for CUDA 13\.0.*nvidia-smi.*--device cpu"):
        find_device("cuda")
    with pytest.raises(InputError, match="Found gpu"):
        find_device("gpu")


def test_a_cpu_has_no_bound_to_its_memory() -> None:
    assert devices.free_bytes(CPU) == float("inf")
    assert devices.device_title(CPU) == "cpu"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU: torch finds none here")
@pytest.mark.parametrize("values", [{}, EVERYTHING], ids=["plain", "everything"])
def test_a_population_learns_on_a_gpu_what_it_learns_on_the_cpu(
    values: dict[str, Any], data: Prepared
) -> None:
    members = two(epochs=3, **values)
    placed = Placed(data, find_device("cuda"))
    before = devices.free_bytes(placed.device)
    found = train(members, data, placed=placed)
    for one, other in zip(train(members, data), found, strict=True):
        assert one.score == pytest.approx(other.score, abs=1e-2)
    assert 0 < devices.free_bytes(placed.device) <= before
    again = train([replace(one, number=one.number + 5) for one in members], data, placed=placed)
    for one, other in zip(found, again, strict=True):
        assert one.score == pytest.approx(other.score, abs=1e-4)


# --- bf16 ----------------------------------------------------------------------------------------

ROUNDED = {
    "plain": {"dropout": 0.2},
    "everything": EVERYTHING,
    "layer norm": {"norm": "layer", "activation": "gelu", "dropout": 0.1},
    **{f"sharing {name}": {"sharing": name, "norm": "batch"} for name in SHARINGS},
    "strategy uncertainty": {"strategy": "uncertainty"},
}


@pytest.mark.parametrize("values", ROUNDED.values(), ids=ROUNDED.keys())
def test_products_are_of_bf16_and_all_else_stays_float32(
    values: dict[str, Any], data: Prepared
) -> None:
    members = two(precision="bf16", **values)
    rounded = Population(members, data, placed=Placed(data, bf16=True))
    exact = Population(members, data, placed=Placed(data))
    seen: list[torch.dtype] = []

    def note(module: object, given: tuple[torch.Tensor, ...], found: Any) -> None:
        seen.append((found[0] if isinstance(found, list) else found).dtype)

    rounded.model.heads.register_forward_hook(note)
    losses, expected = rounded.train_epoch(1), exact.train_epoch(1)
    assert set(seen) == {torch.bfloat16}
    assert {one.dtype for one in rounded.model.parameters()} == {torch.float32}
    assert rounded.state.gradient.dtype == losses.dtype == torch.float32
    assert not torch.equal(losses, expected)
    torch.testing.assert_close(losses, expected, rtol=0.05, atol=0.05)


def test_a_member_alone_is_rounded_as_in_an_array(data: Prepared) -> None:
    members = two(precision="bf16", dropout=0.2)
    placed = Placed(data, bf16=True)
    together = Population(members, data, placed=placed)
    alone = Population(members[1:], data, placed=placed)
    for epoch in (1, 2):
        torch.testing.assert_close(
            together.train_epoch(epoch)[1:], alone.train_epoch(epoch), rtol=1e-4, atol=1e-4
        )


def test_bf16_needs_both_the_study_and_the_device(data: Prepared) -> None:
    asked = Population(two(precision="bf16"), data, placed=Placed(data))
    allowed = Population(two(), data, placed=Placed(data, bf16=True))
    plain = Population(two(), data)
    expected = plain.train_epoch(1)
    for population in (asked, allowed):
        assert population.is_plain
        assert torch.equal(population.train_epoch(1), expected)
