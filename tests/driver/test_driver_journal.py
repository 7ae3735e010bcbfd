"""The journal: what is asked depends on the study and the number of a trial, on nothing else."""

import json
import math
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from pipeline.driver.journal import (
    TrialJournal,
    distribution,
    make_sampler,
    sampler_class,
    sampler_faults,
)
from pipeline.errors import StudyError
from pipeline.study.ranges import AnyRange, Choices, Range
from pipeline.study.spec import Params

RANGES: Mapping[str, AnyRange] = {
    "train.lr": Range(1e-4, 1e-1, log=True),
    "model.dropout": Range(0.0, 0.5),
    "model.layers": Choices(([8], [16, 16])),
}
CENTRE: Params = {"train.lr": 3e-3, "model.dropout": 0.25, "model.layers": "[8]"}
STATES = ("complete", "complete", "pruned", "complete", "diverged", "failed", "complete")
# As many as Optuna draws at random before TPE has a say, and some more.
N_TRIALS = {"tpe": 14, "random": 6}


def open_journal(
    path: Path, sampler: str = "tpe", seed: int = 5, ranges: Mapping[str, AnyRange] = RANGES
) -> TrialJournal:
    return TrialJournal(path, "study", seed, sampler, ranges)


def outcome(number: int, params: Params) -> tuple[str, list[float], int]:
    """A made-up end of a trial that depends on its values."""
    state = STATES[number % len(STATES)]
    scores = [] if state in ("failed", "diverged") else [-math.log10(params["train.lr"])]
    return state, scores, 2


def launch(path: Path, n_trials: int, sampler: str, cohort: int = 4) -> list[Params]:
    """Asks and tells cohort by cohort, as the driver does, from wherever the journal is."""
    journal = open_journal(path, sampler)
    found: list[Params] = []
    for start in range(0, n_trials, cohort):
        numbers = range(start, min(start + cohort, n_trials))
        params = [journal.ask(n, CENTRE if n == 0 else None).params for n in numbers]
        for number, values in zip(numbers, params, strict=True):
            journal.tell(number, *outcome(number, values))
        found += params
    return found


def trials_of(path: Path) -> list[tuple[int, Params, TrialState, float | None]]:
    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(path)))
    study = optuna.load_study(study_name="study", storage=storage)
    return [(t.number, t.params, t.state, t.value) for t in study.get_trials()]


@pytest.fixture(scope="module", params=["tpe", "random"])
def straight(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory):
    """A sampler's name and the journal of a study that ran straight through."""
    path = tmp_path_factory.mktemp("straight") / "study.journal"
    launch(path, N_TRIALS[request.param], request.param)
    return request.param, path


def test_trial_0_stands_at_the_centre_and_the_others_elsewhere(straight) -> None:
    _, path = straight
    first, *others = [params for _, params, _, _ in trials_of(path)]
    assert first == CENTRE
    assert all(params != CENTRE for params in others)
    assert len({json.dumps(params) for params in others}) == len(others)


def test_states_are_told_as_the_table_says(straight) -> None:
    _, path = straight
    states = {
        "complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED,
        "diverged": TrialState.PRUNED, "failed": TrialState.FAIL,
    }  # fmt: skip
    for number, params, state, value in trials_of(path):
        told, scores, _ = outcome(number, params)
        assert state == states[told]
        if told != "failed":
            assert value == (
                scores[0] if scores else None
            )  # a pruned trial's value is its last report


@pytest.mark.parametrize("half", [False, True], ids=["between lines", "within a line"])
def test_a_journal_cut_anywhere_goes_on_to_the_same_trials(straight, half, tmp_path) -> None:
    sampler, whole = straight
    lines = whole.read_bytes().splitlines(keepends=True)
    expected = trials_of(whole)
    # The first trials of TPE are drawn as those of `random`, which is cut at every line.
    first = len(lines) * 2 // 3 if sampler == "tpe" else 0
    for n_lines in range(first, len(lines)):
        rest = lines[n_lines][: len(lines[n_lines]) // 2] if half else b""
        path = tmp_path / f"{n_lines}.journal"
        path.write_bytes(b"".join(lines[:n_lines]) + rest)
        launch(path, len(expected), sampler)
        assert trials_of(path) == expected, f"cut after line {n_lines}"


def test_what_a_killed_driver_left_locked_is_opened(straight, tmp_path) -> None:
    sampler, whole = straight
    path = tmp_path / "study.journal"
    shutil.copy(whole, path)
    os.symlink(path, f"{path}.lock")  # as JournalFileBackend locks
    assert len(open_journal(path, sampler).asked()) == N_TRIALS[sampler]


def test_asking_and_telling_again_changes_nothing(straight, tmp_path) -> None:
    sampler, whole = straight
    path = tmp_path / "study.journal"
    shutil.copy(whole, path)
    before = trials_of(path)
    journal = open_journal(path, sampler)
    for number, params, _, _ in before:
        asked = journal.ask(number)
        assert (asked.number, asked.params, asked.finished) == (number, params, True)
        journal.tell(number, "complete", [99.0], 1)
    assert trials_of(path) == before


def test_a_trial_that_was_not_told_is_listed_as_unfinished(tmp_path) -> None:
    journal = open_journal(tmp_path / "study.journal")
    journal.ask(0, CENTRE)
    asked = journal.ask(1)
    journal.tell(0, "complete", [1.0], 1)
    assert [(t.number, t.finished) for t in journal.asked()] == [(0, True), (1, False)]
    assert open_journal(tmp_path / "study.journal").ask(1) == asked


def test_another_seed_asks_for_other_trials(tmp_path) -> None:
    one, two = (
        open_journal(tmp_path / f"{seed}.journal", seed=seed).ask(0).params for seed in (1, 2)
    )
    assert one != two


# Steps throughout, because a grid needs them.
GRID: Mapping[str, AnyRange] = {
    "train.lr": Range(0.1, 0.5, step=0.1),
    "model.embedding": Range(1, 5, integer=True),
    "model.norm": Choices(("none", "batch")),
}
GRID_CENTRE: Params = {"train.lr": 0.3, "model.embedding": 3, "model.norm": "none"}
ALL_SAMPLERS = sorted(
    {name for name in optuna.samplers.__all__ if name.endswith("Sampler")}
    - {"BaseSampler", "BaseGASampler", "PartialFixedSampler"}
)


def ask_three(path: Path, sampler: str) -> list[Params]:
    """Trial 0 is told before the two others are asked."""
    journal = open_journal(path, sampler, ranges=GRID)
    found = [journal.ask(0, GRID_CENTRE).params]
    journal.tell(0, *outcome(0, found[0]))
    found += [journal.ask(number).params for number in (1, 2)]
    for number in (1, 2):
        journal.tell(number, *outcome(number, found[number]))
    return found


@pytest.mark.parametrize("sampler", ALL_SAMPLERS)
def test_every_sampler_of_optuna_asks_by_its_name_and_goes_on_exactly(sampler, tmp_path) -> None:
    whole = tmp_path / "whole.journal"
    expected = ask_three(whole, sampler)
    assert expected[0] == GRID_CENTRE
    assert all(params.keys() == GRID.keys() for params in expected)
    lines = whole.read_bytes().splitlines(keepends=True)
    for n_lines in range(1, len(lines), 2):
        path = tmp_path / f"{n_lines}.journal"
        path.write_bytes(b"".join(lines[:n_lines]))
        assert ask_three(path, sampler) == expected, f"cut after line {n_lines}"


@pytest.mark.parametrize(
    ("alias", "name"), [("tpe", "TPESampler"), ("cmaes", "CmaEsSampler"), ("qmc", "QMCSampler")]
)
def test_short_names(alias: str, name: str) -> None:
    assert sampler_class(alias) == sampler_class(name) == name


@pytest.mark.parametrize("name", ["tpee", "BaseSampler", "PartialFixedSampler", "nsgaii.crossover"])
def test_an_unknown_sampler_is_a_fault_of_the_study(name: str) -> None:
    with pytest.raises(StudyError, match=r"`search\.sampler` is none of Optuna's samplers") as told:
        sampler_class(name)
    assert name in str(told.value)


def test_a_near_miss_is_named() -> None:
    with pytest.raises(StudyError, match=r"Did you mean `tpe`\?"):
        sampler_class("tpee")


def test_a_grid_needs_steps() -> None:
    with pytest.raises(StudyError, match=r"`train\.lr` must have `step` or `choices`"):
        make_sampler("grid", 0, RANGES)


@pytest.mark.parametrize("sampler", ["grid", "bruteforce"])
def test_a_grid_is_searched_to_its_last_point(sampler: str, tmp_path) -> None:
    ranges = {"a": Range(1, 3, integer=True), "c": Choices(("x", "y"))}
    journal = open_journal(tmp_path / "study.journal", sampler, ranges=ranges)
    seen = set()
    for number in range(6):
        params = journal.ask(number).params
        seen.add((params["a"], params["c"]))
        journal.tell(number, "complete", [0.0], 1)
    assert len(seen) == 6


def test_ranges_become_the_distributions_of_optuna() -> None:
    from optuna.distributions import (
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )

    assert distribution(Range(1e-4, 0.1, log=True)) == FloatDistribution(1e-4, 0.1, log=True)
    assert distribution(Range(0.0, 1.0, step=0.5)) == FloatDistribution(0.0, 1.0, step=0.5)
    assert distribution(Range(1, 9, integer=True)) == IntDistribution(1, 9)
    assert distribution(Range(2, 8, step=2, integer=True)) == IntDistribution(2, 8, step=2)
    assert distribution(Range(1, 64, log=True, integer=True)) == IntDistribution(1, 64, log=True)
    assert distribution(Choices(([64, 64], None, "x"))) == CategoricalDistribution(
        ("[64,64]", None, "x")
    )


def test_every_value_cannot_be_tried_of_a_range_without_steps() -> None:
    faults = sampler_faults("bruteforce", {"train.lr": Range(0.1, 0.2)})
    assert [fault.key for fault in faults] == ["train.lr"]
    assert "`step` or `choices`" in str(faults[0])
    assert sampler_faults("bruteforce", {"train.lr": Range(0.1, 0.2, step=0.05)}) == []
