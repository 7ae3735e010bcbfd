"""Arrays that are broken off go on from their checkpoint, number for number."""

import errno
import os
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from training_data import make_prepared, member

from pipeline.data.prepared import Prepared
from pipeline.training import checkpoint, provenance
from pipeline.training.checkpoint import Checkpoints
from pipeline.training.loop import Answer, EpochEnd, train_epochs
from pipeline.training.members import Member, Stop, Trained
from pipeline.training.placement import Placed

ALWAYS = 1e-9
PRUNED_AT = 4
EPOCHS = 9


@pytest.fixture(scope="module")
def data() -> Prepared:
    return make_prepared({"train": 60, "valid": 30, "test": 10})


def members(minutes: float | None = ALWAYS, **changes: Any) -> list[Member]:
    """Three that last, one that is pruned, one without patience, one that breaks."""
    shared = {"epochs": EPOCHS, "batch_size": 16, "checkpoint_minutes": minutes, **changes}
    return [
        member(number, **{**shared, "lr": 0.003 * (number + 1), **own})
        for number, own in enumerate(({}, {}, {}, {}, {"patience": 1}, {"lr": 1e30}))
    ]


def answer_to(end: EpochEnd) -> Answer:
    """Prunes number 3 at an epoch."""
    stopped = {
        one.number: Stop("pruned", f"{one.score:.3f} is low")
        for one in end.results
        if one.number == 3 and one.epoch == PRUNED_AT
    }
    return Answer(stopped)


def run(
    array: Sequence[Member],
    data: Prepared,
    folder: Path | Checkpoints | None,
    until: int | None = None,
    placed: Placed | None = None,
) -> tuple[list[EpochEnd], dict[int, Trained]]:
    """Trains an array, or breaks it off while it waits for the answer to an epoch."""
    kept = Checkpoints(folder) if isinstance(folder, Path) else folder
    epochs = train_epochs(array, data, placed=placed, checkpoints=kept)
    told: list[EpochEnd] = []
    rest: list[Trained] = []
    try:
        end = next(epochs)
        while True:
            told.append(end)
            if len(told) == until:
                epochs.close()
                break
            end = epochs.send(answer_to(end))
    except StopIteration as stop:
        rest = stop.value
    ended = [one for end in told for one in end.trained] + rest
    return told, {one.number: one for one in ended}


def without_time(trained: Trained) -> dict[str, Any]:
    plain = {key: value for key, value in vars(trained).items() if key != "seconds"}
    plain["parameters"] = {name: found.tobytes() for name, found in trained.parameters.items()}
    return {key: repr(value) for key, value in plain.items()}


def same(ours: tuple[list[EpochEnd], Any], theirs: tuple[list[EpochEnd], Any]) -> None:
    for one, other in zip(ours[0], theirs[0], strict=True):
        assert repr(one.results) == repr(other.results)  # NaN is not NaN, but reads alike
        assert [t.number for t in one.trained] == [t.number for t in other.trained]
    assert ours[1].keys() == theirs[1].keys()
    for number, trained in ours[1].items():
        assert without_time(trained) == without_time(theirs[1][number])


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"norm": "batch", "dropout": 0.3},
        {"optimizer": "sgd", "schedule": "constant"},
        {"strategy": "famo"},
        {"strategy": "dwa"},
        {"strategy": "uncertainty"},
        {"strategy": "random"},
    ],
    ids=str,
)
def test_an_array_broken_off_goes_on_to_the_same_numbers(
    changes: dict[str, Any], data: Prepared, tmp_path: Path
) -> None:
    array = members(**changes)
    straight = run(array, data, None)
    states = {number: trained.state for number, trained in straight[1].items()}
    assert states == {0: "complete", 1: "complete", 2: "complete", 3: "pruned", 4: "complete",
                      5: "diverged"}  # fmt: skip
    for until in (2, PRUNED_AT, PRUNED_AT + 1, EPOCHS):
        run(array, data, tmp_path, until)
        (file,) = tmp_path.iterdir()
        assert file.name.startswith("000000-")
        same(run(array, data, tmp_path), straight)
        file.unlink()


def test_what_was_told_is_not_trained_again(
    data: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(members(), data, tmp_path, 6)
    trained: list[int] = []
    train_epoch = checkpoint.Population.train_epoch

    def note(population: checkpoint.Population, epoch: int) -> torch.Tensor:
        trained.append(epoch)
        return train_epoch(population, epoch)

    monkeypatch.setattr(checkpoint.Population, "train_epoch", note)
    run(members(), data, tmp_path)
    assert trained == [6, 7, 8, 9]


def test_how_an_array_ended_is_told_again_without_training(
    data: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    straight = run(members(), data, None)
    first = run(members(), data, tmp_path)
    monkeypatch.setattr(checkpoint.Population, "train_epoch", None)
    for _ in range(2):  # nobody has said that it was kept
        again = run(members(), data, tmp_path)
        same(again, straight)
        seconds = [{n: one.seconds for n, one in ends.items()} for _, ends in (first, again)]
        assert seconds[0] == seconds[1]


def test_an_array_of_which_nothing_is_left_is_told_again_too(
    data: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    array = [member(0, epochs=3, lr=1e30, batch_size=16, checkpoint_minutes=ALWAYS)]
    straight = run(array, data, tmp_path)
    assert straight[1][0].state == "diverged"
    monkeypatch.setattr(checkpoint.Population, "train_epoch", None)
    same(run(array, data, tmp_path), straight)


def test_a_checkpoint_that_cannot_be_written_is_left_out_with_one_warning(
    data: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    straight = run(members(), data, None)
    said: list[str] = []
    (tmp_path / "file").touch()
    nowhere = Checkpoints(tmp_path / "file" / "checkpoints", said.append)
    same(run(members(), data, nowhere), straight)
    same(run(members(), data, nowhere), straight)
    assert len(said) == 1
    assert said[0].startswith(f"Warning: checkpoints cannot be written to {nowhere.folder}: ")
    assert "train.checkpoint_minutes" in said[0]

    run(members(), data, tmp_path, 5)
    (before,) = (path for path in tmp_path.iterdir() if path.name != "file")
    content = before.read_bytes()

    def full(path: Path) -> Any:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(checkpoint, "whole_file", full)
        full_disk = Checkpoints(tmp_path, said.append)
        same(run(members(), data, full_disk), straight)
    assert said[1:] == [
        f"Warning: checkpoints cannot be written to {tmp_path}: No space "
        "left on device. Training goes on; a kill costs all that no checkpoint has. Free the "
        "disk, or set `train.checkpoint_minutes: 0`."
    ]
    assert before.read_bytes() == content  # what was there is good still
    same(run(members(), data, tmp_path), straight)


def test_an_array_may_be_broken_off_again_and_again(data: Prepared, tmp_path: Path) -> None:
    straight = run(members(), data, None)
    for until in (2, 3, 3, 5, 8):
        run(members(), data, tmp_path, until)
    same(run(members(), data, tmp_path), straight)


def test_what_was_pruned_and_what_had_ended_keeps_its_time(data: Prepared, tmp_path: Path) -> None:
    _, first = run(members(), data, tmp_path, EPOCHS)
    _, resumed = run(members(), data, tmp_path)
    for number in (3, 5):
        assert resumed[number].seconds == first[number].seconds
    assert resumed[0].seconds > first[3].seconds


@pytest.mark.parametrize("minutes", [10.0, 0.0, None])
def test_nothing_is_written_before_the_minutes_are_over(
    minutes: float | None, data: Prepared, tmp_path: Path
) -> None:
    run(members(minutes), data, tmp_path / "checkpoints", EPOCHS)
    run(members(minutes), data, tmp_path / "checkpoints")
    assert not (tmp_path / "checkpoints").exists()


def test_the_minutes_themselves_may_change(data: Prepared, tmp_path: Path) -> None:
    run(members(), data, tmp_path, 5)
    same(run(members(None), data, tmp_path), run(members(), data, None))


def test_a_checkpoint_of_anything_else_is_not_used(
    data: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def path(array: Sequence[Member], prepared: Prepared = data, bf16: bool = False) -> Path:
        return Checkpoints(tmp_path).of(array, 1, Placed(prepared, bf16=bf16)).path

    array = members()
    found = [
        path(array),
        path(members(weight_decay=0.1)),
        path(array[:-1]),
        path([replace(array[0], seed=77), *array[1:]]),
        path(array, replace(data, data_digest="e" * 32)),
        path(array, replace(data, prepared_digest="q" * 32)),
        path(array, bf16=True),
        Checkpoints(tmp_path).of(array, 2, Placed(data)).path,
    ]
    monkeypatch.setattr(provenance, "_code", lambda: "other code")
    found.append(path(array))
    assert len({*found}) == len(found)


def test_own_code_that_changed_is_another_array(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "my_trunk_of_checkpoints.py").write_text("A = 1\n")
    named = [{"model": {"sharing": "my_trunk_of_checkpoints:Trunk"}}]
    before = provenance._own_code(named)
    (tmp_path / "my_trunk_of_checkpoints.py").write_text("A = 2\n")
    assert provenance._own_code(named) != before
    assert provenance._own_code([]) != before


def test_what_own_code_imports_changed_too(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "my_trunk_that_imports.py").write_text("from my_layers_of_checkpoints import A\n")
    (tmp_path / "my_layers_of_checkpoints.py").write_text("A = 1\n")
    named = [{"model": {"sharing": "my_trunk_that_imports:Trunk"}}]
    before = provenance._own_code(named)
    (tmp_path / "my_layers_of_checkpoints.py").write_text("A = 2\n")
    assert provenance._own_code(named) != before


def test_libraries_count_where_a_member_uses_them(monkeypatch: pytest.MonkeyPatch) -> None:
    def named(strategy: str, encoder: Any, kind: str) -> dict[str, str]:
        weighting, model = {"strategy": strategy}, {"encoder": {"kind": encoder}}
        members = [{"weighting": weighting, "model": model, "tasks": {"a": {"kind": kind}}}]
        return provenance.library_versions(members)

    monkeypatch.setattr(provenance, "version", lambda module: f"{module} 1")
    assert named("fixed", "tfidf", "binary") == {}
    assert named("balance:mgda", "tfidf", "binary") == {"torchjd": "torchjd 1"}
    assert {*named("balance:upgrad", "tfidf", "binary")} == {"qpsolvers", "quadprog", "torchjd"}
    for found in (
        named("fixed", "pretrained", "binary"),
        named("fixed", ["tfidf", "pretrained"], "binary"),
        named("fixed", "tfidf", "abstractive_pretrained"),
    ):
        assert found == {"transformers": "transformers 1"}


def test_the_version_of_a_library_changes_the_name(
    data: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def names() -> list[str]:
        arrays = (members(), members(strategy="balance:mgda"))
        return [Checkpoints(tmp_path).of(array, 1, Placed(data)).path.name for array in arrays]

    def upgraded(*libraries: str) -> list[bool]:
        """Returns whether the name of each array changes where these have another version."""
        before = names()
        with monkeypatch.context() as patched:
            patched.setattr(
                provenance, "version", lambda name: f"{version(name)}{'.1' * (name in libraries)}"
            )
            return [new != old for new, old in zip(names(), before, strict=True)]

    assert upgraded() == [False, False]
    assert upgraded("torchjd") == [False, True]
    assert upgraded("scipy") == [True, True]


def test_other_answers_than_before_train_the_array_anew(data: Prepared, tmp_path: Path) -> None:
    array = members()
    run(array, data, tmp_path, 7)
    spared = train_epochs(array, data, checkpoints=Checkpoints(tmp_path))
    straight = train_epochs(array, data)
    told: list[list[EpochEnd]] = [[], []]
    rest: list[list[Trained]] = [[], []]
    for index, epochs in enumerate((spared, straight)):
        try:
            told[index].append(next(epochs))
            while True:
                told[index].append(epochs.send(Answer()))
        except StopIteration as stop:
            rest[index] = stop.value
    ours, theirs = (
        (ends, {one.number: one for end in ends for one in end.trained} | {o.number: o for o in r})
        for ends, r in zip(told, rest, strict=True)
    )
    same(ours, theirs)
    assert ours[1][3].state == "complete"
    assert len([*tmp_path.iterdir()]) == 1


def test_a_damaged_checkpoint_counts_for_nothing(data: Prepared, tmp_path: Path) -> None:
    run(members(), data, tmp_path, 5)
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:100])
    same(run(members(), data, tmp_path), run(members(), data, None))


def test_gradients_that_were_looked_at_are_kept(tmp_path: Path) -> None:
    data = make_prepared({"train": 200, "valid": 30, "test": 10})
    array = members(batch_size=2, epochs=3)[:2]
    straight = run(array, data, None)
    assert straight[1][0].cosines
    assert any(one.gradients for end in straight[0] for one in end.results)
    run(array, data, tmp_path, 3)
    same(run(array, data, tmp_path), straight)


def test_the_best_weights_are_those_of_the_best_epoch(data: Prepared, tmp_path: Path) -> None:
    """The best epoch may lie before the checkpoint: its weights are in it."""
    array = members()
    straight = run(array, data, None)[1]
    early = [t for t in straight.values() if t.state == "complete" and t.best_epoch < EPOCHS - 1]
    assert early
    run(array, data, tmp_path, EPOCHS)
    resumed = run(array, data, tmp_path)[1]
    for trained in early:
        for name, values in trained.parameters.items():
            np.testing.assert_array_equal(resumed[trained.number].parameters[name], values)
