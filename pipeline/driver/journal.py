"""Optuna: one study's trials in a journal file, asked and told in number order.

Nothing of Optuna leaves this file but numbers, params and states.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.search_space import IntersectionSearchSpace
from optuna.storages import JournalStorage
from optuna.storages.journal._storage import JournalOperation
from optuna.trial import FrozenTrial, TrialState

from pipeline.driver.journal_file import OwnedJournalFile
from pipeline.errors import Fault, StudyError, near_miss
from pipeline.study.ranges import AnyRange, Choices
from pipeline.study.seeds import derive_seed
from pipeline.study.spec import Params

_ALIASES = {
    "tpe": "TPESampler", "random": "RandomSampler", "cmaes": "CmaEsSampler", "gp": "GPSampler",
    "qmc": "QMCSampler", "grid": "GridSampler", "nsgaii": "NSGAIISampler",
    "nsgaiii": "NSGAIIISampler", "bruteforce": "BruteForceSampler",
}  # fmt: skip

_ONE_OBJECTIVE = {"CmaEsSampler"}

# A quasi-random sequence is one sequence: all its trials must scramble it with the same seed.
_ONE_SEED = {"QMCSampler", "GridSampler", "BruteForceSampler"}


@dataclass(frozen=True)
class Asked:
    """One trial as the journal holds it.

    Attributes:
        number: From 0.
        params: Scalars by dotted path.
        finished: Whether it was told.
    """

    number: int
    params: Params
    finished: bool


class TrialJournal:
    """The trials of one study.

    The sampler is made anew for each trial from a hash of (study seed, trial number), so that a
    study that was stopped and resumed asks for the same trials as one that ran straight through.

    Args:
        path: The journal file; the caller holds the study's lock.
        name: Of the study.
        seed: Of the study.
        sampler: Any of Optuna's samplers by name.
        ranges: What is searched.
        n_objectives: Scores that a trial is told with, each to be maximised.
    """

    def __init__(
        self,
        path: Path,
        name: str,
        seed: int,
        sampler: str,
        ranges: Mapping[str, AnyRange],
        n_objectives: int = 1,
    ) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        mend_journal(path, len(ranges))
        self._seed = seed
        self._sampler = sampler
        self._ranges = ranges
        self._distributions = {key: distribution(found) for key, found in ranges.items()}
        self._file = OwnedJournalFile(path)
        self._study = optuna.create_study(
            storage=JournalStorage(self._file), study_name=name,
            directions=["maximize"] * n_objectives,
            load_if_exists=True, sampler=make_sampler(sampler, seed, ranges),
            pruner=optuna.pruners.NopPruner(),
        )  # fmt: skip

    def asked(self) -> list[Asked]:
        """Returns the trials that were asked, in number order."""
        return [
            Asked(trial.number, trial.params, trial.state.is_finished())
            for trial in self._study.get_trials(deepcopy=False)
            if trial.state != TrialState.WAITING
        ]

    def together(self) -> AbstractContextManager[None]:
        """Asks and tells inside reach the disk at once, at the end.

        A driver killed inside has asked and told nothing of it, and does it again as before.
        """
        return self._file.together()

    def abandon(self) -> None:
        """Drops what was asked and told inside `together`; the journal must be opened anew."""
        self._file.abandon()

    def ask(self, number: int, first: Params | None = None) -> Asked:
        """Asks for one trial, or adopts it where an earlier driver asked already.

        Args:
            number: The next number, or one that was asked before.
            first: Values to use in place of the sampler's, for trial 0.
        """
        with self.together():
            return self._ask(number, first)

    def _ask(self, number: int, first: Params | None) -> Asked:
        trials = self._study.get_trials(deepcopy=False)
        self._reseed(number)
        if number < len(trials) and trials[number].state.is_finished():
            return Asked(number, trials[number].params, True)
        if number < len(trials) and trials[number].state == TrialState.RUNNING:
            # Asked by a driver that was killed before it could tell.
            return Asked(number, trials[number].params, False)
        if first is not None and number == len(trials):
            self._study.enqueue_trial(dict(first))
        trial = self._study.ask(self._distributions)
        assert trial.number == number  # cohorts are asked in number order under the lock
        return Asked(number, trial.params, False)

    def _reseed(self, number: int) -> None:
        """Takes a fresh sampler, whose draws depend on the trials told and the number alone."""
        fresh = make_sampler(
            self._sampler, derive_seed(self._seed, number, "sampler"), self._ranges, self._seed
        )
        # What all trials have in common to be searched is kept: finding it again would read
        # every trial for each that is asked. It has no randomness.
        known = getattr(self._study.sampler, "_search_space", None)
        if type(known) is IntersectionSearchSpace:
            setattr(fresh, "_search_space", known)  # noqa: B010
        self._study.sampler = fresh

    def tell(self, number: int, state: str, scores: Sequence[float], epoch: int) -> None:
        """Records how a trial ended; a trial that was told before is left as it is.

        Args:
            number: Of the trial.
            state: `complete`, `pruned`, `diverged` or `failed`.
            scores: Of each objective; empty where it has none.
            epoch: Epoch of those scores, for samplers that rank pruned trials by how far they got.
        """
        trial = self._study.get_trials(deepcopy=False)[number]
        if trial.state.is_finished():
            return
        with self.together():
            self._tell(trial, state, scores, epoch)

    def _tell(self, trial: FrozenTrial, state: str, scores: Sequence[float], epoch: int) -> None:
        number = trial.number
        if state == "complete":
            self._study.tell(number, list(scores))
        elif state == "failed":
            self._study.tell(number, state=TrialState.FAIL)
        else:
            # A diverged trial is told as pruned: a failed one would be invisible to the sampler.
            # Of several objectives Optuna takes no intermediate values (optuna#3450).
            if len(scores) == 1 and trial.last_step is None:
                optuna.trial.Trial(self._study, trial._trial_id).report(scores[0], epoch)
            self._study.tell(number, state=TrialState.PRUNED)


def distribution(found: AnyRange) -> BaseDistribution:
    """Returns Optuna's form of a range."""
    if isinstance(found, Choices):
        return CategoricalDistribution(found.labels())
    if found.integer:
        step = 1 if found.step is None else int(found.step)
        return IntDistribution(int(found.low), int(found.high), log=found.log, step=step)
    return FloatDistribution(found.low, found.high, log=found.log, step=found.step)


def sampler_class(name: str) -> str:
    """Returns the name of Optuna's class for a sampler's name in a study file.

    Raises:
        StudyError: Optuna has no such sampler, or it cannot be made from a name alone.
    """
    known = {
        found for found in optuna.samplers.__all__
        if found.endswith("Sampler") and found not in ("BaseSampler", "PartialFixedSampler",
                                                       "BaseGASampler")
    }  # fmt: skip
    found = _ALIASES.get(name, name)
    if found not in known:
        hint = near_miss(name, [*_ALIASES, *sorted(known)])
        raise StudyError([Fault("search.sampler", "is none of Optuna's samplers", name, hint)])
    return found


def make_sampler(
    name: str, seed: int, ranges: Mapping[str, AnyRange], study_seed: int | None = None
) -> optuna.samplers.BaseSampler:
    """Makes a sampler.

    Args:
        name: As in the study file.
        seed: Of this trial.
        ranges: What is searched; a grid needs them in advance.
        study_seed: Of the study, for samplers whose trials form one sequence.

    Raises:
        StudyError: The name is unknown, a grid is asked over a range without steps, or a package
            that the sampler needs is missing.
    """
    found = sampler_class(name)
    if found in _ONE_SEED and study_seed is not None:
        seed = derive_seed(study_seed, "sampler")
    kind = getattr(optuna.samplers, found)
    options: dict[str, Any] = {}
    if "seed" in signature(kind).parameters:
        options["seed"] = seed % 2**32  # numpy's limit
    if found in ("GridSampler", "BruteForceSampler"):
        grid = {key: _grid(key, value) for key, value in ranges.items()}
        if found == "GridSampler":
            options["search_space"] = grid
    if found in ("CmaEsSampler", "QMCSampler"):
        options["warn_independent_sampling"] = False
    try:
        # Some samplers are still called experimental; the user asked for one by name.
        with warnings.catch_warnings(
            action="ignore", category=optuna.exceptions.ExperimentalWarning
        ):
            sampler: optuna.samplers.BaseSampler = kind(**options)
        if found in ("GridSampler", "BruteForceSampler"):
            # At the end of the grid they stop `optimize`, which is not what asks here.
            setattr(sampler, "after_trial", lambda *told: None)  # noqa: B010
    except ImportError as error:
        rule = f"needs a package that is not installed: {error}"
        raise StudyError([Fault("search.sampler", rule, name)]) from error
    return sampler


def sampler_faults(name: str, ranges: Mapping[str, AnyRange], n_objectives: int = 1) -> list[Fault]:
    """Returns what keeps a sampler from being made, or from several objectives.

    Told by `mtl check`, and before a search.
    """
    if n_objectives > 1 and _ALIASES.get(name, name) in _ONE_OBJECTIVE:
        rule = "cannot search several objectives"
        return [Fault("search.sampler", rule, name, "Such as `tpe`, or `objective: mean`.")]
    try:
        make_sampler(name, 0, ranges)
    except StudyError as error:
        return list(error.faults)
    return []


def _grid(key: str, found: AnyRange) -> list[Any]:
    if isinstance(found, Choices):
        return list(found.labels())
    if found.step is None and not (found.integer and not found.log):
        rule = "must have `step` or `choices` for a sampler that tries every value"
        raise StudyError([Fault(key, rule, str(found))])
    step = 1.0 if found.step is None else found.step
    n_values = int((found.high - found.low) / step + 1e-9) + 1
    values = [found.low + index * step for index in range(n_values)]
    return [int(value) for value in values] if found.integer else values


def mend_journal(path: Path, n_params: int) -> None:
    """Repairs what a killed driver left: a lock nobody holds, and a trial that is asked by half.

    A trial whose values were not all written is taken back, so that it is asked again from the
    same state: what a sampler drew for its first values, and noted of itself, would shift the
    others.
    """
    lock_of(path).unlink(missing_ok=True)
    if not path.exists():
        return
    with path.open("r+b") as file:
        content = file.read()
        whole = whole_bytes(content, n_params)
        if whole < len(content):
            file.truncate(whole)
            os.fsync(file.fileno())


def lock_of(path: Path) -> Path:
    """Returns the lock that stock Optuna takes on a journal."""
    return path.with_name(path.name + ".lock")


def whole_bytes(content: bytes, n_params: int) -> int:
    """Returns how many bytes of a journal end with a whole line and a wholly asked trial."""
    end = begun = 0
    n_missing = 0
    for line in content.splitlines(keepends=True):
        if not line.endswith(b"\n"):
            break
        operation = json.loads(line)["op_code"]
        if operation == JournalOperation.CREATE_TRIAL:
            begun, n_missing = end, n_params
        elif operation == JournalOperation.SET_TRIAL_PARAM:
            n_missing -= 1
        end += len(line)
    return begun if n_missing > 0 else end
